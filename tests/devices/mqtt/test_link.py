"""The alert feed at a real mosquitto that is killed, frozen and restarted."""

import asyncio
import json
import signal
import subprocess
import sys

import psutil
import pytest

from devices.errors import LocalProtocolError
from devices.messages import Alert, Status, Text
from devices.mqtt import MemoryOutbox

pytestmark = pytest.mark.peers
EVERYTHING = "guidance/#"


async def test_an_alert_is_told_twice_as_state_and_as_change(broker, listen, start_link, wait_until, alert):
    ours = await start_link(port=broker.port)
    early = listen(broker.port, EVERYTHING)
    await wait_until(lambda: ours.up and early.connects, "both connected")
    ours.link.send(alert(1), urgent=True)
    ours.link.send(alert(2, state="cleared"))
    await wait_until(lambda: early.sequences() == [1, 2], "both changes")
    await wait_until(lambda: ours.link.counters["sent"] == 2, "both confirmed")
    assert early.notes("/alerts/log/")[0]["alert"]["text"] == "tracker stale"
    assert early.state() == "live"
    assert ours.outbox.pending(10) == []
    late = listen(broker.port, EVERYTHING)
    await wait_until(lambda: len(late.sequences()) == 2 and late.state(), "what is retained")
    assert [note["alert"]["state"] for note in late.notes("/alerts/T1.rib-4")] == ["cleared"]
    assert all(retained for _, _, retained in late.heard)


async def test_a_reader_that_never_asks_still_gets_the_newest_changes(broker, listen, start_link, wait_until, alert):
    ours = await start_link(port=broker.port, ring=100)
    for sequence in range(1000):
        ours.link.send(alert(sequence))
    await wait_until(lambda: ours.link.counters["sent"] == 1000, "all confirmed")
    broker.kill()
    broker.start()
    await wait_until(lambda: ours.link.counters["told_again"] == 100, "the tail told again")
    late = listen(broker.port, EVERYTHING)
    await wait_until(lambda: len(late.sequences()) == 100, "the tail")
    assert sorted(late.sequences()) == list(range(900, 1000))
    curious = listen(broker.port, EVERYTHING, asks=True)
    await wait_until(lambda: 5 in curious.sequences(), "old ones, because it asked")
    for sequence in range(1000, 1100):
        ours.link.send(alert(sequence))
    await wait_until(lambda: set(curious.sequences()) == set(range(1100)), "everything")
    even_later = listen(broker.port, EVERYTHING)
    await wait_until(lambda: even_later.state(), "what is retained")
    await asyncio.sleep(0.1)
    kept = [json.loads(payload) for topic, payload, retained in even_later.heard if retained and "/log/" in topic]
    assert sorted(note["alert"]["sequence"] for note in kept) == list(range(1000, 1100)), "old ones took no slot"


