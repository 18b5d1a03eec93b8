"""IMAGE: pixels and where they lie."""

import struct
from typing import Any, ClassVar, Literal, Self

import numpy as np
from numpy.typing import NDArray

from devices.errors import LocalProtocolError
from devices.openigtlink.bodies.base import Buffer, Wire, can_be_sent, need_finite, need_size, refuse

IMAGE_HEADER = struct.Struct(">HBBBB3H12f3H3H")
SCALARS = {2: "i1", 3: "u1", 4: "i2", 5: "u2", 6: "i4", 7: "u4", 10: "f4", 11: "f8"}
SCALAR_NUMBER = {np.dtype(name): number for number, name in SCALARS.items()}
BIG, LITTLE = 1, 2
RAS, LPS = 1, 2  # igtl_image.h: IGTL_IMAGE_COORD_RAS, IGTL_IMAGE_COORD_LPS
_BYTE_ORDER: dict[int, Literal["<", ">"]] = {BIG: ">", LITTLE: "<"}
_DTYPES = {(e, n): np.dtype(order + name) for e, order in _BYTE_ORDER.items() for n, name in SCALARS.items()}
Triple = tuple[int, int, int]


def native(pixels: NDArray[Any]) -> NDArray[Any]:
    """The one door for pixels: native byte order, aligned, C-contiguous and read-only, copied only if it must be.

    Compiled kernels misread foreign byte order silently and compile anew for unaligned arrays.
    """
    flags = pixels.flags
    if not (pixels.dtype.isnative and flags.aligned and flags.c_contiguous):
        pixels = np.require(pixels, pixels.dtype.newbyteorder("="), ["C", "A"])
    elif flags.writeable:
        pixels = pixels.view()
    pixels.setflags(write=False)
    return pixels


def _need_inside(type_name: str, size: Triple, offset: Triple, part: Triple) -> None:
    for whole, start, extent in zip(size, offset, part, strict=True):
        if not extent or start + extent > whole:
            refuse(type_name, f"sub-volume {part} at {offset} does not lie in a volume of {size}")


class ImageData(Wire, frozen=True, kw_only=True, eq=False):
    """IMAGE. `pixels` is native and read-only, [k, j, i] or [k, j, i, component], of the sub-volume.

    `size` is the whole volume (i, j, k); `columns` are the three axes (direction times spacing, mm)
    and the position of the CENTRE of the whole volume, in `coordinates` 1 = RAS or 2 = LPS
    (Documents/Protocol/image.md, note of 1/10/11). `endian` is the byte order used on the wire.
    """

    TYPE: ClassVar[str] = "IMAGE"

    pixels: NDArray[Any]
    columns: tuple[float, ...]
    size: Triple
    offset: Triple = (0, 0, 0)
    coordinates: int = RAS
    endian: int = LITTLE
    version: int = 1

    @classmethod
    def unpack(cls, content: memoryview, common: dict[str, Any], type_name: str) -> Self:
        """72 bytes of header and the pixels of the sub-volume, not one byte more or less."""
        if len(content) < IMAGE_HEADER.size:
            refuse(type_name, f"content of {len(content)} bytes has no image header")
        fields = IMAGE_HEADER.unpack_from(content)
        version, components, scalar, endian, coordinates = fields[:5]
        size, columns, offset, part = fields[5:8], fields[8:20], fields[20:23], fields[23:26]
        dtype = _DTYPES.get((endian, scalar))
        if dtype is None or version not in (1, 2) or not components or not 1 <= coordinates <= 2:
            refuse(
                type_name,
                f"version {version}, {components} components of scalar type {scalar}, byte order {endian}, "
                f"coordinates {coordinates}: not an image",
            )
        if part != size or offset != (0, 0, 0) or 0 in size:
            _need_inside(type_name, size, offset, part)
        need_finite(type_name, columns)
        need_size(type_name, content, IMAGE_HEADER.size + part[0] * part[1] * part[2] * components * dtype.itemsize)
        shape = (part[2], part[1], part[0]) if components == 1 else (part[2], part[1], part[0], components)
        pixels: NDArray[Any] = np.ndarray(shape, dtype, content, IMAGE_HEADER.size)
        return cls(
            pixels=native(pixels),
            columns=columns,
            size=size,
            offset=offset,
            coordinates=coordinates,
            endian=endian,
            version=version,
            **common,
        )

    def pack(self) -> list[Buffer]:
        """Header and pixels; the pixels are the array's own memory unless the byte order differs."""
        scalar = SCALAR_NUMBER.get(self.pixels.dtype) or SCALAR_NUMBER.get(self.pixels.dtype.newbyteorder("="))
        if scalar is None or not 3 <= self.pixels.ndim <= 4:
            raise LocalProtocolError(f"pixels {self.pixels.dtype}{self.pixels.shape} cannot be sent as IMAGE")
        k, j, i = self.pixels.shape[:3]
        components = self.pixels.shape[3] if self.pixels.ndim == 4 else 1
        if not (0 < components < 256 and 0 < max(self.size) < 65536 and min(k, j, i) > 0):
            raise LocalProtocolError(f"an image of {self.pixels.shape} does not fit IMAGE")
        can_be_sent(self.columns)
        head = IMAGE_HEADER.pack(
            self.version, components, scalar, self.endian, self.coordinates,
            *self.size, *self.columns, *self.offset, i, j, k,
        )  # fmt: skip
        wire = np.ascontiguousarray(self.pixels, _DTYPES[self.endian, scalar])
        return [head, wire.data.cast("B") if wire.dtype.isnative else wire.reshape(-1).view(np.uint8).data]
