"""The journal: torn at every byte, tampered with, on a full and a slow disk, opened twice."""

import subprocess
import sys
import threading
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from recording_kit import FaultyFile

from guidance.errors import RecordingError
from guidance.recording.disk import open_append
from guidance.recording.journal import Journal, read_journal
from guidance.recording.journal_file import HEAD_BYTES, MAX_RECORD_BYTES

RECORDS = [b"alert 1", b"x" * 300, bytes(range(40)), b"last"]


def write(folder: Path, records: list[bytes], name: str = "a.journal") -> Path:
    journal = Journal(folder, name)
    for record in records:
        journal.append(record)
    journal.close()
    return folder / name


def test_what_is_appended_is_there_after_reopening(tmp_path: Path) -> None:
    path = write(tmp_path, RECORDS)
    journal = Journal(tmp_path, "a.journal")
    assert (journal.recovered, journal.report, journal.synced_up_to) == (RECORDS, "", 4)
    assert journal.append(b"more") == 5
    assert journal.wait(5, 10)
    journal.close()
    assert read_journal(path) == [*RECORDS, b"more"]
    assert path.stat().st_mode & 0o777 == 0o600


def test_confirmation_comes_after_the_sync(tmp_path: Path) -> None:
    told: list[int] = []
    file = open_append(tmp_path, "a.journal", new=False)
    slow = FaultyFile(file.fileno(), file.path)
    journal = Journal.on(slow, told.append)
    slow.sync_s = 0.05
    sequences = [journal.append(record) for record in RECORDS]
    assert (sequences, told, journal.synced_up_to) == ([1, 2, 3, 4], [], 0)
    assert not journal.wait(4, 0)
    assert journal.wait(4, 10)
    assert len(read_journal(file.path)) == 4
    journal.close()
    assert told[-1] == 4
    assert told == sorted(told)


def test_nothing_is_confirmed_that_is_not_on_the_disk(tmp_path: Path) -> None:
    file = open_append(tmp_path, "a.journal", new=False)
    gate = threading.Event()

    class Held(FaultyFile):
        def sync(self) -> None:
            assert gate.wait(10)
            super().sync()

    gate.set()
    held = Held(file.fileno(), file.path)
    seen: list[tuple[int, int]] = []
    journal = Journal.on(held, lambda sequence: seen.append((sequence, held.synced_bytes)))
    gate.clear()
    journal.append(b"x" * 60)
    assert not journal.wait(1, 0.1)
    assert seen == []
    gate.set()
    assert journal.wait(1, 10)
    journal.close()
    assert seen == [(1, HEAD_BYTES + 100)]


def test_cut_at_every_byte_it_opens_with_every_whole_record(tmp_path: Path) -> None:
    path = write(tmp_path, RECORDS)
    whole = path.read_bytes()
    ends = [HEAD_BYTES]
    for record in RECORDS:
        ends.append(ends[-1] + 40 + len(record))
    for cut in range(len(whole) + 1):
        path.write_bytes(whole[:cut])
        journal = Journal(tmp_path, "a.journal")
        count = sum(end <= cut for end in ends[1:])
        good = max([0, *(end for end in ends if end <= cut)])
        assert journal.recovered == RECORDS[:count]
        assert bool(journal.report) == (cut != good)
        kept = list(tmp_path.glob("*.torn-*"))
        assert [p.read_bytes() for p in kept] == ([whole[good:cut]] if cut != good else [])
        assert journal.append(b"after the crash") == count + 1
        assert journal.close().waiting == 0
        assert read_journal(path) == [*RECORDS[:count], b"after the crash"]
        for piece in kept:
            piece.unlink()


def test_every_changed_byte_is_seen(tmp_path: Path) -> None:
    path = write(tmp_path, RECORDS)
    whole = path.read_bytes()
    last = len(whole) - 40 - len(RECORDS[-1])
    for at in range(len(whole)):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 4]) + whole[at + 1 :])
        if at >= last:  # the last record: damaged and torn look the same, and only it is not read
            assert read_journal(path) == RECORDS[:-1]
            continue
        with pytest.raises(RecordingError, match=r"byte|not a journal"):
            read_journal(path)


@pytest.mark.parametrize("keep", [[0, 2, 3], [1, 2, 3], [0, 2, 1, 3], [0, 0, 1, 2, 3]])
def test_whole_records_out_of_place_break_the_chain(tmp_path: Path, keep: list[int]) -> None:
    path = write(tmp_path, RECORDS)
    whole = path.read_bytes()
    pieces, at = [], HEAD_BYTES
    for record in RECORDS:
        pieces.append(whole[at : at + 40 + len(record)])
        at += 40 + len(record)
    path.write_bytes(whole[:HEAD_BYTES] + b"".join(pieces[i] for i in keep))
    with pytest.raises(RecordingError, match="does not continue the chain"):
        Journal(tmp_path, "a.journal")
    assert path.stat().st_size == HEAD_BYTES + sum(len(pieces[i]) for i in keep), "a refused journal stays as it is"


