"""Strategies for every event and message type, a disk that can fail, and comparison by value."""

import errno
import os
import time
from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from devices import messages as m
from devices.quality import Quality
from guidance import events as e
from guidance.recording.disk import AppendFile

DTYPES = ["|b1", "|u1", "|i1", "<u2", ">u2", "<i2", "<u4", "<i4", "<i8", "<u8", "<f4", ">f4", "<f8", "<c8", "<c16"]
TIME = st.integers(0, 2**62)
TEXT = st.text(max_size=20)
FLOAT = st.floats(width=64)
VALUES = st.dictionaries(TEXT, FLOAT | st.integers(-(2**40), 2**40) | st.booleans(), max_size=4)
EVIDENCE = st.dictionaries(TEXT, TIME, max_size=3)


ANY_DTYPE = st.sampled_from(DTYPES)


def arrays(shape: Any, dtype: Any = ANY_DTYPE) -> st.SearchStrategy[Any]:
    return hnp.arrays(dtype, shape, fill=st.just(0))


MATRIX = arrays((4, 4), np.float64)
# up to 2 * 3 * 100 * 120 items: above and below the size at which an array is carried beside
SHAPES = st.tuples(*(st.integers(0, n) for n in (2, 100, 120)))
BY_TYPE: dict[Any, st.SearchStrategy[Any]] = {
    str: TEXT,
    int: st.integers(-(2**62), 2**62),
    bool: st.booleans(),
    bytes: st.binary(max_size=9000),
    m.Matrix: MATRIX,
    Quality: st.sampled_from(Quality),
    m.Priority: st.sampled_from(m.Priority),
    m.AlertKind: st.sampled_from(m.AlertKind),
    dict[str, float]: VALUES,
    dict[str, int]: EVIDENCE,
    dict[str, str]: st.dictionaries(TEXT, TEXT, max_size=3),
    float | None: st.none() | FLOAT | st.integers(-5, 5),
    tuple[str, ...]: st.lists(TEXT, max_size=3).map(tuple),
    tuple[float, ...]: st.lists(FLOAT, max_size=3).map(tuple),
    m.NDArray[Any]: arrays(SHAPES),
    m.NDArray[np.float64]: st.integers(0, 400).flatmap(lambda n: arrays((n, 3), np.float64)),
    m.NDArray[np.int32]: st.integers(0, 40).flatmap(lambda n: arrays((n,), np.int32)),
    m.NDArray[np.uint8]: arrays(SHAPES.map(lambda s: (*s[1:], 4)), np.uint8),
    dict[str, float | int | str | bool | None]: st.dictionaries(
        TEXT, st.none() | FLOAT | st.integers(-(2**60), 2**60) | TEXT | st.booleans(), max_size=4
    ),
    dict[str, float | int | str | bool]: st.dictionaries(TEXT, FLOAT | TEXT | st.booleans(), max_size=4),
    dict[str, Any]: st.dictionaries(TEXT, arrays(SHAPES), max_size=3),
}


def structs(kind: type, **known: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Any instance of a message or event type, from its annotations."""
    times = {"device_time_ns": TIME, "receive_time_ns": TIME, "now_ns": TIME}
    chosen = times | known
    fields = {f.name: f.type for f in msgspec.structs.fields(kind)}
    return st.builds(kind, **{n: chosen[n] if n in chosen else BY_TYPE[t] for n, t in fields.items()})


MESSAGES = {kind: structs(kind) for kind in m.AnyMessage.__args__}
ANY_MESSAGE = st.one_of(list(MESSAGES.values()))
EVENTS = {kind: structs(kind, message=ANY_MESSAGE) for kind in e.AnyEvent.__args__}


def same(a: Any, b: Any) -> bool:
    """Equal in type and value, arrays by dtype (byte order aside), shape and bytes; 1 and 1.0 are equal."""
    if isinstance(a, np.ndarray):
        native = a.astype(a.dtype.newbyteorder("="))
        return (
            isinstance(b, np.ndarray) and native.dtype == b.dtype and a.shape == b.shape and _bits(native) == _bits(b)
        )
    if isinstance(a, msgspec.Struct):
        return type(a) is type(b) and all(same(getattr(a, f), getattr(b, f)) for f in a.__struct_fields__)
    if isinstance(a, dict):
        return isinstance(b, dict) and list(a) == list(b) and all(same(a[key], b[key]) for key in a)
    return bool(a == b) or (isinstance(a, float) and a != a and b != b)


def _bits(array: Any) -> bytes:
    return array.tobytes()


def pose(i: int, name: str = "stylus") -> e.Arrival:
    """A small arrival that says its number."""
    matrix = np.eye(4)
    matrix[0, 3] = i
    return e.Arrival(
        now_ns=i, link="tracker", message=m.Pose(name=name, moving="a", fixed="b", fixed_from_moving=matrix, number=i)
    )


def reply(i: int) -> e.Send:
    """A small effect that says its number."""
    return e.Send("viewer", m.Metrics(name="tip", values={"distance_mm": i / 7}, evidence={"stylus": i}))


class FaultyFile(AppendFile):
    """A file on a disk of `room` bytes (None = no end) that takes `sync_s` for a sync."""

    room: int | None = None
    sync_s = 0.0
    synced_bytes = 0  # of the file when it was last on the disk

    def write(self, parts: Sequence[bytes | memoryview]) -> None:
        whole = b"".join(parts)
        fits = len(whole) if self.room is None else max(0, self.room - self.size)
        super().write([whole[:fits]])
        if fits < len(whole):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def sync(self) -> None:
        time.sleep(self.sync_s)
        size = self.size
        super().sync()
        self.synced_bytes = size
