"""The journal as an alert feed's outbox, over restarts."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from recording_kit import ANY_MESSAGE, same

from devices.errors import LocalProtocolError
from devices.messages import Alert, AlertKind, Command, Priority
from devices.mqtt.outbox import MemoryOutbox, Outbox
from guidance.errors import RecordingError
from guidance.events import Act
from guidance.recording.journal import Journal
from guidance.recording.outbox import Acted, JournalOutbox, Said, pack_entry, read_entry


def alert(sequence: int, name: str = "T1.rib", state: str = "active") -> Alert:
    return Alert(
        name=name,
        room="r",
        priority=Priority.HIGH,
        kind=AlertKind.PHYSIOLOGICAL,
        state=state,
        text="too hot",
        reaction="STOP",
        advice="look",
        first_ns=5,
        sequence=sequence,
    )


def numbers(alerts: list[Alert]) -> list[int]:
    return [a.sequence for a in alerts]


def test_behaves_as_the_memory_outbox_does(tmp_path: Path) -> None:
    journal = Journal(tmp_path, "a.journal")
    both: list[Outbox] = [JournalOutbox(journal), MemoryOutbox()]
    for box in both:
        first = alert(3)
        assert box.add(first) == 0
        assert box.add(alert(4, "K1.probe")) == 0
        assert box.add(alert(9, state="cleared")) == 0
        assert numbers(box.pending(2)) == [3, 4]
        assert box.pending(1)[0] is first
        assert {n: a.sequence for n, a in box.current().items()} == {"T1.rib": 9, "K1.probe": 4}
        assert box.current()["K1.probe"] is box.pending(2)[1]
        assert box.confirmed_up_to == -1
        box.confirm(2)
        box.confirm(4)
        box.confirm(3)
        assert (numbers(box.pending(9)), numbers([*box.since(3)]), numbers([*box.since(-1)])) == ([9], [4], [3, 4])
        assert box.confirmed_up_to == 4
        for sequence in (9, 8):
            with pytest.raises(LocalProtocolError, match=f"has sequence {sequence} after 9"):
                box.add(alert(sequence))
    journal.close()


def test_what_is_not_confirmed_is_pending_after_a_restart_and_numbers_go_on(tmp_path: Path) -> None:
    logs = set()
    for run, (start, expected) in enumerate([(1, [1, 2, 3]), (1, [3, 4, 5, 6]), (50, [6, 50, 51, 52])]):
        journal = Journal(tmp_path, "a.journal")
        box = JournalOutbox(journal)
        logs.add(box.log)
        assert box.current() == {}
        for n in range(start, start + 3):
            box.add(alert(n, f"run {run}"))
        assert numbers(box.pending(9)) == expected
        assert box.last_sequence == expected[-1]
        assert box.current()[f"run {run}"] is box.pending(9)[-1]
        box.confirm(expected[-2])
        journal.close()
    assert len(logs) == 1


def test_feeds_and_other_entries_do_not_mix(tmp_path: Path) -> None:
    journal = Journal(tmp_path, "a.journal")
    one, two = JournalOutbox(journal, "mqtt"), JournalOutbox(journal, "console")
    one.add(alert(1))
    two.add(alert(1))
    two.confirm(1)
    journal.append(pack_entry(Said("therapy", Command(name="laser", command_id=1, verb="STOP"), now_ns=7)))
    journal.append(pack_entry(Acted(Act(now_ns=8, verb="reset", actor="console-1"))))
    journal.close()
    journal = Journal(tmp_path, "a.journal")
    assert numbers(JournalOutbox(journal, "mqtt").pending(9)) == [1]
    assert numbers(JournalOutbox(journal, "console").pending(9)) == []
    assert numbers(JournalOutbox(journal, "console").since(0)) == [1]
    assert JournalOutbox(journal, "console").confirmed_up_to == 1
    journal.close()


def test_a_journal_that_refuses_loses_no_alert_of_the_feed(tmp_path: Path) -> None:
    journal = Journal(tmp_path, "a.journal")
    box = JournalOutbox(journal)
    journal.close()
    assert box.add(alert(1)) == 1
    assert (numbers(box.pending(9)), box.unwritten) == ([1], 1)


def test_records_that_are_no_entries_are_named(tmp_path: Path) -> None:
    journal = Journal(tmp_path, "a.journal")
    journal.append(b"\xc1nonsense")
    journal.close()
    journal = Journal(tmp_path, "a.journal")
    with pytest.raises(RecordingError, match=r"a.journal: record 1: not a journal entry"):
        JournalOutbox(journal)
    journal.close()


@settings(max_examples=100, deadline=None)
@given(message=ANY_MESSAGE)
def test_entries_round_trip(message: object) -> None:
    entry = Said("link", message, now_ns=3)  # type: ignore[arg-type]
    assert same(entry, read_entry(pack_entry(entry)))
