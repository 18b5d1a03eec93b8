"""Points, trajectories and surfaces: POINT, TRAJ, POLYDATA."""

import struct
from typing import Any, ClassVar, Self

import msgspec
import numpy as np
from numpy.typing import NDArray

from devices.errors import LocalProtocolError
from devices.openigtlink.bodies.base import Buffer, Wire, need_finite, read_rows, refuse
from devices.openigtlink.text import read_label, read_name, write_field, write_name

Rgba = tuple[int, int, int, int]
_POINT = struct.Struct(">64s32s4B4f20s")
_TRAJ = struct.Struct(">64s32sbb4B7f20s")


class PointElement(msgspec.Struct, frozen=True):
    """One point, mm."""

    name: str
    position_mm: tuple[float, float, float]
    group: str = ""
    rgba: Rgba = (255, 255, 255, 255)
    radius_mm: float = 0.0
    owner: str = ""


class Point(Wire, frozen=True, kw_only=True, eq=False):
    """POINT: fiducials, landmarks, targets."""

    TYPE: ClassVar[str] = "POINT"

    elements: tuple[PointElement, ...]

    @classmethod
    def unpack(cls, content: memoryview, common: dict[str, Any], type_name: str) -> Self:
        """136 bytes a point."""

        def read(row: memoryview) -> PointElement:
            name, group, r, g, b, a, x, y, z, radius, owner = _POINT.unpack(row)
            need_finite(type_name, (x, y, z, radius))
            return PointElement(
                read_label(name, "point"), (x, y, z), read_label(group, "point group"), (r, g, b, a), radius,
                read_name(owner, "point owner"),
            )  # fmt: skip

        return cls(elements=read_rows(type_name, content, _POINT.size, read), **common)

    def pack(self) -> list[Buffer]:
        """136 bytes a point."""
        return [
            _POINT.pack(
                write_field(e.name, 64, "point"), write_field(e.group, 32, "point group"), *e.rgba,
                *e.position_mm, e.radius_mm, write_name(e.owner, 20, "point owner"),
            )
            for e in self.elements
        ]  # fmt: skip


class TrajectoryElement(msgspec.Struct, frozen=True):
    """One straight path, mm; `kind`: 1 entry only, 2 target only, 3 both."""

    name: str
    entry_mm: tuple[float, float, float]
    target_mm: tuple[float, float, float]
    kind: int = 3
    group: str = ""
    rgba: Rgba = (255, 255, 255, 255)
    radius_mm: float = 0.0
    owner: str = ""
    reserved: int = 0


class Trajectory(Wire, frozen=True, kw_only=True, eq=False):
    """TRAJ: planned straight paths."""

    TYPE: ClassVar[str] = "TRAJ"

    elements: tuple[TrajectoryElement, ...]

    @classmethod
    def unpack(cls, content: memoryview, common: dict[str, Any], type_name: str) -> Self:
        """150 bytes a path."""

        def read(row: memoryview) -> TrajectoryElement:
            name, group, kind, reserved, r, g, b, a, *numbers, owner = _TRAJ.unpack(row)
            if not 1 <= kind <= 3:
                refuse(type_name, f"path of type {kind}, must be 1 to 3")
            need_finite(type_name, numbers)
            return TrajectoryElement(
                read_label(name, "path"), (numbers[0], numbers[1], numbers[2]), (numbers[3], numbers[4], numbers[5]),
                kind, read_label(group, "path group"), (r, g, b, a), numbers[6], read_name(owner, "path owner"),
                reserved,
            )  # fmt: skip

        return cls(elements=read_rows(type_name, content, _TRAJ.size, read), **common)

    def pack(self) -> list[Buffer]:
        """150 bytes a path."""
        return [
            _TRAJ.pack(
                write_field(e.name, 64, "path"), write_field(e.group, 32, "path group"), e.kind, e.reserved, *e.rgba,
                *e.entry_mm, *e.target_mm, e.radius_mm, write_name(e.owner, 20, "path owner"),
            )
            for e in self.elements
        ]  # fmt: skip


class PolyAttribute(msgspec.Struct, frozen=True, eq=False):
    """Values at points or cells: `kind` as in igtl_polydata.h, `values` (N, components) float32."""

    name: str
    kind: int
    values: NDArray[np.float32]


_POLY = struct.Struct(">10I")
_ATTRIBUTE = struct.Struct(">BBI")
_COMPONENTS = {1: 3, 2: 3, 3: 9, 4: 4}
_CELLS = ("vertices", "lines", "polygons", "triangle_strips")


