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
from devices.messages import Alert, AlertKind, AnyMessage, Image, Pose, Priority
from devices.openigtlink import Decoder, OpenIGTLinkLink, OpenIGTLinkSettings, encode
from devices.openigtlink import bodies as b


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


async def _until(condition: Callable[[], Any], what: str, timeout_s: float = 60.0) -> None:
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


class RawPeer:
    """A plain TCP peer that does what a test tells it."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        self.decoder = Decoder()
        self.heard: list[b.Wire] = []

    def say(self, data: bytes) -> None:
        self.writer.write(data)

    async def ask(self, wire: b.Wire) -> b.Wire:
        self.say(b"".join(encode(wire)))
        return await self.next()

    async def next(self) -> b.Wire:
        async with asyncio.timeout(60):
            while not self.heard:
                data = await self.reader.read(65536)
                assert data, "the link closed this peer"
                self.heard += self.decoder.feed(data)
        return self.heard.pop(0)

    async def ended(self) -> bool:
        with contextlib.suppress(ConnectionError):
            async with asyncio.timeout(60):
                while await self.reader.read(65536):
                    pass
        return True


@pytest.fixture
async def dial() -> Any:
    """`await dial(port)` connects a raw peer; all are closed at the end."""
    peers: list[RawPeer] = []

    async def connect(port: int, **options: Any) -> RawPeer:
        peer = RawPeer(*await asyncio.open_connection("127.0.0.1", port, **options))
        peers.append(peer)
        return peer

    yield connect
    for peer in peers:
        peer.writer.close()
        with contextlib.suppress(ConnectionError):
            await peer.writer.wait_closed()


def _alert(name: str = "T1.rib-4", state: str = "active") -> Alert:
    return Alert(
        name=name, room="or-1", priority=Priority.HIGH, kind=AlertKind.PHYSIOLOGICAL, state=state, text="too hot",
        reaction="STOP", advice="wait", first_ns=1,
    )  # fmt: skip


def _picture(name: str = "us", size: int = 512, value: int = 0) -> Image:
    pixels = np.full((1, size, size), value, np.uint8)
    return Image(name=name, pixels=pixels, frame="RAS", frame_from_image_mm=np.eye(4))


@pytest.fixture
def alert() -> Callable[..., Alert]:
    """`alert(name, state)` makes a high one."""
    return _alert


@pytest.fixture
def picture() -> Callable[..., Image]:
    """`picture(name, size, value)` makes a grey square."""
    return _picture
