"""The embedded broker: quick, on loopback only, and good enough for the alert feed."""

import asyncio
import socket
import subprocess
import sys

import pytest
import uvloop

from devices.clock import SystemClock
from devices.errors import LinkError, LocalProtocolError
from devices.mqtt import MemoryOutbox, MqttLink, MqttSettings
from devices.mqtt.broker import EmbeddedBroker


@pytest.fixture
async def embedded():
    broker = EmbeddedBroker()
    await broker.start()
    yield broker
    await broker.stop()


async def test_alerts_state_and_late_readers(embedded, listen, start_link, wait_until, alert):
    ours = await start_link(port=embedded.port)
    early = listen(embedded.port, "guidance/or-1/#")
    await wait_until(lambda: ours.up and early.connects, "both connected")
    for sequence in range(200):
        ours.link.send(alert(sequence, name=f"T{sequence % 3}"))
        await asyncio.sleep(0.002)
    await wait_until(lambda: ours.link.counters["sent"] == 200, "all confirmed")
    await wait_until(lambda: set(early.sequences()) == set(range(200)), "all heard")
    late = listen(embedded.port, "guidance/or-1/alerts/+")
    # a set: the embedded broker may tell a late reader the same retained state twice
    told = lambda: {note["alert"]["sequence"] for note in late.notes("/alerts/T")}  # noqa: E731
    await wait_until(lambda: told() == {197, 198, 199}, "the current state of each alarm")
    await ours.link.stop()
    await wait_until(lambda: early.state() == "stopped", "stopped")


async def test_it_listens_on_loopback_only(embedded):
    with pytest.raises(LocalProtocolError, match="loopback only"):
        EmbeddedBroker("0.0.0.0")
    with pytest.raises(LinkError, match=str(embedded.port)):
        await EmbeddedBroker(port=embedded.port).start()
    host = socket.gethostbyname(socket.gethostname())
    if not host.startswith("127."):
        with pytest.raises(OSError):
            socket.create_connection((host, embedded.port), timeout=1).close()


CONNECT = bytes.fromhex("100d00044d5154540402003c000174")  # MQTT 3.1.1, clean, 60 s, client "t"
PING = bytes.fromhex("c000")


async def test_it_ends_while_a_client_talks():
    """A packet that meets the cancellation of its reader made the broker wait for ever (Python 3.11)."""
    for _ in range(30):
        broker = EmbeddedBroker()
        await broker.start()
        reader, writer = await asyncio.open_connection("127.0.0.1", broker.port)
        writer.write(CONNECT)
        assert (await reader.readexactly(4))[0] == 0x20
        writer.write(PING * 2000)
        await writer.drain()
        await reader.readexactly(2)
        async with asyncio.timeout(20):
            await broker.stop()
        writer.close()


def test_it_runs_as_a_process_of_its_own():
    command = [sys.executable, "-m", "devices.mqtt.broker"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        port = int(process.stdout.readline().rpartition(":")[2])
        socket.create_connection(("127.0.0.1", port), timeout=30).close()
        process.terminate()
        assert process.wait(60) == 0


def test_link_and_broker_run_on_uvloop(alert):
    async def scenario() -> int:
        broker = EmbeddedBroker()
        await broker.start()
        outbox = MemoryOutbox()
        link = MqttLink(
            MqttSettings(room="or-1", port=broker.port),
            clock=SystemClock(),
            outbox=outbox,
            on_message=lambda message: None,
            on_change=lambda *change: None,
            on_loss=lambda *loss: None,
        )
        await link.start()
        for sequence in range(50):
            link.send(alert(sequence))
        for _ in range(6000):
            await asyncio.sleep(0.01)
            if not outbox.pending(1):
                break
        await link.stop()
        await broker.stop()
        return link.counters["sent"]

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        assert runner.run(scenario()) == 50
