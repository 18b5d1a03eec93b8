"""A running service for tests: a whole session on free ports, recorded, and real programs around it."""

import asyncio
import contextlib
import os
import signal
import socket
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


def pytest_asyncio_loop_factories() -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    """The loop of the service."""
    return {"uvloop": uvloop.new_event_loop}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def pose_stream(source: str, **more: Any) -> dict[str, Any]:
    return {"name": source, "source": source, "link": "devices", "kind": "pose", "period_ms": 20} | more


class Service:
    """Opens sessions and starts programs; everything ends with the test."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.session: Session
        self._stack = contextlib.AsyncExitStack()

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

    async def run(self, *words: object) -> "Program":
        """Start a program; it is killed at the end whatever happens."""
        process = await asyncio.create_subprocess_exec(
            *map(str, words), stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
        )
        program = Program(process)
        self._stack.push_async_callback(program.end)
        return program

    async def until(self, condition: Callable[[], Any], what: str, timeout_s: float = 20.0) -> None:
        """Wait for something that must come; the generous limit only ends a hang."""
        try:
            async with asyncio.timeout(timeout_s):
                while not condition():  # noqa: ASYNC110
                    await asyncio.sleep(0.02)
        except TimeoutError:
            pytest.fail(f"never came: {what}")

    async def close(self) -> None:
        await self._stack.aclose()


class Program:
    """A child process and what it has said."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.said = ""
        self._reader = asyncio.create_task(self._read())

    async def _read(self) -> None:
        assert self.process.stdout is not None
        while data := await self.process.stdout.read(65536):
            self.said += data.decode("utf-8", "replace")

    async def end(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            self.process.send_signal(signal.SIGKILL)
        await self.process.wait()
        await self._reader


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
