"""What every wire message is: a frozen type with the header's words and a content of its own."""

from collections.abc import Callable, Iterable
from math import isfinite
from typing import Any, ClassVar, NoReturn, Self, TypeVar

import msgspec

from devices.errors import LocalProtocolError, RemoteProtocolError
from devices.openigtlink.header import Metadata, ns_from_timestamp

Buffer = bytes | bytearray | memoryview


class Wire(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """One OpenIGTLink message. `timestamp` is the raw 64-bit value, kept exactly.

    `metadata` None = a version 2 message without a metadata table, or any version 1 message.
    `wire_bytes` is what a received message took on the wire, header included.
    """

    TYPE: ClassVar[str] = ""

    device_name: str = ""
    timestamp: int = 0
    header_version: int = 1
    message_id: int = 0
    metadata: tuple[Metadata, ...] | None = None
    wire_bytes: int = 0

    @property
    def type_name(self) -> str:
        """The type name in the header."""
        return self.TYPE

    @property
    def device_time_ns(self) -> int:
        """The device's absolute time in ns; 0 = it sent none."""
        return ns_from_timestamp(self.timestamp)

    @property
    def tags(self) -> dict[str, str]:
        """The metadata as texts."""
        return {item.key: item.text for item in self.metadata or ()}

    @classmethod
    def unpack(cls, content: memoryview, common: dict[str, Any], type_name: str) -> Self:
        """The message of `content`; RemoteProtocolError where it is none."""
        raise NotImplementedError

    def pack(self) -> list[Buffer]:
        """The content as buffers; LocalProtocolError where it cannot be sent."""
        raise NotImplementedError


class Opaque(Wire, frozen=True, kw_only=True, eq=False):
    """A well-formed message of a type that is not interpreted here."""

    name_of_type: str
    body: bytes

    @property
    def type_name(self) -> str:
        """The type name in the header."""
        return self.name_of_type

    @classmethod
    def unpack(cls, content: memoryview, common: dict[str, Any], type_name: str) -> Self:
        """Keep the content as it is."""
        return cls(name_of_type=type_name, body=bytes(content), **common)

    def pack(self) -> list[Buffer]:
        """The content as it was."""
        return [self.body]


class NoData(Wire, frozen=True, kw_only=True, eq=False):
    """The answer to a query for which there is no data: a message of the asked type without content."""

    name_of_type: str

    @property
    def type_name(self) -> str:
        """The type name in the header."""
        return self.name_of_type

    def pack(self) -> list[Buffer]:
        """Nothing."""
        return []


def refuse(type_name: str, why: str) -> NoReturn:
    """Raise the decoder's only error, naming the type."""
    raise RemoteProtocolError(f"{type_name}: {why}")


def need_size(type_name: str, content: memoryview, size: int) -> None:
    """Refuse a content that is not of exactly `size` bytes."""
    if len(content) != size:
        refuse(type_name, f"content of {len(content)} bytes, must be {size}")


class NotFiniteError(RemoteProtocolError):
    """The message is whole, but a coordinate in it is no number."""


def need_finite(type_name: str, values: Iterable[float]) -> None:
    """Refuse NaN and infinity: a sum of float32 cannot overflow float64, so one test finds both."""
    if not isfinite(sum(values)):
        raise NotFiniteError(f"{type_name}: a coordinate is NaN or infinite")


def can_be_sent(values: Iterable[float]) -> None:
    """LocalProtocolError where a coordinate is NaN or infinite."""
    if not isfinite(sum(values)):
        raise LocalProtocolError("a coordinate that is NaN or infinite cannot be sent")


Row = TypeVar("Row")


def read_rows(type_name: str, content: memoryview, size: int, read: Callable[[memoryview], Row]) -> tuple[Row, ...]:
    """The elements of a list content whose elements have `size` bytes each."""
    if len(content) % size:
        refuse(type_name, f"content of {len(content)} bytes is not a whole number of {size}-byte elements")
    return tuple(read(content[start : start + size]) for start in range(0, len(content), size))
