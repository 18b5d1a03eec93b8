"""A running service for tests: a whole session on free ports, recorded, and real programs around it."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import uvloop

from guidance.load import config_file
from guidance.safety.limits import load_limits
from guidance.service.session import Session
from guidance.settings import parse_settings
from tests.programs import Stage, free_port


def pytest_asyncio_loop_factories() -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    """The loop of the service."""
    return {"uvloop": uvloop.new_event_loop}


def pose_stream(source: str, **more: Any) -> dict[str, Any]:
    return {"name": source, "source": source, "link": "devices", "kind": "pose", "period_ms": 20} | more


class Service(Stage):
    """Opens sessions and starts programs; everything ends with the test."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.folder = folder
        self.session: Session

    async def open(self, **more: Any) -> Session:
        """A room that devices and consoles connect to; `more` replaces parts of its settings."""
        ports = {name: free_port() for name in ("devices", "console")}
        room: dict[str, Any] = {
            "room": "test",
            "procedure": "test",
            "links": [
                {"id": name, "kind": "openigtlink", "mode": "listen", "address": f"127.0.0.1:{port}"}
                | ({"role": "console"} if name == "console" else {"role": "tracker"})
                for name, port in ports.items()
            ],
            "streams": [pose_stream("Tracker")],
            "tools": [{"name": "Pointer", "stream": "Tracker"}],
            "space": {"static": [{"moving": "Tracker", "fixed": "RAS", "fixed_from_moving": np.eye(4).tolist()}]},
            "outputs": [{"kind": kind, "to": ["console"]} for kind in ("guided_pose", "alert", "overlay")],
        }
        room |= more
        room["links"] = [*room["links"], *room.pop("more_links", [])]
        settings = parse_settings(room, "test")
        limits = load_limits(config_file("safety", "limits"))
        self.session = Session(settings, None, limits, self.folder / "session.mcap")
        await self._stack.enter_async_context(self.session)
        self.ports = ports
        return self.session


@pytest.fixture
async def service(tmp_path: Path) -> AsyncIterator[Service]:
    """Sessions of a service and programs around them."""
    interval = sys.getswitchinterval()
    service = Service(tmp_path)
    try:
        yield service
    finally:
        await service.close()
        sys.setswitchinterval(interval)


@pytest.fixture
def environment() -> dict[str, str]:
    """For child processes of this Python."""
    return {**os.environ, "PYTHONUNBUFFERED": "1"}