@pytest.mark.parametrize("kills", [1, 3])
async def test_every_sequence_arrives_over_a_killed_broker(broker, listen, start_link, wait_until, alert, kills):
    """2,000 alerts flow while mosquitto, without persistence, is killed and started again."""
    ours = await start_link(port=broker.port)
    listener = listen(broker.port, EVERYTHING, asks=True)
    await wait_until(lambda: ours.up and listener.connects, "both connected")
    for sequence in range(2000):
        ours.link.send(alert(sequence, name=f"T1.{sequence % 7}"))
        await asyncio.sleep(0.001)
        if sequence % (2000 // kills) == 700 // kills:
            broker.kill()
            await asyncio.sleep(0.1)
            broker.start()
    await wait_until(lambda: ours.outbox.pending(1) == [], "everything confirmed")
    await wait_until(lambda: len(set(listener.sequences())) == 2000, "everything heard")
    assert listener.connects == 1 + kills
    assert ours.losses == []
    last = {note["alert"]["name"]: note["alert"]["sequence"] for note in listener.notes("/alerts/T1.")}
    assert last == {f"T1.{n}": max(s for s in range(2000) if s % 7 == n) for n in range(7)}


async def test_a_frozen_broker_is_noticed_and_loses_nothing(broker, listen, start_link, wait_until, alert):
    ours = await start_link(port=broker.port, keepalive_s=1, answer_s=0.5)
    listener = listen(broker.port, EVERYTHING)
    await wait_until(lambda: ours.up and listener.connects, "both connected")
    ours.link.send(alert(0))
    await wait_until(lambda: ours.link.counters["sent"] == 1, "confirmed")
    broker.signal(signal.SIGSTOP)
    for sequence in range(1, 200):
        ours.link.send(alert(sequence))
        await asyncio.sleep(0.01)
    await wait_until(lambda: not ours.up, "the partition noticed")
    assert len(ours.outbox.pending(1000)) == 199
    broker.signal(signal.SIGCONT)
    await wait_until(lambda: len(set(listener.sequences())) == 200, "everything heard")
    await wait_until(lambda: ours.outbox.pending(1) == [], "everything confirmed")
    current = [note["alert"]["sequence"] for note in listener.notes("/alerts/T1.rib-4")]
    assert current[-1] == 199
    assert current == sorted(current), "a current state never goes back"


async def test_an_idle_link_notices_a_frozen_broker(broker, start_link, wait_until):
    ours = await start_link(port=broker.port, keepalive_s=1, answer_s=0.5)
    await wait_until(lambda: ours.up, "connected")
    broker.signal(signal.SIGSTOP)
    await wait_until(lambda: not ours.up, "the partition noticed")
    broker.signal(signal.SIGCONT)
    await wait_until(lambda: ours.up, "back")


async def test_a_broker_that_comes_late_gets_everything(broker, listen, start_link, wait_until, alert):
    broker.kill()
    ours = await start_link(port=broker.port)
    for sequence in range(300):
        ours.link.send(alert(sequence))
    await wait_until(lambda: ours.changes, "the refusal told")
    assert ours.changes[-1][0] is False
    broker.start()
    listener = listen(broker.port, EVERYTHING)
    await wait_until(lambda: len(set(listener.sequences())) == 300, "everything heard")
    await wait_until(lambda: ours.outbox.pending(1) == [], "everything confirmed")


async def test_a_new_run_goes_on_where_the_outbox_stands(broker, listen, start_link, wait_until, alert):
    outbox = MemoryOutbox("journal-7")
    broker.kill()
    first = await start_link(outbox, port=broker.port)
    for sequence in range(5):
        first.link.send(alert(sequence))
    await first.link.stop()
    broker.start()
    listener = listen(broker.port, EVERYTHING)
    second = await start_link(outbox, port=broker.port)
    second.link.send(alert(5))
    await wait_until(lambda: listener.sequences() == list(range(6)), "all in order")
    assert {note["log"] for note in listener.notes("/alerts/log/")} == {"journal-7"}


SERVICE = """
import asyncio, sys
from devices.clock import SystemClock
from devices.mqtt import MemoryOutbox, MqttLink, MqttSettings

async def main():
    hear = lambda *said: None
    settings = MqttSettings(room="or-1", port=int(sys.argv[1]))
    await MqttLink(settings, clock=SystemClock(), outbox=MemoryOutbox(), on_message=hear, on_change=hear,
                   on_loss=hear).start()
    await asyncio.sleep(60)

asyncio.run(main())
"""


@pytest.fixture
def service(broker):
    """A process that runs a link and knows of no end."""
    with subprocess.Popen([sys.executable, "-c", SERVICE, str(broker.port)]) as process:
        yield process
        process.kill()


@pytest.mark.parametrize("death", [signal.SIGKILL, signal.SIGSTOP], ids=["killed", "frozen"])
async def test_the_last_will_says_source_lost(broker, service, listen, wait_until, death):
    listener = listen(broker.port, "guidance/or-1/state")
    await wait_until(lambda: listener.state() == "live", "live")
    service.send_signal(death)
    await wait_until(lambda: listener.state() == "source lost", "the last will")
    late = listen(broker.port, "guidance/or-1/state")
    await wait_until(lambda: late.state() == "source lost", "the last will, retained")


async def test_a_clean_stop_tells_what_is_pending_and_says_stopped(broker, listen, start_link, wait_until, alert):
    ours = await start_link(port=broker.port)
    listener = listen(broker.port, EVERYTHING)
    await wait_until(lambda: ours.up and listener.connects, "both connected")
    for sequence in range(500):
        ours.link.send(alert(sequence))
    await ours.link.stop()
    assert ours.outbox.pending(1) == []
    await wait_until(lambda: listener.state() == "stopped", "stopped")
    assert ours.changes[-1] == (False, ours.link.address, "stopped")


async def test_stopping_ends_soon_with_a_frozen_broker(broker, start_link, wait_until, alert):
    ours = await start_link(port=broker.port)
    await wait_until(lambda: ours.up, "connected")
    broker.signal(signal.SIGSTOP)
    ours.link.send(alert(1))
    async with asyncio.timeout(20):
        await ours.link.stop()
    assert len(ours.outbox.pending(10)) == 1


async def test_alarms_of_an_earlier_run_do_not_stand_for_ever(broker, listen, start_link, wait_until, alert):
    first = await start_link(port=broker.port)
    first.link.send(alert(1, name="old/alarm #1"))
    first.link.send(alert(2, name="still there"))
    await wait_until(lambda: first.link.counters["sent"] == 2, "confirmed")
    await first.link.stop()
    second = await start_link(port=broker.port)
    second.link.send(alert(1, name="still there"))
    await wait_until(lambda: second.link.counters["cleared"] == 1, "the old one cleared")
    await wait_until(lambda: second.link.counters["sent"] == 1, "confirmed: the broker has it")
    late = listen(broker.port, "guidance/or-1/alerts/+")
    await wait_until(lambda: late.heard, "what is retained")
    await asyncio.sleep(0.1)
    assert [note["alert"]["name"] for note in late.notes("/alerts/")] == ["still there"]


async def test_another_room_can_be_followed(broker, listen, start_link, wait_until, alert):
    ward = await start_link(port=broker.port, room="ward", follow=("or-1",))
    room = await start_link(port=broker.port)
    room.link.send(alert(1))
    await wait_until(lambda: any(isinstance(message, Alert) for message in ward.messages), "the alarm")
    await room.link.stop()
    await wait_until(lambda: [m.text for m in ward.messages if isinstance(m, Status)][-1:] == ["stopped"], "its end")
    assert all(message.receive_time_ns for message in ward.messages)
    bad = listen(broker.port, EVERYTHING)
    await wait_until(lambda: bad.connects, "connected")
    good = json.dumps(bad.notes("/alerts/T1")[0] if bad.notes("/alerts/T1") else {})
    for topic, payload in [
        ("guidance/or-1/alerts/x", b"{"),
        ("guidance/or-1/alerts/other-name", good.encode()),
        ("guidance/or-1/state", b'{"version":1,"log":"x","state":"fine"}'),
        ("guidance/or-1/state", b'{"version":9,"log":"x","state":"live"}'),
        ("guidance/or-1/state", b"x" * 100_000),
    ]:
        bad._client.publish(topic, payload, qos=1)
    await wait_until(lambda: ward.link.counters["rejected"] == 5, "five refusals")
    assert len(ward.losses) == 5


async def test_what_is_no_alert_is_refused(start_link):
    ours = await start_link(port=9)
    with pytest.raises(LocalProtocolError, match="Text"):
        ours.link.send(Text(name="x", text="y"))


async def test_plain_text_stays_on_loopback(start_link):
    with pytest.raises(LocalProtocolError, match="tls"):
        await start_link(host="10.0.0.1")


async def test_lost_connections_leave_no_descriptor_and_no_task(broker, start_link, wait_until):
    ours = await start_link(port=broker.port, retry_first_s=0.01, retry_most_s=0.01, answer_s=0.3)
    await wait_until(lambda: ours.up, "connected")
    process, counts = psutil.Process(), []
    for round_ in range(6):
        broker.kill()
        if round_ % 2:
            broker.start()
            broker.signal(signal.SIGSTOP)  # takes connections and never answers
        await wait_until(lambda: not ours.up, "gone")
        refused = len(ours.changes)
        await wait_until(lambda seen=refused: len(ours.changes) >= seen + 3, "three more attempts")
        broker.kill()
        broker.start()
        await wait_until(lambda: ours.up, "back")
        await asyncio.sleep(0.05)
        counts.append((process.num_fds(), len(asyncio.all_tasks())))
    assert len(set(counts[1:])) == 1, counts
