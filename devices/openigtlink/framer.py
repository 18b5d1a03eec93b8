"""The codec without I/O: bytes in, messages out; a message in, buffers out.

Bytes may arrive in any pieces. A large body is received straight into its own memory
(`buffer`/`advance`, made for asyncio.BufferedProtocol); nothing is allocated before the header
has passed its limits. The first fault ends a decoder: a stream that broke the rules once cannot
be trusted to be in step again.
"""

import struct
from math import isfinite
from typing import Any

import msgspec
import numpy as np
from fastcrc import crc64

from devices.errors import LocalProtocolError, RemoteProtocolError
from devices.openigtlink.bodies import BODIES, EMPTY_MEANS_EMPTY, NoData, NotFiniteError, Opaque, Wire, without_lost
from devices.openigtlink.bodies.base import Buffer
from devices.openigtlink.bodies.images import IMAGE_HEADER
from devices.openigtlink.bodies.poses import TRANSFORM_SIZE, Transform
from devices.openigtlink.header import (
    EXTENDED,
    HEADER_SIZE,
    NAMES_SIZE,
    Header,
    Metadata,
    read_extended,
    read_header,
    write_extended,
    write_header,
)

_SMALL = 16 * 1024  # the receive buffer: messages that fit are read in place
_ALIGNMENT = 64
_POSE = struct.Struct(">34sQQQ12f")  # header and content of a TRANSFORM of version 1
_MAX_TOOLS = 64
_JOIN = 4096  # parts up to this size are cheaper to join than to send apart


class Budget:
    """Bytes of half-received bodies in all decoders that share it; a body is refused beyond `limit`."""

    def __init__(self, limit: int = 512 * 1024 * 1024) -> None:
        self.limit = limit
        self.used = 0

    def take(self, size: int) -> None:
        """Reserve; RemoteProtocolError where the peers together have too much in flight."""
        if self.used + size > self.limit:
            raise RemoteProtocolError(f"{self.used + size} bytes in flight from all peers, limit {self.limit}")
        self.used += size

    def give(self, size: int) -> None:
        """Give back what was reserved."""
        self.used -= size


class Limits(msgspec.Struct, frozen=True):
    """What a peer may send, in bytes of content, before anything is allocated for it."""

    image: int = 64 * 1024 * 1024
    words: int = 64 * 1024  # STATUS, STRING
    other: int = 1024 * 1024
    metadata_keys: int = 64
    metadata_bytes: int = 64 * 1024

    def check(self, header: Header) -> None:
        """RemoteProtocolError where the announced body is larger (TRANSFORM: other) than allowed."""
        name, size = header.type_name, header.body_size
        if name == "TRANSFORM":
            least = most = TRANSFORM_SIZE
        else:
            least, most = 0, self._most(name)
        if header.version == 2:
            least += EXTENDED.size
            most += EXTENDED.size + 2 + 8 * self.metadata_keys + self.metadata_bytes
        if not least <= size <= most:
            raise RemoteProtocolError(f"{name} {header.device_name!r}: body of {size} bytes, must be {least} to {most}")

    def _most(self, name: str) -> int:
        if name == "IMAGE":
            return self.image
        return self.words if name in ("STATUS", "STRING") else self.other


