"""What a server has to offer: IMGMETA, LBMETA, VIDEOMETA, and the colours that go with labels: COLORT."""

import struct
from typing import Any, ClassVar, Self

import msgspec
import numpy as np
from numpy.typing import NDArray

from devices.openigtlink.bodies.base import Buffer, Wire, need_finite, need_size, read_rows, refuse
from devices.openigtlink.text import read_label, read_name, write_field, write_name

Triple = tuple[int, int, int]


class ImageMetaElement(msgspec.Struct, frozen=True):
    """One image that a server can give; `device_name` is what to ask for."""

    name: str
    device_name: str
    size: Triple
    scalar_type: int
    modality: str = ""
    patient_name: str = ""
    patient_id: str = ""
    timestamp: int = 0
    reserved: int = 0


_IMGMETA = struct.Struct(">64s20s32s64s64sQ3HBB")


class ImageMeta(Wire, frozen=True, kw_only=True, eq=False):
    """IMGMETA: the images that a server can give."""

    TYPE: ClassVar[str] = "IMGMETA"

    elements: tuple[ImageMetaElement, ...]

    @classmethod
    def unpack(cls, content: memoryview, common: dict[str, Any], type_name: str) -> Self:
        """260 bytes an image."""

        def read(row: memoryview) -> ImageMetaElement:
            name, device, modality, patient, patient_id, timestamp, i, j, k, scalar, reserved = _IMGMETA.unpack(row)
            return ImageMetaElement(
                read_label(name, "image"), read_name(device, "image device"), (i, j, k), scalar,
                read_label(modality, "modality"), read_label(patient, "patient name"),
                read_label(patient_id, "patient id"), timestamp, reserved,
            )  # fmt: skip

        return cls(elements=read_rows(type_name, content, _IMGMETA.size, read), **common)

    def pack(self) -> list[Buffer]:
        """260 bytes an image."""
        return [
            _IMGMETA.pack(
                write_field(e.name, 64, "image"), write_name(e.device_name, 20, "image device"),
                write_field(e.modality, 32, "modality"), write_field(e.patient_name, 64, "patient name"),
                write_field(e.patient_id, 64, "patient id"), e.timestamp, *e.size, e.scalar_type, e.reserved,
            )
            for e in self.elements
        ]  # fmt: skip


class LabelMetaElement(msgspec.Struct, frozen=True):
    """One label of a label image."""

    name: str
    device_name: str
    label: int
    rgba: tuple[int, int, int, int]
    size: Triple
    owner: str = ""
    reserved: int = 0


_LBMETA = struct.Struct(">64s20sBB4B3H20s")


class LabelMeta(Wire, frozen=True, kw_only=True, eq=False):
    """LBMETA: the labels that a server can give."""

    TYPE: ClassVar[str] = "LBMETA"

    elements: tuple[LabelMetaElement, ...]

    @classmethod
    def unpack(cls, content: memoryview, common: dict[str, Any], type_name: str) -> Self:
        """116 bytes a label."""

        def read(row: memoryview) -> LabelMetaElement:
            name, device, label, reserved, r, g, b, a, i, j, k, owner = _LBMETA.unpack(row)
            return LabelMetaElement(
                read_label(name, "label"), read_name(device, "label device"), label, (r, g, b, a), (i, j, k),
                read_name(owner, "label owner"), reserved,
            )  # fmt: skip

        return cls(elements=read_rows(type_name, content, _LBMETA.size, read), **common)

    def pack(self) -> list[Buffer]:
        """116 bytes a label."""
        return [
            _LBMETA.pack(
                write_field(e.name, 64, "label"), write_name(e.device_name, 20, "label device"), e.label, e.reserved,
                *e.rgba, *e.size, write_name(e.owner, 20, "label owner"),
            )
            for e in self.elements
        ]  # fmt: skip


_INDEX_COUNT = {3: 256, 5: 65536}
_MAP_BYTES = {3: 1, 5: 2, 19: 3}


class ColorTable(Wire, frozen=True, kw_only=True, eq=False):
    """COLORT (protocol 3) or COLORTABLE (protocol 2): `table` is (256 | 65536, bytes per entry) as sent."""

    TYPE: ClassVar[str] = "COLORT"

    index_type: int
    map_type: int
    table: bytes
    name_of_type: str = "COLORT"

    @property
    def type_name(self) -> str:
        """COLORT or COLORTABLE."""
        return self.name_of_type

    @property
    def entries(self) -> NDArray[Any]:
        """The table as numbers: (N,) uint8 or uint16, or (N, 3) uint8 for RGB."""
        if self.map_type == 19:
            return np.frombuffer(self.table, np.uint8).reshape(-1, 3)
        return np.frombuffer(self.table, ">u2" if self.map_type == 5 else "u1")

    @classmethod
    def unpack(cls, content: memoryview, common: dict[str, Any], type_name: str) -> Self:
        """Two type bytes and the table that they promise."""
        if len(content) < 2:
            refuse(type_name, f"content of {len(content)} bytes has no types")
        count, width = _INDEX_COUNT.get(content[0]), _MAP_BYTES.get(content[1])
        if count is None or width is None:
            refuse(type_name, f"index type {content[0]} and map type {content[1]} are not a colour table")
        need_size(type_name, content, 2 + count * width)
        return cls(
            index_type=content[0], map_type=content[1], table=bytes(content[2:]), name_of_type=type_name, **common
        )

    def pack(self) -> list[Buffer]:
        """Two type bytes and the table."""
        return [bytes((self.index_type, self.map_type)), self.table]


class VideoMetaElement(msgspec.Struct, frozen=True):
    """One video that a server can give; `columns` as in IMAGE."""

    name: str
    device_name: str
    size: Triple
    columns: tuple[float, ...]
    scalar_type: int
    patient_name: str = ""
    patient_id: str = ""
    zoom_level: int = 0
    focal_length_mm: float = 0.0
    reserved: int = 0


_VIDEOMETA = struct.Struct(">64s64s64s64shd3H12fBB")


class VideoMeta(Wire, frozen=True, kw_only=True, eq=False):
    """VIDEOMETA: the videos that a server can give."""

    TYPE: ClassVar[str] = "VIDEOMETA"

    elements: tuple[VideoMetaElement, ...]

    @classmethod
    def unpack(cls, content: memoryview, common: dict[str, Any], type_name: str) -> Self:
        """One fixed row a video."""

        def read(row: memoryview) -> VideoMetaElement:
            name, device, patient, patient_id, zoom, focal, i, j, k, *rest = _VIDEOMETA.unpack(row)
            need_finite(type_name, (focal, *rest[:12]))
            return VideoMetaElement(
                read_label(name, "video"), read_name(device, "video device"), (i, j, k), tuple(rest[:12]), rest[12],
                read_label(patient, "patient name"), read_label(patient_id, "patient id"), zoom, focal, rest[13],
            )  # fmt: skip

        return cls(elements=read_rows(type_name, content, _VIDEOMETA.size, read), **common)

    def pack(self) -> list[Buffer]:
        """One fixed row a video."""
        return [
            _VIDEOMETA.pack(
                write_field(e.name, 64, "video"), write_name(e.device_name, 64, "video device"),
                write_field(e.patient_name, 64, "patient name"), write_field(e.patient_id, 64, "patient id"),
                e.zoom_level, e.focal_length_mm, *e.size, *e.columns, e.scalar_type, e.reserved,
            )
            for e in self.elements
        ]  # fmt: skip
