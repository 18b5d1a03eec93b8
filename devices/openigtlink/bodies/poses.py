"""Where tools are: TRANSFORM, POSITION, QTRANS, TDATA, QTDATA."""

import struct
from math import isfinite
from typing import Any, ClassVar, Self

import msgspec
import numpy as np
from numpy.typing import NDArray

from devices.errors import LocalProtocolError
from devices.openigtlink.bodies.base import Buffer, Wire, can_be_sent, need_finite, need_size, read_rows, refuse
from devices.openigtlink.text import read_name, write_name

Matrix = NDArray[np.float64]
_TRANSFORM = struct.Struct(">12f")
TRANSFORM_SIZE = _TRANSFORM.size
_UPPER_ROWS = struct.Struct("12d")
_EYE = np.eye(4)
_SHAPE = (4, 4)
_FLOAT64 = np.dtype(np.float64)
_TDATA = struct.Struct(">20sBB12f")
_QTDATA = struct.Struct(">20sBB7f")
_POSITION = {size: struct.Struct(f">{size // 4}f") for size in (12, 24, 28)}


def matrix_from(columns: tuple[float, ...]) -> Matrix:
    """(4, 4) matrix of the 12 numbers on the wire: three axes and the origin, column by column."""
    a, b, c, d, e, f, g, h, i, x, y, z = columns
    return matrix_of(a, d, g, x, b, e, h, y, c, f, i, z)


def matrix_of(
    a: float, b: float, c: float, x: float,
    d: float, e: float, f: float, y: float,
    g: float, h: float, i: float, z: float,
) -> Matrix:  # fmt: skip
    """(4, 4) of the 12 numbers of its upper rows: a quarter of the time of np.array."""
    matrix = _EYE.copy()
    _UPPER_ROWS.pack_into(matrix, 0, a, b, c, x, d, e, f, y, g, h, i, z)  # type: ignore[arg-type]
    return matrix


def columns_from(matrix: Matrix) -> tuple[float, ...]:
    """Inverse of `matrix_from`; LocalProtocolError where a number is not finite."""
    (a, d, g, x), (b, e, h, y), (c, f, i, z), _ = matrix.tolist()
    columns = (a, b, c, d, e, f, g, h, i, x, y, z)
    can_be_sent(columns)
    return columns


def pack_matrix(matrix: Matrix) -> bytes:
    """What `pack_columns(columns_from(matrix))` gives, in two thirds of the time."""
    if matrix.dtype is not _FLOAT64 or matrix.shape != _SHAPE:
        return pack_columns(columns_from(matrix))
    a, d, g, x, b, e, h, y, c, f, i, z = _UPPER_ROWS.unpack_from(matrix.tobytes())
    if not isfinite(a + b + c + d + e + f + g + h + i + x + y + z):
        raise LocalProtocolError("a coordinate that is NaN or infinite cannot be sent")
    return pack_columns((a, b, c, d, e, f, g, h, i, x, y, z))


def pack_columns(columns: tuple[float, ...]) -> bytes:
    """The 48 bytes of TRANSFORM; LocalProtocolError where a number does not fit a float32."""
    try:
        return _TRANSFORM.pack(*columns)
    except OverflowError as fault:
        raise LocalProtocolError(f"a pose cannot be sent: {fault}") from fault


class PoseWire(Wire, frozen=True, kw_only=True, eq=False):
    """A message of poses. `lost` are the places in it of tools without numbers: there stands the identity."""

    lost: frozenset[int] = frozenset()


class Transform(PoseWire, frozen=True, kw_only=True, eq=False):
    """TRANSFORM: a pose as 12 float32, three axes then the origin in mm."""

    TYPE: ClassVar[str] = "TRANSFORM"

    columns: tuple[float, ...]

    @property
    def matrix(self) -> Matrix:
        """The pose, (4, 4), mm."""
        return matrix_from(self.columns)

    @classmethod
    def unpack(cls, content: memoryview, common: dict[str, Any], type_name: str) -> Self:
        """Exactly 48 bytes, finite."""
        need_size(type_name, content, TRANSFORM_SIZE)
        columns = _TRANSFORM.unpack(content)
        need_finite(type_name, columns)
        return cls(columns=columns, **common)

    def pack(self) -> list[Buffer]:
        """48 bytes."""
        can_be_sent(self.columns)
        return [pack_columns(self.columns)]


