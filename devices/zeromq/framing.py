"""How a message lies in ZeroMQ parts.

    part 0   topic, UTF-8: room/<room id>/<kind>/<name>     (id and name percent-encoded)
    part 1   header, msgpack map:
               version  1
               source   random id of the sender's run; a new one means that counting starts anew
               number   rises by one with every message of this source on this topic
               message  the message as a map; its `type` equals <kind>, its `name` equals <name>
    part 2.. raw little-endian arrays, C order

An array in `message` is a map {dtype, shape, data} for up to 1 kB (matrices), else {dtype, shape,
beside} where `beside` counts the parts after the header. Both are NumPy dtype strings (`<f4`).
Subscribe by prefix: `room/or-1/pose/`, `room/or-1/image/mr`.
"""

from collections.abc import Sequence
from functools import lru_cache
from urllib.parse import quote

import msgspec

from devices.errors import RemoteProtocolError
from devices.messages import AnyMessage
from devices.packing import BesideDecoder, Buffer, check_arrays, pack_beside

VERSION = 1
MAX_PARTS = 10


class Header(msgspec.Struct, frozen=True, forbid_unknown_fields=True, eq=False):
    """Part 1 of every multipart message."""

    version: int
    source: str
    number: int
    message: AnyMessage


_decoder = BesideDecoder(Header)


def kind_of(message: AnyMessage) -> str:
    """The kind of a message as topics name it: pose, image, guided_pose ..."""
    return str(type(message).__struct_config__.tag)


def room_prefix(room: str) -> str:
    """What every topic of a room begins with."""
    return f"room/{quote(room, safe='')}/"


def topic_of(room: str, message: AnyMessage) -> str:
    """The topic of a message."""
    return _topic(room, kind_of(message), message.name)


@lru_cache(maxsize=4096)
def _topic(room: str, kind: str, name: str) -> str:
    return f"{room_prefix(room)}{kind}/{quote(name, safe='')}"


def to_parts(topic: str, source: str, number: int, message: AnyMessage) -> list[Buffer]:
    """The parts to send; arrays are passed on, not copied."""
    header, arrays = pack_beside(Header(VERSION, source, number, message))
    return [topic.encode(), header, *(array.reshape(-1).view("u1").data for array in arrays)]


def from_parts(room: str, parts: Sequence[Buffer]) -> Header:
    """Inverse of `to_parts`; arrays are read-only views of `parts`.

    Raises RemoteProtocolError on a wrong part count, version, header, array or topic.
    """
    if not 2 <= len(parts) <= MAX_PARTS:
        raise RemoteProtocolError(f"{len(parts)} parts; expected topic, header and up to {MAX_PARTS - 2} arrays")
    header = _decoder.decode(parts[1], parts[2:])
    if header.version != VERSION:
        raise RemoteProtocolError(f"framing version {header.version}; this side speaks {VERSION}")
    if not 0 < len(header.source) <= 64 or not 0 <= header.number < 2**63:
        raise RemoteProtocolError(f"source {header.source[:80]!r} or number {header.number} is out of range")
    expected = topic_of(room, header.message)
    if bytes(parts[0]) != expected.encode():
        raise RemoteProtocolError(f"topic {bytes(parts[0])[:200]!r} is not that of its message ({expected[:200]!r})")
    check_arrays(header.message)
    return header
