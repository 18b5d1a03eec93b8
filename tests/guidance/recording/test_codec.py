"""Every event and message type round trips; a digest stands for an array byte for byte."""

import struct

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from recording_kit import EVENTS, MESSAGES, pose, same

from devices import messages as m
from devices.quality import Quality
from guidance.errors import RecordingError
from guidance.events import Arrival, Job, JobDone, Send, Tick
from guidance.recording import codec


@pytest.mark.parametrize("kind", EVENTS)
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_event_round_trip(kind: type, data: st.DataObject) -> None:
    event = data.draw(EVENTS[kind])
    back = codec.read_event(codec.pack_event(event))
    if isinstance(event, JobDone):
        arrays = {n: codec.digest(a) if a.nbytes > codec.WHOLE_BYTES else a for n, a in event.arrays.items()}
        event = msgspec.structs.replace(event, arrays=arrays)
    assert same(event, back)
    assert codec.pack_event(back) == codec.pack_event(codec.read_event(codec.pack_event(back)))


@pytest.mark.parametrize("kind", MESSAGES)
@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_message_round_trip_and_same_output_from_the_read_back_message(kind: type, data: st.DataObject) -> None:
    message = data.draw(MESSAGES[kind])
    back = codec.read_event(codec.pack_event(Arrival(now_ns=1, link="l", message=message)))
    assert isinstance(back, Arrival)
    assert same(message, back.message)
    record = codec.output_record(Send("x", message))
    assert record == codec.output_record(Send("x", back.message))
    read = codec.read_output(record)
    assert isinstance(read, codec.SendRecord)
    assert (read.link, read.message["type"], read.message["name"]) == ("x", kind.__struct_config__.tag, message.name)
    assert len(record) <= codec.WHOLE_BYTES + 200


def overlay(rgba: object) -> Send:
    return Send(
        "viewer",
        m.Overlay(
            name="o",
            view="a",
            rgba=rgba,
            ras_from_image_mm=np.eye(4),
            quality=Quality.OK,
            evidence={},  # type: ignore[arg-type]
        ),
    )


def test_a_replay_that_passes_on_a_digest_gives_the_same_output() -> None:
    rgba = np.random.default_rng(1).integers(0, 255, (64, 64, 4), dtype=np.uint8)
    live = JobDone(now_ns=1, job=1, lane="show", kind="overlay", facts={"n": 1}, arrays={"rgba": rgba})
    back = codec.read_event(codec.pack_event(live))
    assert isinstance(back, JobDone)
    assert isinstance(back.arrays["rgba"], codec.Digest)
    assert codec.output_record(overlay(back.arrays["rgba"])) == codec.output_record(overlay(rgba))
    assert codec.fingerprint(back) == codec.fingerprint(live)


def test_fingerprint_ignores_times_and_sees_one_bit() -> None:
    array = np.zeros((40, 40), np.float32)
    done = JobDone(now_ns=1, job=1, lane="guard", kind="t", facts={"max_c": 40.0}, arrays={"t": array}, started_ns=5)
    later = msgspec.structs.replace(done, now_ns=9, started_ns=7)
    changed = array.copy()
    changed[3, 3] = np.float32(1e-45)
    assert codec.fingerprint(done) == codec.fingerprint(later)
    assert codec.fingerprint(done) != codec.fingerprint(msgspec.structs.replace(done, arrays={"t": changed}))
    assert codec.fingerprint(done) != codec.fingerprint(msgspec.structs.replace(done, facts={"max_c": 40.000001}))


def test_digest_is_of_values_not_of_layout() -> None:
    array = np.arange(6000, dtype=np.int16).reshape(60, 100)
    assert codec.digest(array) == codec.digest(array.astype(">i2")) == codec.digest(np.asfortranarray(array))
    assert codec.digest(array) != codec.digest(array.T)


def test_output_maps_are_sorted_and_numbers_exact() -> None:
    one = Send("v", m.Metrics(name="a", values={"b": 1, "a": np.float64(2.0)}))
    two = Send("v", m.Metrics(name="a", values={"a": 2.0, "b": 1.0}))
    assert codec.output_record(one) == codec.output_record(two)
    assert codec.output_record(one) != codec.output_record(Send("v", two.message, urgent=True))


def test_job_record() -> None:
    job = Job(3, "guard", "t", "thermometry", {"huge": object()}, {"mr": 5})
    assert codec.read_output(codec.output_record(job)) == codec.JobRecord(3, "guard", "t", "thermometry", {"mr": 5})


def test_facts_keep_their_order() -> None:
    done = JobDone(now_ns=1, job=1, lane="g", kind="k", facts={"z": 1, "a": 2})
    back = codec.read_event(codec.pack_event(done))
    assert isinstance(back, JobDone)
    assert list(back.facts) == ["z", "a"]


def test_what_cannot_be_recorded_says_so() -> None:
    with pytest.raises(TypeError, match="float16"):
        codec.pack_event(JobDone(now_ns=1, job=1, lane="g", kind="k", facts={}, arrays={"a": np.zeros(2, np.float16)}))
    with pytest.raises(NotImplementedError, match="cannot pack a object"):
        codec.pack_event(JobDone(now_ns=1, job=1, lane="g", kind="k", facts={}, arrays={"a": object()}))


def test_read_only_and_aligned() -> None:
    image = m.Image(
        name="i",
        pixels=np.zeros((1, 71, 71), np.complex64),
        frame="I",
        frame_from_image_mm=np.eye(4),
        tags={"a": "bcd"},
    )
    back = codec.read_event(codec.pack_event(Arrival(now_ns=1, link="mr", message=image)))
    assert isinstance(back, Arrival)
    assert isinstance(back.message, m.Image)
    assert back.message.pixels.flags.aligned
    assert not back.message.pixels.flags.writeable


@settings(max_examples=300, deadline=None)
@given(at=st.integers(0, 400), value=st.integers(0, 255), cut=st.integers(0, 400))
def test_damaged_bytes_are_an_event_or_a_recording_error(at: int, value: int, cut: int) -> None:
    good = bytearray(codec.pack_event(pose(7)))
    good[at % len(good)] = value
    for data in (bytes(good), bytes(good[: cut % len(good)])):
        try:
            codec.read_event(data)
        except RecordingError as fault:
            assert "not a recorded event" in str(fault)


@pytest.mark.parametrize("at", [-1, 1, 2**70, "x", None])
def test_an_array_outside_the_event_is_refused(at: object) -> None:
    row = {"dtype": "|u1", "shape": [1, 1, 5000], "at": at, "nbytes": 5000}
    image = {"type": "image", "name": "i", "pixels": row, "frame": "I", "frame_from_image_mm": row}
    try:
        head = msgspec.msgpack.encode({"type": "arrival", "now_ns": 1, "link": "l", "message": image})
    except OverflowError:
        return
    with pytest.raises(RecordingError, match="is not in the event"):
        codec.read_event(struct.pack("<I", len(head)) + head + bytes(5000))


@pytest.mark.parametrize("data", [b"", b"\x01", b"\xff\xff\xff\xff", b"\x00\x00\x00\x00", b"\x01\x00\x00\x00\xc0"])
def test_nonsense_is_refused(data: bytes) -> None:
    with pytest.raises(RecordingError):
        codec.read_event(data)
    with pytest.raises(RecordingError):
        codec.read_output(data)


def test_a_tick_is_small() -> None:
    assert len(codec.pack_event(Tick(now_ns=1_700_000_000_000_000_000))) < 60
