"""Real peers beside our link: child processes that never outlive their test."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
import uvloop

from devices.clock import SystemClock
from devices.messages import AnyMessage
from devices.openigtlink import OpenIGTLinkLink, OpenIGTLinkSettings


def pytest_asyncio_loop_factories() -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    """The loop of the service."""
    return {"uvloop": uvloop.new_event_loop}


class Room:
    """A link that gathers what it hears, and the peers that talk to it."""

    def __init__(self) -> None:
        self.messages: list[AnyMessage] = []
        self.changes: list[tuple[bool, str, str]] = []
        self.losses: list[tuple[str, int, str]] = []
        self.link: OpenIGTLinkLink
        self._stack = contextlib.AsyncExitStack()

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

    async def run(self, program: Path, *arguments: object) -> "Child":
        """Start a peer; it is killed at the end whatever happens."""
        process = await asyncio.create_subprocess_exec(
            program,
            *map(str, arguments),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        child = Child(process)
        self._stack.push_async_callback(child.end)
        return child

    async def until(self, condition: Callable[[], Any], what: str, timeout_s: float = 15.0) -> None:
        """Wait for something that must come; the generous limit only ends a hang."""
        try:
            async with asyncio.timeout(timeout_s):
                while not condition():  # noqa: ASYNC110
                    await asyncio.sleep(0.01)
        except TimeoutError:
            pytest.fail(f"never came: {what}; heard {len(self.messages)}, {self.changes[-4:]}, {self.losses[-4:]}")

    async def close(self) -> None:
        """End children and link."""
        await self._stack.aclose()


class Child:
    """A peer process and what it has said."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.said = ""
        self._reader = asyncio.create_task(self._read())

    async def _read(self) -> None:
        assert self.process.stdout is not None
        while data := await self.process.stdout.read(65536):
            self.said += data.decode("utf-8", "replace")

    async def end(self) -> None:
        """Kill and wait."""
        with contextlib.suppress(ProcessLookupError):
            self.process.kill()
        await self.process.wait()
        await self._reader


@pytest.fixture
async def room() -> AsyncIterator[Room]:
    """A link and its peers, all ended with the test."""
    room = Room()
    try:
        yield room
    finally:
        await room.close()


@pytest.fixture
def free_port() -> int:
    """A port that was free a moment ago, for peers that cannot choose one themselves."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