class Decoder:
    """Turns one peer's byte stream into messages. Raises RemoteProtocolError and nothing else.

    A pose that is not finite is such an error, unless `allow_lost`: then it comes as the identity and is
    named in `lost` of its message, because some trackers say so that a tool is out of view.
    """

    def __init__(self, limits: Limits | None = None, budget: Budget | None = None, *, allow_lost: bool = False) -> None:
        self._limits = limits or Limits()
        self._allow_lost = allow_lost
        self._budget = budget or Budget()
        self._small = bytearray(_SMALL)
        self._view = memoryview(self._small)
        self._start = 0  # first byte not yet consumed
        self._end = 0  # first byte not yet filled
        self._header: Header | None = None  # of the body now received into its own memory
        self._body: memoryview | None = None
        self._filled = 0
        self._tools: dict[bytes, str] = {}  # names in headers of TRANSFORM, version 1: what they say was checked once
        self.in_message = False  # a message has begun and not ended: its deadline runs
        self.fault: RemoteProtocolError | None = None  # what ended this decoder, also while it waits to be raised

    def feed(self, data: Buffer) -> list[Wire]:
        """Messages completed by `data`. Those before a fault are returned; the next call raises the fault."""
        self._raise_fault()
        messages: list[Wire] = []
        rest = memoryview(data).cast("B")
        while rest and self.fault is None:
            room = self.buffer()
            size = min(len(room), len(rest))
            room[:size] = rest[:size]
            rest = rest[size:]
            messages += self._advance(size)
        return self._deliver(messages)

    def buffer(self, sizehint: int = -1) -> memoryview:
        """Where the next bytes go; never empty. Tell `advance` how many came."""
        if self._body is not None:
            return self._body[self._filled :]
        return self._view[self._end :] if self._end else self._view

    def advance(self, size: int) -> list[Wire]:
        """Messages completed by `size` bytes written to `buffer()`; faults as in `feed`."""
        if self.fault is not None:
            raise self.fault
        messages = self._advance(size)
        return messages or self._deliver(messages)

    def close(self) -> None:
        """Forget a half-received message and give its bytes back to the budget."""
        self._drop_body()
        self._start = self._end = 0
        self.in_message = False

    def _deliver(self, messages: list[Wire]) -> list[Wire]:
        if not messages:
            self._raise_fault()
        return messages

    def _raise_fault(self) -> None:
        if self.fault is not None:
            raise self.fault

    def _advance(self, size: int) -> list[Wire]:
        messages: list[Wire] = []
        try:
            if self._body is None:
                self._end += size
                self._read_small(messages)
            else:
                self._fill_body(size, messages)
            self.in_message = self._end > 0 or self._body is not None  # what is left starts at 0
        except RemoteProtocolError as fault:
            self.fault = fault
            self.close()
        return messages

    def _fill_body(self, size: int, messages: list[Wire]) -> None:
        self._filled += size
        body, header = self._body, self._header
        assert body is not None and header is not None
        if self._filled == header.body_size:
            self._drop_body()
            messages.append(self._read(header, body))

    def _drop_body(self) -> None:
        if self._body is not None:
            self._budget.give(len(self._body))
        self._body = self._header = None
        self._filled = 0

    def _read_small(self, messages: list[Wire]) -> None:
        """Read every whole message in the receive buffer; give the last, unfinished one room."""
        view = self._view
        while self._end - self._start >= HEADER_SIZE:
            if self._end - self._start >= _POSE.size and (pose := self._plain_pose(self._start)) is not None:
                self._start += _POSE.size
                messages.append(pose)
                continue
            header = read_header(view, self._start)
            self._limits.check(header)
            if header.type_name == "TRANSFORM" and header.version == 1 and len(self._tools) < _MAX_TOOLS:
                self._tools[bytes(view[self._start : self._start + NAMES_SIZE])] = header.device_name
            start = self._start + HEADER_SIZE
            end = start + header.body_size
            if end > self._end or header.type_name == "IMAGE":
                if header.type_name != "IMAGE" and HEADER_SIZE + header.body_size <= _SMALL:
                    break
                if self._begin_body(header, start, messages):
                    return
                continue
            self._start = end
            messages.append(self._read(header, view[start:end]))
        if self._start == self._end:
            self._start = self._end = 0
        elif self._start:
            pending = self._end - self._start
            self._view[:pending] = bytes(self._view[self._start : self._end])
            self._start, self._end = 0, pending

    def _begin_body(self, header: Header, start: int, messages: list[Wire]) -> bool:
        """Give a body its own memory and move there what has come of it; True where more must come."""
        size = header.body_size
        self._budget.take(size)
        self._header, self._body = header, _aligned(size, header.version)
        have = min(size, self._end - start)
        self._body[:have] = self._view[start : start + have]
        self._start = start + have
        self._fill_body(have, messages)
        if self._body is None:
            return False
        self._start = self._end = 0
        return True

    def _plain_pose(self, start: int) -> Transform | None:
        """A sound TRANSFORM of version 1 of a known tool, most of what a room says, in one step; None: look closer."""
        fields = _POSE.unpack_from(self._view, start)
        device_name = self._tools.get(fields[0])
        if device_name is None or fields[2] != TRANSFORM_SIZE:
            return None
        columns = fields[4:]
        if crc64.ecma_182(self._view[start + HEADER_SIZE : start + _POSE.size]) != fields[3] or not isfinite(
            sum(columns)
        ):
            return None
        return Transform(device_name=device_name, timestamp=fields[1], wire_bytes=_POSE.size, columns=columns)

    def _read(self, header: Header, body: memoryview) -> Wire:
        if crc64.ecma_182(body) != header.crc:
            raise RemoteProtocolError(f"{header.type_name} {header.device_name!r}: wrong CRC")
        common: dict[str, Any] = {
            "device_name": header.device_name,
            "timestamp": header.timestamp,
            "wire_bytes": HEADER_SIZE + header.body_size,
        }
        if header.version == 1:
            return read_content(header.type_name, body, common, self._allow_lost)
        trailer = read_extended(body, self._limits.metadata_keys, self._limits.metadata_bytes)
        common["header_version"] = 2
        common["message_id"] = trailer.message_id
        common["metadata"] = trailer.metadata
        return read_content(header.type_name, body[EXTENDED.size : trailer.content_end], common, self._allow_lost)