def test_a_record_of_another_journal_breaks_the_chain(tmp_path: Path) -> None:
    one, two = write(tmp_path, [b"same"]), write(tmp_path, [b"same"], "b.journal")
    one.write_bytes(one.read_bytes()[:HEAD_BYTES] + two.read_bytes()[HEAD_BYTES:])
    with pytest.raises(RecordingError, match="does not continue the chain"):
        read_journal(one)


def test_a_second_writer_is_refused(tmp_path: Path) -> None:
    first = Journal(tmp_path, "a.journal")
    with pytest.raises(RecordingError, match="another process writes this journal"):
        Journal(tmp_path, "a.journal")
    code = (
        "import sys; from pathlib import Path; from guidance.recording.journal import Journal\n"
        "from guidance.errors import RecordingError\n"
        "try: Journal(Path(sys.argv[1]), 'a.journal')\n"
        "except RecordingError as fault: print(fault)"
    )
    second = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True)
    assert "another process writes this journal" in second.stdout
    first.close()
    Journal(tmp_path, "a.journal").close()


def test_full_disk_confirms_nothing_and_goes_on_when_there_is_room(tmp_path: Path) -> None:
    file = open_append(tmp_path, "a.journal", new=False)
    full = FaultyFile(file.fileno(), file.path)
    journal = Journal.on(full)
    journal.append(b"one")
    assert journal.wait(1, 10)
    full.room = full.size + 50
    journal.append(b"x" * 100)
    assert not journal.wait(2, 0.15)
    health = journal.health()
    assert (health.waiting, health.synced_up_to) == (1, 1)
    assert "No space left" in health.error
    full.room = None
    assert journal.wait(2, 10)
    assert journal.close().error == ""
    assert read_journal(file.path) == [b"one", b"x" * 100]


def test_closing_on_a_full_disk_says_what_is_not_written(tmp_path: Path) -> None:
    file = open_append(tmp_path, "a.journal", new=False)
    full = FaultyFile(file.fileno(), file.path)
    journal = Journal.on(full)
    full.room = full.size
    journal.append(b"one")
    health = journal.close()
    assert (health.waiting, health.synced_up_to) == (1, 0)
    assert "No space left" in health.error


def test_a_failed_sync_is_written_again(tmp_path: Path) -> None:
    file = open_append(tmp_path, "a.journal", new=False)

    class Failing(FaultyFile):
        failures = 0

        def sync(self) -> None:
            if self.failures:
                self.failures -= 1
                raise OSError(5, "Input/output error")
            super().sync()

    failing = Failing(file.fileno(), file.path)
    journal = Journal.on(failing)
    failing.failures = 2
    journal.append(b"one")
    assert journal.wait(1, 10)
    journal.close()
    assert read_journal(file.path) == [b"one"]


@pytest.mark.parametrize("record", [b"", bytes(MAX_RECORD_BYTES + 1)])
def test_records_of_wrong_size_are_refused_at_once(tmp_path: Path, record: bytes) -> None:
    journal = Journal(tmp_path, "a.journal")
    with pytest.raises(ValueError, match="1 to 1048576 bytes"):
        journal.append(record)
    journal.close()
    with pytest.raises(RecordingError, match="is closed"):
        journal.append(b"late")


def test_links_other_files_and_odd_names_are_refused(tmp_path: Path) -> None:
    (tmp_path / "real").write_bytes(b"")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    (tmp_path / "other").write_bytes(b"hello, I am no journal at all, nothing like it")
    for name in ("link", "other", "../x", "/tmp/x", ".", "..", "", "a/b"):
        with pytest.raises(RecordingError):
            Journal(tmp_path, name)
    assert (tmp_path / "other").read_bytes().startswith(b"hello")


def test_many_threads_append_in_order(tmp_path: Path) -> None:
    journal = Journal(tmp_path, "a.journal")
    taken: dict[int, bytes] = {}

    def work(label: int) -> None:
        for i in range(200):
            record = f"{label}-{i}".encode()
            taken[journal.append(record)] = record

    threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    journal.close()
    assert dict(enumerate(read_journal(tmp_path / "a.journal"), 1)) == taken


@settings(max_examples=200, deadline=None)
@given(data=st.binary(max_size=200))
def test_random_tails_never_add_a_record(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    folder = tmp_path_factory.mktemp("j")
    path = write(folder, RECORDS)
    path.write_bytes(path.read_bytes() + data)
    assert read_journal(path) == RECORDS
