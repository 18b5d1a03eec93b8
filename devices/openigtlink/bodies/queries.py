"""Questions and answers about data: GET_, STT_, STP_ and RTS_ of every type that has them."""

import struct
from typing import Any, ClassVar, Self

from devices.errors import LocalProtocolError
from devices.openigtlink.bodies.base import Buffer, Wire, need_size, refuse
from devices.openigtlink.bodies.values import read_request, write_request
from devices.openigtlink.header import ns_from_timestamp, timestamp_from_ns
from devices.openigtlink.text import read_name, write_name

_TRACKING = struct.Struct(">i32s")
_RESOLUTION = struct.Struct(">Q")


class Query(Wire, frozen=True, kw_only=True, eq=False):
    """GET_, STT_ or STP_ of a type; an empty device name asks for any.

    `interval_ns` is the least time between messages that an STT_ asks for (0 = as they come);
    `coordinates` the frame that STT_TDATA names; `entries` the (type, name) pairs of a BIND request.
    """

    TYPE: ClassVar[str] = "GET_CAPABIL"

    name_of_type: str
    resolution: int | None = None
    coordinates: str = ""
    entries: tuple[tuple[str, str], ...] = ()

    @property
    def type_name(self) -> str:
        """The type name in the header."""
        return self.name_of_type

    @property
    def verb(self) -> str:
        """GET, STT or STP."""
        return self.name_of_type[:3]

    @property
    def subject(self) -> str:
        """The type asked for."""
        return FULL_NAME.get(self.name_of_type[4:], self.name_of_type[4:])

    @property
    def interval_ns(self) -> int:
        """Least time between messages, ns. TDATA and QTDATA count in ms, the others in timestamp units."""
        if self.resolution is None:
            return 0
        return self.resolution * 1_000_000 if self.subject in _TRACKERS else ns_from_timestamp(self.resolution)

    @classmethod
    def unpack(cls, content: memoryview, common: dict[str, Any], type_name: str) -> Self:
        """Nothing, or what the type's page of the protocol gives to the query."""
        verb, subject = type_name[:3], type_name[4:]
        if verb == "STT" and subject in _TRACKERS:
            need_size(type_name, content, _TRACKING.size)
            resolution, frame = _TRACKING.unpack(content)
            if resolution < 0:
                refuse(type_name, f"resolution of {resolution} ms")
            coordinates = read_name(frame, "coordinate system")
            return cls(name_of_type=type_name, resolution=resolution, coordinates=coordinates, **common)
        resolution = None
        if verb == "STT" and content:
            if len(content) < _RESOLUTION.size:
                refuse(type_name, f"content of {len(content)} bytes has no resolution")
            (resolution,) = _RESOLUTION.unpack_from(content)
            content = content[_RESOLUTION.size :]
        if verb != "STP" and subject == "BIND":
            return cls(
                name_of_type=type_name, resolution=resolution, entries=read_request(type_name, content), **common
            )
        need_size(type_name, content, 0)
        return cls(name_of_type=type_name, resolution=resolution, **common)

    def pack(self) -> list[Buffer]:
        """As `unpack`."""
        if self.verb == "STT" and self.subject in _TRACKERS:
            return [_TRACKING.pack(self.resolution or 0, write_name(self.coordinates, 32, "coordinate system"))]
        if self.entries and self.verb == "STT" and self.resolution is None:
            raise LocalProtocolError("a BIND request in STT_BIND needs a resolution")
        start = b"" if self.resolution is None else _RESOLUTION.pack(self.resolution)
        return [start + write_request(self.entries)]


def question(type_name: str, interval_ms: int, header_version: int) -> Query:
    """A query to any device; an STT_ asks for at most one message every `interval_ms`."""
    resolution = None
    if type_name.startswith("STT_"):
        tracking = type_name[4:] in _TRACKERS
        resolution = interval_ms if tracking else timestamp_from_ns(interval_ms * 1_000_000)
    metadata = () if header_version == 2 else None
    return Query(name_of_type=type_name, resolution=resolution, header_version=header_version, metadata=metadata)


class Answer(Wire, frozen=True, kw_only=True, eq=False):
    """RTS_ of a type: the query was heard; `status` 0 = success, 1 = error, None = not said."""

    TYPE: ClassVar[str] = "RTS_TDATA"

    name_of_type: str
    status: int | None = 0

    @property
    def type_name(self) -> str:
        """The type name in the header."""
        return self.name_of_type

    @classmethod
    def unpack(cls, content: memoryview, common: dict[str, Any], type_name: str) -> Self:
        """One byte, or none."""
        if len(content) > 1:
            refuse(type_name, f"content of {len(content)} bytes, must be 1")
        return cls(name_of_type=type_name, status=content[0] if content else None, **common)

    def pack(self) -> list[Buffer]:
        """One byte, or none."""
        return [] if self.status is None else [bytes((self.status,))]


_TRACKERS = ("TDATA", "QTDATA")

# Query names are cut to the 12 characters of the type field (igtlTransformMessage.h, igtlCapabilityMessage.h).
FULL_NAME = {"TRANS": "TRANSFORM", "CAPABIL": "CAPABILITY", "VMETA": "VIDEOMETA"}
_SHORT_NAME = {full: cut for cut, full in FULL_NAME.items()}
_SUBJECTS = (
    "TRANS", "POSITION", "QTRANS", "TDATA", "QTDATA", "IMAGE", "IMGMETA", "LBMETA", "VMETA", "POINT", "TRAJ",
    "POLYDATA", "STATUS", "STRING", "CAPABIL", "SENSOR", "NDARRAY", "BIND", "COLORT",
)  # fmt: skip
QUERY_TYPES = tuple(f"{verb}_{subject}" for verb in ("GET", "STT", "STP") for subject in _SUBJECTS)
ANSWER_TYPES = tuple(f"RTS_{subject}" for subject in _SUBJECTS)


def query_name(verb: str, subject: str) -> str:
    """The type name of a query or answer about `subject`, e.g. GET_TRANS for TRANSFORM."""
    return f"{verb}_{_SHORT_NAME.get(subject, subject)}"
