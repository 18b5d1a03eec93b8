"""Real peers beside our link: child processes that never outlive their test."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import uvloop

from devices.clock import SystemClock
from devices.messages import AnyMessage
from devices.openigtlink import OpenIGTLinkLink, OpenIGTLinkSettings
from tests.programs import Stage, free_port


def pytest_asyncio_loop_factories() -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    """The loop of the service."""
    return {"uvloop": uvloop.new_event_loop}


class Room(Stage):
    """A link that gathers what it hears, and the peers that talk to it."""

    def __init__(self) -> None:
        super().__init__()
        self.messages: list[AnyMessage] = []
        self.changes: list[tuple[bool, str, str]] = []
        self.losses: list[tuple[str, int, str]] = []
        self.link: OpenIGTLinkLink

    async def open(self, mode: str, **options: Any) -> OpenIGTLinkLink:
        """Start the link."""
        self.link = OpenIGTLinkLink(
            OpenIGTLinkSettings(id="room", mode=mode, **options),
            clock=SystemClock(),
            on_message=self.messages.append,
            on_change=lambda *change: self.changes.append(change),
            on_loss=lambda *loss: self.losses.append(loss),
        )
        await self.link.start()
        self._stack.push_async_callback(self.link.stop)
        return self.link

    def state(self) -> str:
        return f"; heard {len(self.messages)}, {self.changes[-4:]}, {self.losses[-4:]}"


@pytest.fixture
async def room() -> AsyncIterator[Room]:
    """A link and its peers, all ended with the test."""
    room = Room()
    try:
        yield room
    finally:
        await room.close()


@pytest.fixture(name="free_port")
def a_free_port() -> int:
    """A port that was free a moment ago, for peers that cannot choose one themselves."""
    return free_port()
