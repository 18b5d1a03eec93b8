"""Numbers and collections: SENSOR, NDARRAY, BIND."""

import struct
from typing import Any, ClassVar, Self

import msgspec
import numpy as np
from numpy.typing import NDArray

from devices.errors import LocalProtocolError
from devices.openigtlink.bodies.base import Buffer, Wire, need_size, refuse
from devices.openigtlink.text import read_label, read_name, write_field, write_name

_SENSOR = struct.Struct(">BBQ")
_CHILD = struct.Struct(">12sQ")
_COUNT = struct.Struct(">H")
_NUMBERS = {2: "i1", 3: "u1", 4: "i2", 5: "u2", 6: "i4", 7: "u4", 10: "f4", 11: "f8", 13: "c16"}
_NUMBER_OF = {np.dtype(name): number for number, name in _NUMBERS.items()}


class SensorData(Wire, frozen=True, kw_only=True, eq=False):
    """SENSOR: up to 255 float64 in one `unit` (the protocol's packed 64-bit unit field)."""

    TYPE: ClassVar[str] = "SENSOR"

    values: tuple[float, ...]
    unit: int = 0
    status: int = 0

    @classmethod
    def unpack(cls, content: memoryview, common: dict[str, Any], type_name: str) -> Self:
        """10 bytes and 8 a value."""
        if len(content) < _SENSOR.size:
            refuse(type_name, f"content of {len(content)} bytes, must be at least {_SENSOR.size}")
        count, status, unit = _SENSOR.unpack_from(content)
        need_size(type_name, content, _SENSOR.size + 8 * count)
        values = struct.unpack_from(f">{count}d", content, _SENSOR.size)
        return cls(values=values, unit=unit, status=status, **common)

    def pack(self) -> list[Buffer]:
        """10 bytes and 8 a value."""
        if len(self.values) > 255:
            raise LocalProtocolError(f"{len(self.values)} values do not fit a SENSOR message (255)")
        head = _SENSOR.pack(len(self.values), self.status, self.unit)
        return [head + struct.pack(f">{len(self.values)}d", *self.values)]


class ArrayData(Wire, frozen=True, kw_only=True, eq=False):
    """NDARRAY: `array` native and read-only."""

    TYPE: ClassVar[str] = "NDARRAY"

    array: NDArray[Any]

    @classmethod
    def unpack(cls, content: memoryview, common: dict[str, Any], type_name: str) -> Self:
        """Type, sizes and exactly the numbers that they promise, big-endian."""
        if len(content) < 2:
            refuse(type_name, f"content of {len(content)} bytes has no header")
        name, dimensions = _NUMBERS.get(content[0]), content[1]
        start = 2 + 2 * dimensions
        if name is None or not 1 <= dimensions <= 32 or len(content) < start:
            refuse(type_name, f"scalar type {content[0]} in {dimensions} dimensions is not an array")
        shape = struct.unpack_from(f">{dimensions}H", content, 2)
        count = spread = 1
        for extent in shape:
            count *= extent
            spread *= extent or 1
        if spread > 2**31:  # also of an array without numbers: NumPy cannot hold its strides
            refuse(type_name, f"sizes {shape} are too large")
        need_size(type_name, content, start + count * np.dtype(name).itemsize)
        array = np.frombuffer(content, ">" + name, offset=start).astype(name).reshape(shape)
        array.flags.writeable = False
        return cls(array=array, **common)

    def pack(self) -> list[Buffer]:
        """Type, sizes and numbers in a big-endian copy."""
        number = _NUMBER_OF.get(self.array.dtype.newbyteorder("="))
        if number is None or not 1 <= self.array.ndim <= 32 or max(self.array.shape) > 0xFFFF:
            raise LocalProtocolError(f"an array {self.array.dtype}{self.array.shape} cannot be sent as NDARRAY")
        head = struct.pack(f">BB{self.array.ndim}H", number, self.array.ndim, *self.array.shape)
        return [head, self.array.astype(self.array.dtype.newbyteorder(">")).tobytes()]


