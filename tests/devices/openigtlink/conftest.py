"""Helpers: a link with everything it reports, and an event loop of either kind."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
import uvloop

from devices.clock import SystemClock
from devices.messages import AnyMessage, Pose
from devices.openigtlink import OpenIGTLinkLink, OpenIGTLinkSettings


def pytest_asyncio_loop_factories() -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Every test with a socket runs on both loops."""
    return {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}


@dataclass
class Watched:
    """A link and what it said."""

    link: OpenIGTLinkLink
    messages: list[AnyMessage] = field(default_factory=list)
    changes: list[tuple[bool, str, str]] = field(default_factory=list)
    losses: list[tuple[str, int, str]] = field(default_factory=list)

    @property
    def port(self) -> int:
        return self.link.address[1]

    @property
    def gone(self) -> list[str]:
        """Reasons of the peers that went."""
        return [reason for up, _, reason in self.changes if not up]


Open = Callable[..., Any]


@pytest.fixture
async def open_link() -> AsyncIterator[Open]:
    """`await open_link(mode, **settings)` gives a started link; all are stopped at the end."""
    async with contextlib.AsyncExitStack() as stack:

        async def start(mode: str = "listen", **options: Any) -> Watched:
            settings = OpenIGTLinkSettings(id="test", mode=mode, **({"port": 0} | options))
            messages: list[AnyMessage] = []
            changes: list[tuple[bool, str, str]] = []
            losses: list[tuple[str, int, str]] = []
            link = OpenIGTLinkLink(
                settings,
                clock=SystemClock(),
                on_message=messages.append,
                on_change=lambda *change: changes.append(change),
                on_loss=lambda *loss: losses.append(loss),
            )
            await link.start()
            stack.push_async_callback(link.stop)
            return Watched(link, messages, changes, losses)

        yield start


async def _until(condition: Callable[[], Any], what: str, timeout_s: float = 5.0) -> None:
    try:
        async with asyncio.timeout(timeout_s):
            while not condition():  # noqa: ASYNC110
                await asyncio.sleep(0.005)
    except TimeoutError:
        pytest.fail(f"never came: {what}")


@pytest.fixture
def until() -> Callable[..., Any]:
    """`await until(condition, what)` waits for something that must come; the generous limit only ends a hang."""
    return _until


@pytest.fixture
def pose() -> Callable[..., Pose]:
    """`pose(name, **fields)` makes a pose at (1, 2, 3) mm."""

    def make(name: str = "StylusToTracker", **fields: Any) -> Pose:
        matrix = np.eye(4)
        matrix[:3, 3] = 1.0, 2.0, 3.0
        moving, _, fixed = name.partition("To")
        values: dict[str, Any] = {"name": name, "moving": moving, "fixed": fixed, "fixed_from_moving": matrix}
        return Pose(**(values | fields))

    return make
