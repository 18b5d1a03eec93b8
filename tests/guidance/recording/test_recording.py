"""Recordings: whole, cut anywhere, on a full or slow disk, overflowing, with names from outside."""

import contextlib
import io
import struct
import time
from pathlib import Path

import msgspec
import numpy as np
import pytest
from mcap.exceptions import McapError
from mcap.reader import make_reader
from mcap.records import Message
from mcap.stream_reader import StreamReader
from recording_kit import FaultyFile, pose, reply, same

from devices import messages as m
from guidance.errors import RecordingError
from guidance.events import Arrival, JobDone, Send
from guidance.recording import codec, disk, writer
from guidance.recording.reader import Recording, read
from guidance.recording.writer import CHANNELS, Recorder


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Chunks reach the file sooner than in life."""
    monkeypatch.setattr(writer, "CHUNK_S", 0.03)


def record(folder: Path, count: int, chunks: int = 1) -> Path:
    """A closed recording of `count` steps, spread over `chunks` chunks."""
    recorder = Recorder(folder, {"room": "r1"}, suffix="00" * 4)
    for i in range(count):
        recorder.append(pose(i), [reply(i)] * (i % 3))
        if (i + 1) % (count // chunks) == 0:
            settle(recorder)
    assert recorder.close().written == count
    return recorder.path


def settle(recorder: Recorder) -> None:
    """Wait until everything handed over stands in the file."""
    end = time.monotonic() + 20
    while recorder.health().written + recorder.health().lost < recorder._next:
        assert time.monotonic() < end, recorder.health()
        time.sleep(0.01)


def check(steps: list[tuple[object, list[bytes]]], count: int, start: int = 0) -> None:
    for i, (event, outputs) in enumerate(steps, start):
        assert same(event, pose(i))
        assert outputs == [codec.output_record(reply(i))] * (i % 3)
    assert len(steps) == count - start


def test_round_trip(tmp_path: Path) -> None:
    path = record(tmp_path, 50, chunks=2)
    recording = Recording(path)
    assert recording.header == {"room": "r1"}
    check(list(recording.steps()), 50)
    assert (recording.complete, recording.cut_bytes, recording.missing) == (True, 0, 0)
    check(list(recording.steps()), 50)


def test_large_pixels_and_arrays(tmp_path: Path) -> None:
    pixels = np.random.default_rng(1).integers(0, 4096, (3, 400, 500), dtype=np.uint16)
    image = m.Image(name="mr", pixels=pixels, frame="MR", frame_from_image_mm=np.eye(4))
    overlay = np.zeros((512, 512, 4), np.uint8)
    done = JobDone(now_ns=2, job=1, lane="show", kind="o", facts={}, arrays={"rgba": overlay})
    recorder = Recorder(tmp_path, {})
    recorder.append(Arrival(now_ns=1, link="mr", message=image), [Send("v", image)])
    recorder.append(done, [])
    recorder.close()
    (first, (out,)), (second, _) = read(recorder.path)
    assert isinstance(first, Arrival)
    assert isinstance(first.message, m.Image)
    assert first.message.pixels.tobytes() == pixels.tobytes()
    assert isinstance(second, JobDone) and second.arrays["rgba"] == codec.digest(overlay)
    sent = codec.read_output(out)
    assert isinstance(sent, codec.SendRecord) and sent.message["pixels"] == codec.digest(pixels)


def test_other_mcap_readers_read_it(tmp_path: Path) -> None:
    path = record(tmp_path, 30, chunks=3)
    with path.open("rb") as file:
        reader = make_reader(file, validate_crcs=True)
        summary = reader.get_summary()
        assert summary is not None and summary.statistics is not None
        assert summary.statistics.message_count == 61
        assert [c.topic for c in summary.channels.values()] == list(CHANNELS)
        assert len(summary.chunk_indexes) >= 4
        late = list(reader.iter_messages(topics=["events"], starting_at=20))
    assert [message.sequence for _, _, message in late] == list(range(20, 30))


def test_cut_at_every_byte_it_reads_to_the_last_whole_chunk(tmp_path: Path) -> None:
    path = record(tmp_path, 40, chunks=4)
    whole = path.read_bytes()
    starts = [at for at, _ in Recording(path)._chunks]
    ends = [at + length for at, length in Recording(path)._chunks]
    per_chunk = [
        0,
        *(
            sum(1 for _ in Recording(path)._messages(0, _data(path, at, n))) // 2
            for at, n in Recording(path)._chunks[1:]
        ),
    ]
    cut_path = tmp_path / "cut.mcap"
    for cut in range(len(whole)):
        cut_path.write_bytes(whole[:cut])
        chunks = sum(end <= cut for end in ends)
        if not chunks:
            with pytest.raises(RecordingError, match=r"no whole chunk|not an MCAP file"):
                Recording(cut_path)
            continue
        recording = Recording(cut_path)
        assert len(recording._chunks) == chunks
        assert not recording.complete
        assert 0 <= recording.cut_bytes <= cut
        if chunks < len(starts) and cut > starts[chunks]:
            assert recording.cut_bytes == cut - (starts[chunks] - 9)
        if cut % 13 and not {cut - 1, cut, cut + 1} & {*ends, len(whole)}:
            continue  # the same chunks: read through now and then
        check(list(recording.steps()), sum(per_chunk[:chunks]))
        standard = StreamReader(io.BytesIO(whole[:cut]), emit_chunks=False)
        assert sum(isinstance(r, Message) for r in _until_the_end(standard)) == 1 + 2 * sum(per_chunk[:chunks])


def _data(path: Path, at: int, length: int) -> memoryview:
    with path.open("rb") as file:
        return Recording(path)._read_chunk(file, at, length)


def _until_the_end(reader: StreamReader) -> list[object]:
    found: list[object] = []
    with contextlib.suppress(McapError, struct.error, RuntimeError):  # the library's ways to meet the end
        found.extend(reader.records)
    return found


def test_changed_bytes_are_seen_or_harmless(tmp_path: Path) -> None:
    path = record(tmp_path, 20, chunks=2)
    whole = path.read_bytes()
    bad = tmp_path / "bad.mcap"
    refused = 0
    for at in range(0, len(whole), 5):
        bad.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        try:
            recording = Recording(bad)
            steps = list(recording.steps())
        except RecordingError as fault:
            assert "bad.mcap at byte" in str(fault)
            refused += 1
            continue
        check(steps, len(steps))
        assert len(steps) == 20 or not recording.complete
    assert refused > 20


def test_a_full_disk_is_told_and_counted_and_the_rest_reads(tmp_path: Path, faulty: FaultyFile) -> None:
    recorder = Recorder.on(faulty, {})
    recorder.append(pose(0), [])
    settle(recorder)
    faulty.room = faulty.size + 100
    recorder.append(pose(1), [reply(1)])
    settle(recorder)
    health = recorder.health()
    assert (health.written, health.lost) == (1, 1)
    assert "No space left" in health.error
    faulty.room = None
    recorder.append(pose(2), [reply(2)] * 2)
    assert recorder.close().written == 2
    recording = Recording(faulty.path)
    check([next(steps := recording.steps())], 1)
    check(list(steps), 3, start=2)
    assert (recording.complete, recording.missing) == (True, 1)


def test_no_room_for_the_end_is_told(faulty: FaultyFile) -> None:
    recorder = Recorder.on(faulty, {})
    recorder.append(pose(0), [])
    settle(recorder)
    faulty.room = faulty.size
    assert "could not be finished: No space left" in recorder.close().error
    assert not Recording(faulty.path).complete
    assert len(list(read(faulty.path))) == 1


def test_no_room_for_the_header_is_an_error(faulty: FaultyFile) -> None:
    faulty.room = 20
    with pytest.raises(RecordingError, match="header cannot be written: No space left"):
        Recorder.on(faulty, {})


def test_a_slow_disk_never_holds_append_up_and_the_queue_has_an_end(faulty: FaultyFile) -> None:
    recorder = Recorder.on(faulty, {}, max_queued=10)
    faulty.sync_s = 0.5
    recorder.append(pose(0), [])
    end = time.monotonic() + 20
    while recorder.health().sync_running_ms == 0:
        assert time.monotonic() < end
        recorder.append(pose(recorder._next), [])
        time.sleep(0.001)
    sent = recorder._next
    for i in range(sent, sent + 30):  # while the thread hangs in the sync
        recorder.append(pose(i), [])
    health = recorder.health()
    assert health.lost > 0
    assert "found the queue full" in health.error
    last = recorder.close()
    assert last.written + last.lost == sent + 30
    assert last.last_fsync_ms >= 500
    recording = Recording(faulty.path)
    assert len(list(recording.steps())) == last.written
    assert recording.missing <= last.lost


def test_what_is_written_reaches_the_disk_while_recording(faulty: FaultyFile, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer, "SYNC_S", 0.02)
    recorder = Recorder.on(faulty, {})
    header_bytes = faulty.synced_bytes
    assert header_bytes == faulty.size > 0
    recorder.append(pose(0), [])
    settle(recorder)
    end = time.monotonic() + 20
    while faulty.synced_bytes < faulty.size:
        assert time.monotonic() < end
        time.sleep(0.01)
    assert faulty.synced_bytes > header_bytes
    recorder.close()
    assert faulty.synced_bytes == faulty.size


def test_pixels_in_the_queue_have_an_end(tmp_path: Path) -> None:
    image = m.Image(name="i", pixels=np.zeros((1, 1000, 1000), np.uint8), frame="I", frame_from_image_mm=np.eye(4))
    recorder = Recorder(tmp_path, {}, max_queued_bytes=10_000)
    recorder.append(Arrival(now_ns=1, link="us", message=image), [])
    recorder.append(pose(2), [])
    assert recorder.close().lost <= 1
    assert recorder.health().queued_bytes == 0


def test_one_that_waits_loses_nothing(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path, {}, waits=True, max_queued=16)
    for i in range(3000):
        recorder.append(pose(i), [reply(i)] * (i % 3))
    assert recorder.close().lost == 0
    check(list(read(recorder.path)), 3000)


def test_what_cannot_be_recorded_is_told_and_the_rest_goes_on(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path, {})
    recorder.append(JobDone(now_ns=1, job=1, lane="g", kind="k", facts={}, arrays={"a": object()}), [])
    recorder.append(pose(1), [reply(1)])
    health = recorder.close()
    assert (health.written, health.lost) == (1, 1)
    assert "step 0 (JobDone) cannot be recorded: cannot pack a object" in health.error
    recording = Recording(recorder.path)
    check(list(recording.steps()), 2, start=1)
    assert recording.missing == 1


def test_names_are_ours(tmp_path: Path) -> None:
    path = record(tmp_path / "root", 3)
    assert disk.NAME.fullmatch(path.name)
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert disk.list_recordings(path.parent) == [path.name]
    assert disk.find_recording(path.parent, path.name) == path
    assert disk.list_recordings(tmp_path / "none") == []


@pytest.mark.parametrize("suffix", ["../../etc", "", "xyz", "ABCDEF01", "00" * 17, "0000000\n"])
def test_odd_suffixes_are_refused(suffix: str) -> None:
    with pytest.raises(ValueError, match="8 to 32 hexadecimal digits"):
        disk.new_name(0, suffix)


@pytest.mark.parametrize("name", ["../x", "/etc/passwd", "x.mcap", "", "..", "20260101T000000.000000Z-00000000.mcap/"])
def test_names_from_outside_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(RecordingError, match="is not the name of a recording"):
        disk.find_recording(tmp_path, name)


def test_a_second_writer_of_the_same_file_is_refused(tmp_path: Path) -> None:
    first = Recorder(tmp_path, {}, name="chosen.mcap")
    with pytest.raises(RecordingError, match=r"chosen.mcap: cannot be opened for writing: File exists"):
        Recorder(tmp_path, {}, name="chosen.mcap")
    first.append(pose(0), [])
    assert first.close().written == 1
    assert len(list(read(first.path))) == 1


def test_links_are_not_followed(tmp_path: Path) -> None:
    name = "20260101T000000.000000Z-00000000.mcap"
    target = tmp_path / "secret"
    target.write_bytes(b"")
    (tmp_path / name).symlink_to(target)
    with pytest.raises(RecordingError, match="links are not followed"):
        disk.find_recording(tmp_path, name)
    assert disk.list_recordings(tmp_path) == []
    (tmp_path / "root").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    (tmp_path / "elsewhere").mkdir()
    for folder, chosen in ((tmp_path, name), (tmp_path, "secret"), (tmp_path / "root", "new.mcap")):
        with pytest.raises(RecordingError, match="cannot be opened for writing"):
            Recorder(folder, {}, name=chosen)
    assert target.read_bytes() == b""


@pytest.mark.parametrize(
    ("content", "what"),
    [(b"", "no whole chunk"), (b"MZ", "is not an MCAP file"), (b"\x89MCAP0\r\n" + b"\x07" * 100, "no whole chunk")],
)
def test_other_files_are_refused(tmp_path: Path, content: bytes, what: str) -> None:
    path = tmp_path / "x.mcap"
    path.write_bytes(content)
    with pytest.raises(RecordingError, match=f"x.mcap at byte .*{what}"):
        Recording(path)
    with pytest.raises(RecordingError, match="cannot be read: No such file"):
        Recording(tmp_path / "absent")


def test_a_recording_of_another_profile_is_refused(tmp_path: Path) -> None:
    path = record(tmp_path, 3)
    path.write_bytes(path.read_bytes().replace(b"guidance-1", b"guidance-9", 1))
    with pytest.raises(RecordingError, match="profile 'guidance-9'; this version reads 'guidance-1'"):
        Recording(path)


def test_a_wrong_event_in_a_sound_chunk_names_its_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(codec.Packer, "event", lambda self, event: [msgspec.msgpack.encode("nonsense")])
    path = record(tmp_path, 3)
    with pytest.raises(RecordingError, match="step 0: not a recorded event"):
        list(read(path))