class Position(PoseWire, frozen=True, kw_only=True, eq=False):
    """POSITION or QTRANS: a point in mm and, unless left out, a quaternion (x, y, z, w) or (x, y, z)."""

    TYPE: ClassVar[str] = "POSITION"

    position_mm: tuple[float, ...]
    quaternion: tuple[float, ...] = ()
    name_of_type: str = "POSITION"

    @property
    def type_name(self) -> str:
        """POSITION or QTRANS: the two differ in name only."""
        return self.name_of_type

    @classmethod
    def unpack(cls, content: memoryview, common: dict[str, Any], type_name: str) -> Self:
        """12 bytes (point), 24 (unit quaternion without its real part) or 28."""
        layout = _POSITION.get(len(content))
        if layout is None:
            refuse(type_name, f"content of {len(content)} bytes, must be 12, 24 or 28")
        values = layout.unpack(content)
        need_finite(type_name, values)
        return cls(position_mm=values[:3], quaternion=values[3:], name_of_type=type_name, **common)

    def pack(self) -> list[Buffer]:
        """12, 24 or 28 bytes."""
        layout = _POSITION.get(4 * (3 + len(self.quaternion)))
        if layout is None:
            raise LocalProtocolError(f"a quaternion of {len(self.quaternion)} numbers cannot be sent")
        return [layout.pack(*self.position_mm, *self.quaternion)]


class TrackingElement(msgspec.Struct, frozen=True):
    """One tool of a TDATA message; `kind`: 1 tracker, 2 six degrees of freedom, 3 tip only, 4 tip and axis."""

    name: str
    columns: tuple[float, ...]
    kind: int = 2
    reserved: int = 0


class TrackingData(PoseWire, frozen=True, kw_only=True, eq=False):
    """TDATA: poses of several tools at one time."""

    TYPE: ClassVar[str] = "TDATA"

    elements: tuple[TrackingElement, ...]

    @classmethod
    def unpack(cls, content: memoryview, common: dict[str, Any], type_name: str) -> Self:
        """70 bytes a tool."""

        def read(row: memoryview) -> TrackingElement:
            name, kind, reserved, *columns = _TDATA.unpack(row)
            _need_kind(type_name, kind)
            need_finite(type_name, columns)
            return TrackingElement(read_name(name, "TDATA tool"), tuple(columns), kind, reserved)

        return cls(elements=read_rows(type_name, content, _TDATA.size, read), **common)

    def pack(self) -> list[Buffer]:
        """70 bytes a tool."""
        return [
            _TDATA.pack(write_name(e.name, 20, "TDATA tool"), e.kind, e.reserved, *e.columns) for e in self.elements
        ]


class QuaternionElement(msgspec.Struct, frozen=True):
    """One tool of a QTDATA message: point in mm and quaternion (x, y, z, w); `kind` as in TDATA."""

    name: str
    position_mm: tuple[float, ...]
    quaternion: tuple[float, ...]
    kind: int = 2
    reserved: int = 0


class QuaternionTrackingData(PoseWire, frozen=True, kw_only=True, eq=False):
    """QTDATA: as TDATA with quaternions."""

    TYPE: ClassVar[str] = "QTDATA"

    elements: tuple[QuaternionElement, ...]

    @classmethod
    def unpack(cls, content: memoryview, common: dict[str, Any], type_name: str) -> Self:
        """50 bytes a tool."""

        def read(row: memoryview) -> QuaternionElement:
            name, kind, reserved, *values = _QTDATA.unpack(row)
            _need_kind(type_name, kind)
            need_finite(type_name, values)
            tool = read_name(name, "QTDATA tool")
            return QuaternionElement(tool, tuple(values[:3]), tuple(values[3:]), kind, reserved)

        return cls(elements=read_rows(type_name, content, _QTDATA.size, read), **common)

    def pack(self) -> list[Buffer]:
        """50 bytes a tool."""
        return [
            _QTDATA.pack(write_name(e.name, 20, "QTDATA tool"), e.kind, e.reserved, *e.position_mm, *e.quaternion)
            for e in self.elements
        ]


# Where the numbers stand in a content: (offset, numbers, size of an element); 0 numbers = the whole content.
_NUMBERS = {"TRANSFORM": (0, 12, 48), "POSITION": (0, 0, 0), "QTRANS": (0, 0, 0), "TDATA": (22, 12, 70),
            "QTDATA": (22, 7, 50)}  # fmt: skip
_IDENTITY = {
    3: struct.pack(">3f", 0, 0, 0),
    6: struct.pack(">6f", 0, 0, 0, 0, 0, 0),
    7: struct.pack(">7f", 0, 0, 0, 0, 0, 0, 1),
    12: struct.pack(">12f", 1, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0),
}


def without_lost(type_name: str, content: memoryview) -> tuple[memoryview, frozenset[int]] | None:
    """The content with the identity for every pose that is not finite, and the places of those poses.

    Some trackers say NaN where a tool is out of view. None where the type has no poses.
    """
    if type_name not in _NUMBERS:
        return None
    offset, numbers, size = _NUMBERS[type_name]
    numbers, size = numbers or len(content) // 4, size or len(content)
    whole, lost = bytearray(content), set[int]()
    for index in range(len(content) // size):
        start = index * size + offset
        values = np.frombuffer(content, ">f4", numbers, start)
        if not np.isfinite(values).all():
            whole[start : start + 4 * numbers] = _IDENTITY[numbers]
            lost.add(index)
    return memoryview(bytes(whole)), frozenset(lost)


def _need_kind(type_name: str, kind: int) -> None:
    if not 1 <= kind <= 4:
        refuse(type_name, f"tool of type {kind}, must be 1 to 4")
