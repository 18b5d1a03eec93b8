"""A link whose every callback is kept, and a patient wait."""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field

import pytest

from devices.clock import SystemClock
from devices.messages import AnyMessage
from devices.zeromq import ZeroMQLink, ZeroMQSettings


@dataclass
class Heard:
    """A running link and everything that it told."""

    link: ZeroMQLink
    messages: list[AnyMessage] = field(default_factory=list)
    changes: list[tuple[bool, str, str]] = field(default_factory=list)
    losses: list[tuple[str, int, str]] = field(default_factory=list)


async def until(condition: Callable[[], object], what: str, seconds: float = 60.0) -> None:
    """Wait for a condition; the test fails with `what` where it never comes."""
    deadline = asyncio.get_running_loop().time() + seconds
    while not condition():
        assert asyncio.get_running_loop().time() < deadline, f"never happened: {what}"
        await asyncio.sleep(0.005)


def make_link(settings: ZeroMQSettings) -> Heard:
    """A link that is not started yet."""
    heard: Heard
    link = ZeroMQLink(
        settings,
        clock=SystemClock(),
        on_message=lambda message: heard.messages.append(message),
        on_change=lambda *change: heard.changes.append(change),
        on_loss=lambda *loss: heard.losses.append(loss),
    )
    heard = Heard(link)
    return heard


@pytest.fixture
def wait_until() -> Callable[..., object]:
    return until


@pytest.fixture
async def start_link() -> AsyncIterator[Callable[..., object]]:
    """`await start_link(publish=..., ...)`; stopped at the end of the test."""
    links: list[ZeroMQLink] = []

    async def start(**settings: object) -> Heard:
        heard = make_link(ZeroMQSettings(**{"room": "or-1", **settings}))
        links.append(heard.link)
        await heard.link.start()
        return heard

    yield start
    for link in links:
        await link.stop()