class Child(msgspec.Struct, frozen=True):
    """One message within a BIND: type, name and undecoded content."""

    type_name: str
    name: str
    body: bytes


class Bind(Wire, frozen=True, kw_only=True, eq=False):
    """BIND: several messages of one moment."""

    TYPE: ClassVar[str] = "BIND"

    children: tuple[Child, ...]

    @classmethod
    def unpack(cls, content: memoryview, common: dict[str, Any], type_name: str) -> Self:
        """Heads, names and contents, each padded to an even length."""
        heads, position = _read_heads(type_name, content, _CHILD)
        names, position = read_names(type_name, content, position, len(heads))
        children = []
        for (child_type, size), name in zip(heads, names, strict=True):
            end = position + size
            if end + size % 2 > len(content) or (size % 2 and content[end]):
                refuse(type_name, f"child {name!r} of {size} bytes does not fit")
            child = read_name(child_type, "BIND child type")
            children.append(Child(child, name, bytes(content[position:end])))
            position = end + size % 2
        need_size(type_name, content, position)
        return cls(children=tuple(children), **common)

    def pack(self) -> list[Buffer]:
        """Heads, names and contents."""
        if len(self.children) > 0xFFFF:
            raise LocalProtocolError(f"{len(self.children)} messages do not fit a BIND")
        heads = [_CHILD.pack(write_name(c.type_name, 12, "BIND child type"), len(c.body)) for c in self.children]
        parts: list[Buffer] = [_COUNT.pack(len(heads)), *heads, write_names([c.name for c in self.children])]
        for child in self.children:
            parts += (child.body, b"\0" * (len(child.body) % 2))
        return parts


def _read_heads(type_name: str, content: memoryview, layout: struct.Struct) -> tuple[list[tuple[Any, ...]], int]:
    if len(content) < 2:
        refuse(type_name, f"content of {len(content)} bytes has no count")
    (count,) = _COUNT.unpack_from(content)
    end = 2 + count * layout.size
    if len(content) < end:
        refuse(type_name, f"{count} children announced in {len(content)} bytes")
    return list(layout.iter_unpack(content[2:end])), end


def read_names(type_name: str, content: memoryview, position: int, count: int) -> tuple[list[str], int]:
    """`count` NUL-separated names behind their size, and where they end."""
    if len(content) < position + 2:
        refuse(type_name, "no name table")
    (size,) = _COUNT.unpack_from(content, position)
    start, end = position + 2, position + 2 + size
    table = bytes(content[start:end])
    names = table.split(b"\0", count)
    if len(table) != size or len(names) != count + 1 or names[-1] != b"\0" * ((size - len(names[-1])) % 2):
        refuse(type_name, f"name table of {size} bytes does not hold {count} names")
    return [read_label(name, "BIND child name") for name in names[:-1]], end


def write_names(names: list[str]) -> bytes:
    """The name table of `names`."""
    table = b"".join(write_field(name, 0xFFFF, "BIND child name") + b"\0" for name in names)
    table += b"\0" * (len(table) % 2)
    if len(table) > 0xFFFF:
        raise LocalProtocolError("the names of a BIND do not fit")
    return _COUNT.pack(len(table)) + table


_ASK = struct.Struct(">12s")


def read_request(type_name: str, content: memoryview) -> tuple[tuple[str, str], ...]:
    """(type, name) pairs of a GET_BIND or STT_BIND request; an empty one asks for all."""
    if not content:
        return ()
    heads, position = _read_heads(type_name, content, _ASK)
    names, position = read_names(type_name, content, position, len(heads))
    need_size(type_name, content, position)
    return tuple((read_name(head[0], "BIND child type"), name) for head, name in zip(heads, names, strict=True))


def write_request(entries: tuple[tuple[str, str], ...]) -> bytes:
    """Inverse of `read_request`."""
    if not entries:
        return b""
    heads = b"".join(_ASK.pack(write_name(kind, 12, "BIND child type")) for kind, _ in entries)
    return _COUNT.pack(len(entries)) + heads + write_names([name for _, name in entries])
