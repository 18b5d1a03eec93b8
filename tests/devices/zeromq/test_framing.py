"""Framing: what goes in comes out, and nothing else comes out."""

import contextlib

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from devices.errors import RemoteProtocolError
from devices.messages import Alert, AlertKind, Image, Overlay, Points, Pose, Priority, Text
from devices.quality import Quality
from devices.zeromq import from_parts, to_parts, topic_of

POSE = Pose(name="stylus", moving="stylus", fixed="reference", fixed_from_moving=np.diag([1.0, 2, 3, 1]))
IMAGE = Image(
    name="mr/1",
    pixels=np.arange(2 * 30 * 40, dtype="f4").reshape(2, 30, 40),
    frame="mr",
    frame_from_image_mm=np.eye(4),
    tags={"EchoTime_s": "0.01"},
)
OVERLAY = Overlay(
    name="axial",
    view="axial",
    rgba=np.full((32, 32, 4), 7, "u1"),
    ras_from_image_mm=np.eye(4),
    quality=Quality.OK,
    evidence={"mr": 5},
)
POINTS = Points(name="targets", frame="ras", labels=(), positions_mm=np.zeros((0, 3)))
ALERT = Alert(
    name="T1",
    room="or-1",
    priority=Priority.HIGH,
    kind=AlertKind.TECHNICAL,
    state="active",
    text="t",
    reaction="r",
    advice="a",
    first_ns=1,
)


def wire(message, number=3):
    return [bytes(part) for part in to_parts(topic_of("or-1", message), "abc", number, message)]


@pytest.mark.parametrize("message", [POSE, IMAGE, OVERLAY, POINTS, ALERT], ids=lambda message: type(message).__name__)
def test_round_trip(message):
    header = from_parts("or-1", wire(message))
    assert (header.source, header.number) == ("abc", 3)
    assert type(header.message) is type(message)
    for field in message.__struct_fields__:
        want, got = getattr(message, field), getattr(header.message, field)
        if isinstance(want, np.ndarray):
            assert got.dtype == want.dtype
            assert got.shape == want.shape
            assert not got.flags.writeable
            np.testing.assert_array_equal(got, want)
        else:
            assert got == want


def test_matrices_travel_in_place_and_pixels_beside_without_a_copy():
    assert len(wire(POSE)) == 2
    topic, _header, pixels = to_parts(topic_of("or-1", IMAGE), "abc", 0, IMAGE)
    assert topic == b"room/or-1/image/mr%2F1"
    assert np.shares_memory(np.frombuffer(pixels, "f4"), IMAGE.pixels)
    received = wire(IMAGE)
    received[2] = np.frombuffer(received[2], "u1").copy().data
    assert np.shares_memory(from_parts("or-1", received).message.pixels, np.frombuffer(received[2], "u1"))


def test_a_plain_reader_needs_only_msgpack():
    _topic, header, pixels = wire(IMAGE)
    plain = msgspec.msgpack.decode(header)
    entry = plain["message"]["pixels"]
    assert plain["version"] == 1
    array = np.frombuffer([pixels][entry["beside"]], entry["dtype"]).reshape(entry["shape"])
    np.testing.assert_array_equal(array, IMAGE.pixels)


def change(**fields):
    def apply(parts):
        header = msgspec.msgpack.decode(parts[1])
        for path, value in fields.items():
            target = header
            *steps, last = path.split("__")
            for step in steps:
                target = target[step]
            target[last] = value
        return [parts[0], msgspec.msgpack.encode(header), *parts[2:]]

    return apply


HOSTILE = {
    "no parts": lambda parts: [],
    "topic alone": lambda parts: parts[:1],
    "too many parts": lambda parts: parts + [b""] * 20,
    "array missing": lambda parts: parts[:-1],
    "array twice": lambda parts: [*parts, parts[-1]],
    "array short": lambda parts: [*parts[:-1], parts[-1][:-1]],
    "empty header": lambda parts: [parts[0], b"", *parts[2:]],
    "header cut": lambda parts: [parts[0], parts[1][:-1], *parts[2:]],
    "deep header": lambda parts: [parts[0], b"\x91" * 100_000, *parts[2:]],
    "other topic": lambda parts: [b"room/or-1/image/ct", *parts[1:]],
    "other room": lambda parts: [b"room/or-2/image/mr%2F1", *parts[1:]],
    "topic not text": lambda parts: [b"\xff\xfe", *parts[1:]],
    "future version": change(version=2),
    "unknown field": change(extra=1),
    "negative number": change(number=-1),
    "huge source": change(source="x" * 1000),
    "unknown type": change(message__type="shell"),
    "name not text": change(message__name=7),
    "other name": change(message__name="ct"),
    "object dtype": change(message__pixels__dtype="|O"),
    "unhashable dtype": change(message__pixels__dtype=[1]),
    "negative shape": change(message__pixels__shape=[-1, 30, 40]),
    "overflowing shape": change(message__pixels__shape=[2**62, 2**62, 0]),
    "boolean shape": change(message__pixels__shape=[True, 60, 40]),
    "wrong buffer": change(message__pixels__beside=1),
    "flat image": change(message__pixels__shape=[2400]),
    "matrix is a number": change(message__frame_from_image_mm=1.0),
    "matrix 3x3": change(message__frame_from_image_mm={"dtype": "<f8", "shape": [3, 3], "data": bytes(72)}),
    "matrix f4": change(message__frame_from_image_mm={"dtype": "<f4", "shape": [4, 4], "data": bytes(64)}),
}


@pytest.mark.parametrize("hostile", HOSTILE.values(), ids=HOSTILE.keys())
def test_hostile_parts_are_refused(hostile):
    from_parts("or-1", wire(IMAGE))
    with pytest.raises(RemoteProtocolError):
        from_parts("or-1", hostile(wire(IMAGE)))


@settings(max_examples=500, deadline=None)
@given(st.data())
def test_mutated_parts_give_a_message_or_a_protocol_error(data):
    parts = wire(data.draw(st.sampled_from([POSE, IMAGE, POINTS, ALERT, Text(name="x", text="y")])))
    index = data.draw(st.integers(0, len(parts) - 1))
    blob = bytearray(parts[index])
    for _ in range(data.draw(st.integers(1, 4))):
        blob[data.draw(st.integers(0, len(blob) - 1))] = data.draw(st.integers(0, 255))
    parts[index] = bytes(blob[: data.draw(st.integers(0, len(blob)))]) if data.draw(st.booleans()) else bytes(blob)
    with contextlib.suppress(RemoteProtocolError):
        from_parts("or-1", parts)
