"""The journal in the service: nothing is confirmed before it is on the disk, and everything said stands in it."""

import asyncio
import itertools

import pytest

from devices.clock import VirtualClock
from devices.messages import Acknowledgement, Alert, AlertKind, Command, Priority
from devices.mqtt.outbox import MemoryOutbox
from guidance.events import Act, Arrival, Health, Send, Tick
from guidance.recording.journal import Journal, read_journal
from guidance.recording.outbox import Acted, Moved, Said, read_entry
from guidance.safety.phases import Phase
from guidance.service.health import SelfWatch
from guidance.service.keeper import Keeper

ACK = Acknowledgement(name="desk", command_id=1, verb="STOP", done=True)
STOP = Command(name="Therapy", command_id=7, verb="STOP")


def alert(sequence: int = 1) -> Alert:
    return Alert(
        name="T1.rib",
        room="or-1",
        priority=Priority.HIGH,
        kind=AlertKind.TECHNICAL,
        state="active",
        text="hot",
        reaction="STOP sent",
        advice="wait",
        first_ns=1,
        sequence=sequence,
    )


@pytest.fixture
async def journal(tmp_path):
    journal = Journal(tmp_path, "or-1.journal")
    yield journal
    await asyncio.to_thread(journal.close)


async def test_what_is_said_and_done_stands_in_the_journal_once(journal) -> None:
    keeper = Keeper(journal)
    permit = Command(name="Therapy", command_id=8, verb="PERMIT")
    effects = [Send("therapy", STOP), Send("therapy", permit), Send("console", alert()), Send("bus", alert())]
    keeper.keep(Act(now_ns=5, verb="STOP", actor="anna"), [*effects, Send("console", ACK)], Phase.STOPPED)
    keeper.keep(Tick(now_ns=6), [Send("therapy", STOP)], Phase.IDLE)
    keeper.keep(Act(now_ns=7, verb="LEASE", actor="anna"), [], Phase.IDLE)
    keeper.keep(Arrival(now_ns=8, link="therapy", message=ACK), [], Phase.IDLE)
    beat = Command(name="desk", command_id=9, verb="BEAT")
    keeper.keep(Arrival(now_ns=9, link="console", message=beat), [Send("console", beat_answer())], Phase.IDLE)
    await keeper.all_synced()
    entries = [read_entry(record) for record in read_journal(journal.path)]
    assert [type(entry) for entry in entries] == [Acted, Said, Said, Said, Moved, Said]
    said = [(e.link, e.message.name) for e in entries if isinstance(e, Said)]
    assert said == [("therapy", "Therapy"), ("console", "desk"), ("", "T1.rib"), ("therapy", "desk")]
    moved = entries[4]
    assert isinstance(moved, Moved)
    assert (moved.before, moved.after) == ("STOPPED", "IDLE")


def beat_answer() -> Acknowledgement:
    return Acknowledgement(name="desk", command_id=9, verb="BEAT", done=True)


async def test_alerts_that_a_feed_keeps_are_not_kept_twice(journal) -> None:
    keeper = Keeper(journal, frozenset({"alerts"}))
    assert keeper.keep(Tick(now_ns=1), [Send("console", alert()), Send("alerts", alert())], Phase.STOPPED) == 0
    assert keeper.keep(Tick(now_ns=2), [Send("console", alert(2))], Phase.STOPPED) == 1


async def test_nothing_is_confirmed_before_it_is_on_the_disk(journal, monkeypatch) -> None:
    keeper = Keeper(journal)
    told: list[int] = []
    synced = 0
    monkeypatch.setattr(Journal, "synced_up_to", property(lambda self: synced))
    first = keeper.keep(Act(now_ns=1, verb="ARM", actor="a"), [], Phase.STOPPED)
    second = keeper.keep(Act(now_ns=2, verb="START", actor="a"), [], Phase.STOPPED)
    keeper.when_synced(first, lambda: told.append(first))
    keeper.when_synced(second, lambda: told.append(second))
    assert told == []
    synced = first
    keeper._synced()
    assert told == [first]
    synced = second
    keeper._synced()
    assert told == [first, second]


async def test_what_the_journal_refuses_is_counted_and_never_confirmed(journal) -> None:
    keeper = Keeper(journal)
    await asyncio.to_thread(journal.close)
    told: list[int] = []
    sequence = keeper.keep(Act(now_ns=1, verb="ARM", actor="a"), [], Phase.STOPPED)
    keeper.when_synced(sequence, lambda: told.append(1))
    assert (sequence, keeper.unwritten, told) == (-1, 1, [])


async def test_the_rim_tells_of_its_disks_and_its_feed(journal) -> None:
    told: dict[str, dict[str, float]] = {}
    clock = VirtualClock(10_000_000_000)
    outbox = MemoryOutbox()
    watch = SelfWatch(
        clock,
        lambda event: told.__setitem__(event.source, event.facts),
        recorder=None,
        journal=journal,
        unwritten=lambda: 2,
        feeds={"alerts": outbox},
        plan=None,
        plan_folder=None,
    )
    await watch.measure()
    assert told["alerts"] == {"alert_age_ms": 0.0}
    assert told["journal"]["record_lost"] == 2.0
    assert told["journal"]["record_free_mb"] > 1.0
    outbox.add(alert())
    await watch.measure()
    assert told["alerts"]["alert_age_ms"] == 10_000.0


async def test_a_disk_that_hangs_is_a_slow_one(journal, monkeypatch) -> None:
    told: list[float] = []
    clock = VirtualClock(0)

    def tell(event: Health) -> None:
        told.append(event.facts["record_sync_ms"])

    watch = SelfWatch(
        clock, tell, recorder=None, journal=journal, unwritten=lambda: 0, feeds={}, plan=None, plan_folder=None
    )
    state = journal.health()
    monkeypatch.setattr(
        journal, "health", lambda: type(state)(waiting=3, synced_up_to=9, last_sync_ms=1.0, free_bytes=1, error="")
    )
    for at in itertools.islice(itertools.count(1_000_000_000, 400_000_000), 4):
        clock._now_ns = at
        await watch.measure()
    assert told == [1.0, 400.0, 800.0, 1200.0]
