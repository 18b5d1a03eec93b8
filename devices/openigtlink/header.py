"""The header of an OpenIGTLink message, its extended header and its metadata.

Layouts: OpenIGTLink protocol 3, Documents/Protocol/header.md and v3_proposal.md. All numbers are
big-endian. Version 1: header (58 bytes), content. Version 2: header, extended header (12 bytes),
content, metadata table, metadata texts; `body_size` and CRC cover all but the header.
"""

import struct
from functools import lru_cache
from typing import NamedTuple

import msgspec

from devices.errors import LocalProtocolError, RemoteProtocolError
from devices.openigtlink.text import US_ASCII, decode_text, encode_text, read_name, write_name

_NAMES = struct.Struct(">H12s20s")
_NUMBERS = struct.Struct(">QQQ")
_WHOLE = struct.Struct(f">{_NAMES.size}sQQQ")
HEADER_SIZE = _WHOLE.size
NAMES_SIZE = _NAMES.size  # version, type and device name: the same in every message of a stream
EXTENDED = struct.Struct(">HHII")
_COUNT = struct.Struct(">H")
_ENTRY = struct.Struct(">HHI")


class Header(msgspec.Struct, frozen=True, gc=False):
    """The 58 bytes before every body; `timestamp` is the raw 64-bit value."""

    version: int
    type_name: str
    device_name: str
    timestamp: int
    body_size: int
    crc: int


def read_header(data: bytes | bytearray | memoryview, offset: int = 0) -> Header:
    """Header at `offset`; RemoteProtocolError where it is none."""
    names, timestamp, body_size, crc = _WHOLE.unpack_from(data, offset)
    version, type_name, device_name = _read_names(names)
    return Header(version, type_name, device_name, timestamp, body_size, crc)


@lru_cache(maxsize=1024)
def _read_names(data: bytes) -> tuple[int, str, str]:
    """Version, type and device name: a stream repeats them in every message."""
    version, type_field, name_field = _NAMES.unpack(data)
    if version not in (1, 2):
        raise RemoteProtocolError(f"header version {version} is not 1 or 2: this is no OpenIGTLink stream")
    type_name = read_name(type_field, "message type")
    if not type_name or " " in type_name:
        raise RemoteProtocolError(f"message type {type_name!r} is not a type name")
    return version, type_name, read_name(name_field, "device name")


def write_header(version: int, type_name: str, device_name: str, timestamp: int, body_size: int, crc: int) -> bytes:
    """The 58 bytes of a header; LocalProtocolError where a field does not fit."""
    return _write_names(version, type_name, device_name) + _NUMBERS.pack(timestamp, body_size, crc)


@lru_cache(maxsize=1024)
def _write_names(version: int, type_name: str, device_name: str) -> bytes:
    return _NAMES.pack(version, write_name(type_name, 12, "message type"), write_name(device_name, 20, "device name"))


def ns_from_timestamp(timestamp: int) -> int:
    """Nanoseconds of a 64-bit OpenIGTLink timestamp (32.32 fixed-point seconds), rounded to nearest."""
    return (timestamp * 1_000_000_000 + 0x8000_0000) >> 32


def timestamp_from_ns(time_ns: int) -> int:
    """64-bit OpenIGTLink timestamp of `time_ns`; `ns_from_timestamp` gives `time_ns` back exactly."""
    timestamp = ((time_ns << 32) + 500_000_000) // 1_000_000_000
    if not 0 <= timestamp < 1 << 64:
        raise LocalProtocolError(f"time {time_ns} ns does not fit an OpenIGTLink timestamp")
    return timestamp


class Metadata(msgspec.Struct, frozen=True):
    """One key and its value as sent: `encoding` is the IANA number of the value's character set."""

    key: str
    value: bytes
    encoding: int = US_ASCII

    @property
    def text(self) -> str:
        """The value as text."""
        return decode_text(self.value, self.encoding, f"metadata {self.key!r}")


def metadata_from(values: dict[str, str]) -> tuple[Metadata, ...]:
    """Metadata of plain texts, US-ASCII where possible, else UTF-8."""
    return tuple(
        Metadata(key, data, encoding) for key, (encoding, data) in ((k, encode_text(v)) for k, v in values.items())
    )


class Trailer(NamedTuple):
    """What version 2 adds around the content: where the content ends, and what stands beside it."""

    content_end: int
    message_id: int
    metadata: tuple[Metadata, ...] | None


def read_extended(body: memoryview, max_keys: int, max_bytes: int) -> Trailer:
    """Split a version 2 body; its content lies between byte 12 and `content_end`."""
    if len(body) < EXTENDED.size:
        raise RemoteProtocolError(f"a version 2 body of {len(body)} bytes has no room for its extended header")
    size, table_size, text_size, message_id = EXTENDED.unpack_from(body)
    if size != EXTENDED.size:
        raise RemoteProtocolError(f"extended header of {size} bytes; this version has {EXTENDED.size}")
    end = len(body) - table_size - text_size
    if end < EXTENDED.size:
        raise RemoteProtocolError(f"metadata of {table_size} + {text_size} bytes does not fit a body of {len(body)}")
    if table_size == 0 and text_size == 0:
        return Trailer(end, message_id, None)
    if table_size < 2 or text_size > max_bytes:
        raise RemoteProtocolError(f"metadata of {table_size} + {text_size} bytes is against the limit of {max_bytes}")
    (count,) = _COUNT.unpack_from(body, end)
    if count > max_keys or table_size != 2 + count * _ENTRY.size:
        raise RemoteProtocolError(f"metadata table of {table_size} bytes for {count} keys (at most {max_keys})")
    return Trailer(end, message_id, _read_metadata(body, end, count))


def _read_metadata(body: memoryview, start: int, count: int) -> tuple[Metadata, ...]:
    table_end = start + 2 + count * _ENTRY.size
    position = table_end
    found: list[Metadata] = []
    keys: set[str] = set()
    for key_size, encoding, value_size in _ENTRY.iter_unpack(body[start + 2 : table_end]):
        value_start = position + key_size
        if value_start + value_size > len(body):
            raise RemoteProtocolError("metadata runs over the end of the message")
        key = decode_text(bytes(body[position:value_start]), 106, "metadata key")
        if not key or not key.isprintable() or key in keys:
            raise RemoteProtocolError(f"metadata key {key!r} is empty, unprintable or repeated")
        keys.add(key)
        position = value_start + value_size
        item = Metadata(key, bytes(body[value_start:position]), encoding)
        decode_text(item.value, encoding, f"metadata {key!r}")
        found.append(item)
    if position != len(body):
        raise RemoteProtocolError(f"{len(body) - position} bytes after the metadata")
    return tuple(found)


def write_extended(message_id: int, metadata: tuple[Metadata, ...] | None) -> tuple[bytes, bytes]:
    """(extended header, metadata table and texts) of a version 2 message."""
    if metadata is None:
        return EXTENDED.pack(EXTENDED.size, 0, 0, message_id), b""
    keys = [item.key.encode("utf-8") for item in metadata]
    if len(keys) > 0xFFFF or any(len(key) > 0xFFFF for key in keys):
        raise LocalProtocolError(f"metadata of {len(keys)} keys does not fit")
    table = [_COUNT.pack(len(keys))]
    texts: list[bytes] = []
    for key, item in zip(keys, metadata, strict=True):
        table.append(_ENTRY.pack(len(key), item.encoding, len(item.value)))
        texts += (key, item.value)
    text = b"".join(texts)
    return EXTENDED.pack(EXTENDED.size, 2 + len(keys) * _ENTRY.size, len(text), message_id), b"".join((*table, text))
