"""Every kind of link describes itself in one form, with numbers that a page can show."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import numpy as np
import pytest

from devices.clock import SystemClock
from devices.counters import LinkRow, StreamCounters, StreamRow, stream_row
from devices.messages import Alert, AlertKind, Pose, Priority
from devices.mqtt import MemoryOutbox, MqttLink, MqttSettings
from devices.openigtlink import OpenIGTLinkLink, OpenIGTLinkSettings
from devices.quality import Quality
from devices.zeromq import ZeroMQLink, ZeroMQSettings


def pose(number: int, quality: Quality = Quality.OK) -> Pose:
    now_ns = SystemClock().now_ns()
    return Pose(
        name="ProbeToTracker", moving="Probe", fixed="Tracker", fixed_from_moving=np.eye(4), number=number,
        quality=quality, device_time_ns=now_ns,
    )  # fmt: skip


class Ears:
    """Counts what a link says."""

    def __init__(self) -> None:
        self.messages: list[Any] = []

    def all(self) -> dict[str, Callable[..., Any]]:
        return {"on_message": self.messages.append, "on_change": lambda *_: None, "on_loss": lambda *_: None}


@pytest.fixture
async def pairs() -> AsyncIterator[dict[str, tuple[Any, Any, Ears]]]:
    """A talking and a hearing link of each kind."""
    clock, found = SystemClock(), {}
    ears = Ears()
    server = OpenIGTLinkLink(OpenIGTLinkSettings("a", "listen", port=0), clock=clock, **ears.all())
    await server.start()
    settings = OpenIGTLinkSettings("b", "connect", port=server.address[1], header_version=2)
    client = OpenIGTLinkLink(settings, clock=clock, **Ears().all())
    await client.start()
    found["openigtlink"] = (client, server, ears)
    ears = Ears()
    publisher = ZeroMQLink(ZeroMQSettings(room="or", publish="tcp://127.0.0.1:*"), clock=clock, **Ears().all())
    await publisher.start()
    subscriber = ZeroMQLink(ZeroMQSettings(room="or", subscribe=(publisher.address,)), clock=clock, **ears.all())
    await subscriber.start()
    found["zeromq"] = (publisher, subscriber, ears)
    yield found
    for talker, hearer, _ in found.values():
        await talker.stop()
        await hearer.stop()


def stream(row: LinkRow, direction: str) -> StreamRow:
    return next(s for s in row["streams"] if s["direction"] == direction and "ProbeToTracker" in s["name"])


@pytest.mark.parametrize("kind", ["openigtlink", "zeromq"])
async def test_what_went_and_came_stands_in_the_description(pairs: Any, kind: str) -> None:
    talker, hearer, ears = pairs[kind]
    async with asyncio.timeout(60):
        while not ears.messages:
            talker.send(pose(0))
            await asyncio.sleep(0.02)
        await asyncio.sleep(0.05)
        before = len(ears.messages)
        for number in range(1, 41):
            talker.send(pose(number if number < 20 else number + 5, Quality.MISSING if number == 7 else Quality.OK))
            await asyncio.sleep(0.002)
        while len(ears.messages) < before + 40:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    heard, told = hearer.describe(), talker.describe()
    assert heard.keys() == told.keys() == LinkRow.__annotations__.keys()
    assert heard["kind"] == kind
    row = stream(heard, "in")
    assert row.keys() == StreamRow.__annotations__.keys()
    assert row["count"] == before + 40 == heard["received"]
    assert row["unusable"] == 1
    assert row["gaps"] == (5 if kind == "openigtlink" else 0)  # ZeroMQ numbers its own messages
    assert row["age_ms"] is not None
    assert 0 <= row["age_ms"] < 1000
    assert row["jitter_ms"] is not None
    assert row["period_ms"] is not None
    assert 0.5 < row["period_ms"] < 1000
    assert stream(told, "out")["count"] >= before + 40
    assert stream(told, "out")["bytes"] > 100 * 40
    json.dumps([heard, told])


async def test_alerts_that_wait_for_a_broker_are_seen() -> None:
    ears = Ears()
    link = MqttLink(
        MqttSettings(room="or", port=1), clock=SystemClock(), outbox=MemoryOutbox(limit=3), **ears.all()
    )  # fmt: skip
    for number in range(5):
        link.send(
            Alert(
                name="K1",
                room="or",
                priority=Priority.LOW,
                kind=AlertKind.TECHNICAL,
                state="active",
                text="t",
                reaction="",
                advice="",
                first_ns=1,
                sequence=number,
            )
        )
    row = link.describe()
    assert row.keys() == LinkRow.__annotations__.keys()
    assert (row["peers"], row["more"]["waiting"], row["dropped"]) == ([], 3, 2)


def test_jitter_follows_the_period() -> None:
    steady, shaky = StreamCounters(), StreamCounters()
    for index in range(400):
        steady.arrived(1, 1_000_000_000 + index * 10_000_000, 0)
        shaky.arrived(1, 1_000_000_000 + index * 10_000_000 + (index % 2) * 4_000_000, 0)
    assert stream_row("", "a", "in", steady)["jitter_ms"] == pytest.approx(0, abs=0.01)
    assert stream_row("", "a", "in", shaky)["jitter_ms"] == pytest.approx(4.0, abs=0.3)
    assert stream_row("", "a", "in", shaky)["period_ms"] == pytest.approx(10.0, abs=0.5)
    assert stream_row("", "a", "in", steady)["age_ms"] is None