def _aligned(size: int, version: int) -> memoryview:
    """Untouched memory for a body, placed so that image pixels in it are aligned."""
    lead = IMAGE_HEADER.size + (EXTENDED.size if version == 2 else 0)
    memory = np.empty(size + _ALIGNMENT, np.uint8)
    shift = -(memory.ctypes.data + lead) % _ALIGNMENT
    return memory[shift : shift + size].data


def read_content(type_name: str, content: memoryview, common: dict[str, Any], allow_lost: bool = False) -> Wire:
    """The message of a content; `common` are the fields that every message has. `allow_lost` as in `Decoder`."""
    try:
        return _read_finite(type_name, content, common)
    except NotFiniteError:
        mended = without_lost(type_name, content) if allow_lost else None
        if mended is None:
            raise
        return _read_finite(type_name, mended[0], common | {"lost": mended[1]})


def _read_finite(type_name: str, content: memoryview, common: dict[str, Any]) -> Wire:
    body = BODIES.get(type_name)
    if body is None:
        return Opaque.unpack(content, common, type_name)
    if not content and type_name not in EMPTY_MEANS_EMPTY and "_" not in type_name and type_name != "TRANSFORM":
        return NoData(name_of_type=type_name, **common)
    return body.unpack(content, common, type_name)


def encode(message: Wire, header_version: int | None = None) -> list[Buffer]:
    """The message as buffers to be sent one after the other; pixels are not copied.

    `header_version` None keeps the message's own; 1 leaves its metadata and id behind.
    LocalProtocolError where the message cannot be sent.
    """
    version = message.header_version if header_version is None else header_version
    if version not in (1, 2):
        raise LocalProtocolError(f"header version {version} is not 1 or 2")
    try:
        content = message.pack()
        before, after = write_extended(message.message_id, _table(message)) if version == 2 else (b"", b"")
    except (struct.error, OverflowError) as fault:
        raise LocalProtocolError(f"{message.type_name} {message.device_name!r} cannot be sent: {fault}") from fault
    if version == 1 and len(content) == 1 and len(content[0]) <= _JOIN:  # most messages: a pose, a word
        body = bytes(content[0])
        names = (version, message.type_name, message.device_name, message.timestamp)
        return [write_header(*names, len(body), crc64.ecma_182(body)) + body]
    parts = [part for part in (before, *content, after) if len(part)]
    size = crc = 0
    for part in parts:
        size += len(part)
        crc = crc64.ecma_182(part, initial=crc)
    head = write_header(version, message.type_name, message.device_name, message.timestamp, size, crc)
    return _gather(head, parts)


def _table(message: Wire) -> tuple[Metadata, ...] | None:
    """A version 1 message has no table; sent as version 2 it gets an empty one, as the C++ library writes."""
    return message.metadata or () if message.header_version == 1 else message.metadata


def _gather(head: bytes, parts: list[Buffer]) -> list[Buffer]:
    """Join small parts, leave large ones in their own memory."""
    gathered: list[Buffer] = []
    small = [head]
    for part in parts:
        if len(part) <= _JOIN:
            small.append(bytes(part))
            continue
        gathered += (b"".join(small), part)
        small = []
    if small:
        gathered.append(b"".join(small))
    return gathered