class PolyData(Wire, frozen=True, kw_only=True, eq=False):
    """POLYDATA: `points_mm` (N, 3) float32; cells as flat uint32 runs of (count, index, index ...)."""

    TYPE: ClassVar[str] = "POLYDATA"

    points_mm: NDArray[np.float32]
    vertices: NDArray[np.uint32]
    lines: NDArray[np.uint32]
    polygons: NDArray[np.uint32]
    triangle_strips: NDArray[np.uint32]
    attributes: tuple[PolyAttribute, ...] = ()

    @classmethod
    def unpack(cls, content: memoryview, common: dict[str, Any], type_name: str) -> Self:
        """Counts, points, cells and attributes that fill the content exactly."""
        if len(content) < _POLY.size:
            refuse(type_name, f"content of {len(content)} bytes has no header")
        n_points, *cells, n_attributes = _POLY.unpack_from(content)
        reader = _Reader(type_name, content, _POLY.size)
        points = reader.floats(n_points, 3)
        if not np.isfinite(points).all():
            refuse(type_name, "a coordinate is NaN or infinite")
        runs: dict[str, Any] = {
            name: _cells(type_name, name, reader.integers(cells[2 * i + 1]), cells[2 * i], n_points)
            for i, name in enumerate(_CELLS)
        }
        attributes = reader.attributes(n_attributes)
        reader.need_end()
        return cls(points_mm=points, attributes=attributes, **runs, **common)

    def pack(self) -> list[Buffer]:
        """The parts, in big-endian copies."""
        runs: list[NDArray[np.uint32]] = [getattr(self, name) for name in _CELLS]
        numbers = [n for run in runs for n in (cell_count(run), 4 * len(run))]
        parts: list[Buffer] = [_POLY.pack(len(self.points_mm), *numbers, len(self.attributes))]
        parts.append(self.points_mm.astype(">f4").tobytes())
        parts += [run.astype(">u4").tobytes() for run in runs]
        parts += [_ATTRIBUTE.pack(a.kind, a.values.shape[1], len(a.values)) for a in self.attributes]
        names = b"".join(write_field(a.name, 255, "attribute") + b"\0" for a in self.attributes)
        parts.append(names + b"\0" * (len(names) % 2))
        parts += [a.values.astype(">f4").tobytes() for a in self.attributes]
        return parts


def cell_count(run: NDArray[np.uint32]) -> int:
    """Number of cells in a flat run; LocalProtocolError where it ends inside a cell."""
    position = count = 0
    values = run.tolist()
    while position < len(values):
        position += 1 + values[position]
        count += 1
    if position != len(values):
        raise LocalProtocolError("a run of cells ends inside a cell")
    return count


def _cells(type_name: str, name: str, run: NDArray[np.uint32], count: int, points: int) -> NDArray[np.uint32]:
    try:
        found = cell_count(run)
    except LocalProtocolError:
        refuse(type_name, f"{name} end inside a cell")
    if found != count:
        refuse(type_name, f"{count} {name} announced, {found} sent")
    position = 0
    values = run.tolist()
    while position < len(values):
        end = position + 1 + values[position]
        if any(index >= points for index in values[position + 1 : end]):
            refuse(type_name, f"{name} name a point beyond the {points} sent")
        position = end
    return run


class _Reader:
    """Reads the parts of a content one after the other, refusing to run over its end."""

    def __init__(self, type_name: str, content: memoryview, position: int) -> None:
        self._type = type_name
        self._content = content
        self._position = position

    def take(self, size: int) -> memoryview:
        end = self._position + size
        if end > len(self._content):
            refuse(self._type, f"{size} bytes announced where {len(self._content) - self._position} are left")
        part = self._content[self._position : end]
        self._position = end
        return part

    def floats(self, count: int, width: int) -> NDArray[np.float32]:
        return np.frombuffer(self.take(4 * count * width), ">f4").astype(np.float32).reshape(count, width)

    def integers(self, size: int) -> NDArray[np.uint32]:
        if size % 4:
            refuse(self._type, f"{size} bytes are not a whole number of 32-bit indices")
        return np.frombuffer(self.take(size), ">u4").astype(np.uint32)

    def attributes(self, count: int) -> tuple[PolyAttribute, ...]:
        heads = [_ATTRIBUTE.unpack(self.take(_ATTRIBUTE.size)) for _ in range(count)]
        names = [self._name() for _ in range(count)]
        if sum(len(name) + 1 for name in names) % 2 and bytes(self.take(1)) != b"\0":
            refuse(self._type, "padding after the attribute names is not NUL")
        return tuple(
            PolyAttribute(read_label(name, "attribute"), kind, self.floats(n, self._width(kind, components)))
            for name, (kind, components, n) in zip(names, heads, strict=True)
        )

    def _name(self) -> bytes:
        window = bytes(self._content[self._position : self._position + 256])
        end = window.find(b"\0")
        if end < 0:
            refuse(self._type, "an attribute name has no end within 255 bytes")
        self._position += end + 1
        return window[:end]

    def _width(self, kind: int, components: int) -> int:
        known = kind & 0x0F in (0, *_COMPONENTS) and kind & 0xF0 in (0x00, 0x10)
        if not known or components != _COMPONENTS.get(kind & 0x0F, components) or not components:
            refuse(self._type, f"attribute of type {kind} with {components} components")
        return components

    def need_end(self) -> None:
        if self._position != len(self._content):
            refuse(self._type, f"{len(self._content) - self._position} bytes after the end")
