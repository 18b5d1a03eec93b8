"""Frames for pages: a header and raw layers in one binary message, as docs/console-protocol.md says.

    uint32 little-endian   length of the header in bytes
    header                 JSON, padded with blanks so that layers begin on a multiple of eight
    layers                 in the order of the header, each padded to a multiple of eight

Values are uint16 or uint8; value = raw * scale + offset, and the highest raw value of a
layer that has `missing` means that nothing was measured there. A layer with a `box` tells only the
voxels within it; all others are `outside`.
"""

import struct
from collections.abc import Iterable
from typing import Any

import cv2
import msgspec
import numba
import numpy as np
from numpy.typing import NDArray

MISSING = 65535
JPEG_QUALITY = 80
Box = tuple[tuple[int, int], ...]
WHITE_SHARE = 0.998  # of a picture's pixels are darker than what is shown as white
_ALIGN = 8


class Layer(msgspec.Struct, frozen=True):
    """One raw layer: `values` uint8 or uint16 [slice, row, column], and what they mean."""

    name: str
    values: NDArray[Any]
    unit: str = ""
    scale: float = 1.0
    offset: float = 0.0
    missing: bool = False
    white: float | None = None  # value to show as white: all but the brightest 0.2 % are darker
    box: Box | None = None  # (first, end) of slices, rows and columns that `values` holds; None: of all
    outside: int = 0  # the raw value of all others

    def described(self) -> dict[str, Any]:
        """Its row in the header."""
        return {
            "name": self.name,
            "type": "jpeg" if self.name == "jpeg" else self.values.dtype.name,
            "bytes": self.values.nbytes,
            "unit": self.unit,
            "scale": self.scale,
            "offset": self.offset,
            "missing": MISSING if self.missing else None,
            "white": self.white,
            "box": self.box,
            "outside": self.outside,
        }

    def cut(self, outside: int) -> "Layer":
        """The same voxels, told without most of those that are only `outside`."""
        told = self.values != outside
        ends = [np.flatnonzero(told.any(axis=axes)) for axes in ((1, 2), (0, 2), (0, 1))]
        box = tuple((int(some[0]), int(some[-1]) + 1) if some.size else (0, 0) for some in ends)
        values = self.values[tuple(slice(*pair) for pair in box)]
        return msgspec.structs.replace(self, values=values, box=box, outside=outside)


_IN = numba.types.Array(numba.float32, 1, "C", readonly=True)
_SAYS = numba.types.Array(numba.boolean, 1, "C", readonly=True)


@numba.njit(numba.void(_IN, _SAYS, numba.float64, numba.float64, numba.uint16[::1]), cache=True)
def _quantise(values, known, scale, offset, out):  # type: ignore[no-untyped-def]
    """Writes what `quantised` says. It keeps the interpreter: to get it back would take longer than the work."""
    most, per_step = offset + scale * (MISSING - 1), 1.0 / scale
    for n in range(values.size):
        value = np.float64(values[n])
        held = min(max(value, offset), most)
        out[n] = np.uint16((held - offset) * per_step + 0.5) if known[n] and np.isfinite(value) else MISSING


def quantised(
    name: str, values: NDArray[Any], unit: str, scale: float, offset: float, valid: NDArray[np.bool_] | None = None
) -> Layer:
    """`values` as uint16 in steps of `scale` from `offset`; not valid or not finite becomes `MISSING`.

    Values beyond the range take its end, so that hot stays hot.
    """
    flat = np.ascontiguousarray(values, np.float32).reshape(-1)
    known = np.ones(flat.size, np.bool_) if valid is None else np.ascontiguousarray(valid, np.bool_).reshape(-1)
    raw = np.empty(values.shape, np.uint16)
    _quantise(flat, known, scale, offset, raw.reshape(-1))
    return Layer(name, raw, unit, scale, offset, missing=True)


def log_quantised(name: str, values: NDArray[Any], unit: str, scale: float, offset: float, least: float) -> Layer:
    """log10 of `values` as uint16 in steps of `scale` from `offset`; below `least` it is raw 0."""
    raw = np.zeros(values.shape, np.uint16)
    some = values >= least
    held = np.log10(values[some].astype(np.float64)) - offset
    raw[some] = (np.clip(held, 0.0, scale * (MISSING - 1)) * (1.0 / scale) + 0.5).astype(np.uint16)
    return Layer(name, raw, unit, scale, offset, missing=True)


def grey(name: str, values: NDArray[Any]) -> Layer:
    """A grey picture: integers as they are, everything else scaled to 16 bits by its brightest value."""
    some = values[..., ::4, ::4]
    if values.dtype == np.uint8:
        darker = np.cumsum(np.bincount(some.reshape(-1), minlength=256))
        white = float(np.searchsorted(darker, WHITE_SHARE * some.size)) or 1.0
        return Layer(name, np.ascontiguousarray(values), white=white)
    white = float(np.percentile(some, 100.0 * WHITE_SHARE)) or 1.0
    brightest = float(values.max(initial=0.0)) or 1.0
    return msgspec.structs.replace(quantised(name, values, "", brightest / (MISSING - 1), 0.0), white=white)


def jpeg(pixels: NDArray[np.uint8]) -> Layer:
    """A video picture (row, column) or (row, column, RGB) as JPEG: to look at, never to measure in."""
    colour = pixels if pixels.ndim == 2 else cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR)
    good, data = cv2.imencode(".jpg", colour, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    if not good:
        raise ValueError(f"a picture of {pixels.shape} {pixels.dtype} cannot be told as JPEG")
    return Layer("jpeg", data.reshape(-1))


def pack(header: dict[str, Any], layers: Iterable[Layer]) -> bytes:
    """One binary message."""
    rows = list(layers)
    described = {**header, "layers": [row.described() for row in rows]}
    text = msgspec.json.encode(described)
    text += b" " * (-(len(text) + 4) % _ALIGN)
    parts = [struct.pack("<I", len(text)), text]
    for row in rows:
        parts += [row.values.tobytes(), b"\0" * (-row.values.nbytes % _ALIGN)]
    return b"".join(parts)
