"""MetaImage (.mha, .mhd): ITK's format, and the PLUS toolkit's first format for tracked ultrasound.

Source of the format: https://itk.org/Wiki/ITK/MetaIO/Documentation. Space is LPS, as ITK has it: row n
of `TransformMatrix` is the direction of image axis n. Local and detached data, raw and zlib, both
byte orders, several channels, 2 to 4 dimensions.
"""

from pathlib import Path

import numpy as np

from devices.messages import Matrix
from devices.recorded.encoding import data_beside, decode, pixel_bytes, read_rest
from devices.recorded.errors import RecordedDataError
from devices.recorded.grid import Grid
from devices.recorded.volume import DEFAULT_LIMITS, LPS, Limits, Pixels, Tags, Volume, affine

SUFFIXES = (".mha", ".mhd")

_TYPES = {
    "MET_CHAR": "i1",
    "MET_UCHAR": "u1",
    "MET_SHORT": "i2",
    "MET_USHORT": "u2",
    "MET_INT": "i4",
    "MET_UINT": "u4",
    "MET_LONG": "i4",
    "MET_ULONG": "u4",
    "MET_LONG_LONG": "i8",
    "MET_ULONG_LONG": "u8",
    "MET_FLOAT": "f4",
    "MET_DOUBLE": "f8",
}
_TRUTH = {"true": True, "1": True, "false": False, "0": False}


def _read_header(path: Path, limits: Limits) -> tuple[Tags, int]:
    fields: Tags = {}
    try:
        with path.open("rb") as file:
            while "ElementDataFile" not in fields:
                line = file.readline(limits.max_line_bytes)
                if file.tell() > limits.max_header_bytes:
                    raise RecordedDataError(path, "header", f"longer than {limits.max_header_bytes} bytes")
                key, equals, value = line.partition(b"=")
                if not equals or not line.endswith(b"\n"):
                    raise RecordedDataError(path, "header", f"line {len(fields) + 1} is cut or is not 'Key = value'")
                name = key.decode("utf-8").strip()
                if name in fields:
                    raise RecordedDataError(path, name, "stands twice in the header")
                fields[name] = value.decode("utf-8").strip()
            return fields, file.tell()
    except OSError as fault:
        raise RecordedDataError(path, "file", f"cannot be read: {fault}") from fault
    except UnicodeDecodeError as fault:
        raise RecordedDataError(path, "header", "is not text: not a MetaImage file") from fault


class _Fields:
    """Typed reading of header fields; every fault names its field."""

    def __init__(self, path: Path, fields: Tags) -> None:
        self.path = path
        self.fields = fields

    def text(self, *names: str, default: str | None = None) -> str:
        for name in names:
            if name in self.fields:
                return self.fields[name]
        if default is None:
            raise RecordedDataError(self.path, names[0], "is missing from the header")
        return default

    def flag(self, *names: str) -> bool:
        text = self.text(*names, default="False")
        if text.lower() not in _TRUTH:
            raise RecordedDataError(self.path, names[0], f"{text!r} is neither True nor False")
        return _TRUTH[text.lower()]

    def whole(self, count: int, *names: str, default: str | None = None) -> list[int]:
        text = self.text(*names, default=default)
        try:
            values = [int(word) for word in text.split()]
        except ValueError as fault:
            raise RecordedDataError(self.path, names[0], f"{text!r} is not {count} whole numbers") from fault
        if len(values) != count:
            raise RecordedDataError(self.path, names[0], f"{text!r} is not {count} whole numbers")
        return values

    def numbers(self, count: int, *names: str, default: str) -> list[float]:
        text = self.text(*names, default=default)
        try:
            values = [float(word) for word in text.split()]
        except ValueError as fault:
            raise RecordedDataError(self.path, names[0], f"{text!r} is not {count} numbers") from fault
        if len(values) != count or not np.isfinite(values).all():
            raise RecordedDataError(self.path, names[0], f"{text!r} is not {count} finite numbers")
        return values


def _geometry(fields: _Fields, dimensions: int, spatial: int) -> Matrix:
    ones = " ".join(["1"] * dimensions)
    zeros = " ".join(["0"] * dimensions)
    unit = " ".join("1" if n % (dimensions + 1) == 0 else "0" for n in range(dimensions**2))
    spacing = fields.numbers(dimensions, "ElementSpacing", "ElementSize", default=ones)
    origin = fields.numbers(dimensions, "Offset", "Position", "Origin", default=zeros)
    rows = fields.numbers(dimensions**2, "TransformMatrix", "Orientation", "Rotation", default=unit)
    directions = np.array(rows).reshape(dimensions, dimensions)
    steps = [(directions[n] * spacing[n])[:3].tolist() for n in range(spatial)]
    origin = origin[:3]
    if spatial < 3:  # a stack of single slices: (column, row) in the plane, and a slice 1 mm thick
        steps = [[*step[:spatial], 0.0] for step in steps] + [[0.0, 0.0, 1.0]]
        origin = [*origin[:spatial], 0.0]
    return affine(origin, steps)


def read_grid(path: Path, limits: Limits = DEFAULT_LIMITS) -> Grid:
    """The whole file, checked. Raises RecordedDataError naming the field that is wrong."""
    header, offset = _read_header(path, limits)
    fields = _Fields(path, header)
    (dimensions,) = fields.whole(1, "NDims")
    if not 2 <= dimensions <= 4:
        raise RecordedDataError(path, "NDims", f"{dimensions} dimensions; 2, 3 or 4 can be read")
    sizes = fields.whole(dimensions, "DimSize")
    kinds = fields.text(
        "Kinds", default=" ".join(["domain"] * min(dimensions, 3) + ["list"] * (dimensions - 3))
    ).split()
    if len(kinds) != dimensions or set(kinds[:-1]) != {"domain"}:
        raise RecordedDataError(path, "Kinds", f"{kinds} for {dimensions} axes; only the last may be a list")
    listed = kinds[-1] != "domain"
    spatial = dimensions - listed
    (channels,) = fields.whole(1, "ElementNumberOfChannels", default="1")
    shape = [*reversed(sizes[:spatial])]
    shape = ([sizes[-1]] if listed else []) + [1] * (3 - spatial) + shape + ([channels] if channels != 1 else [])
    pixels = _pixels(fields, shape, offset, limits)
    geometry = _geometry(fields, dimensions, spatial)
    return Grid(path, pixels, listed, channels != 1, geometry, LPS, header)


def _pixels(fields: _Fields, shape: list[int], offset: int, limits: Limits) -> Pixels:
    path = fields.path
    if 0 in shape:  # poses only; the element type and any bytes that follow mean nothing
        pixel_bytes(shape, 1, path, "DimSize", limits)
        return np.zeros(shape, dtype=np.uint8)
    kind = fields.text("ElementType")
    if kind not in _TYPES:
        raise RecordedDataError(path, "ElementType", f"{kind!r} is none of {sorted(_TYPES)}")
    if not fields.flag("BinaryData") and "BinaryData" in fields.fields:
        raise RecordedDataError(path, "BinaryData", "pixels as text are not read; save the file as binary")
    order = ">" if fields.flag("BinaryDataByteOrderMSB", "ElementByteOrderMSB") else "<"
    dtype = np.dtype(order + _TYPES[kind])
    total = pixel_bytes(shape, dtype.itemsize, path, "DimSize", limits)
    compressed = fields.flag("CompressedData")
    named = fields.text("ElementDataFile")
    source, start = (path, offset) if named.upper() == "LOCAL" else (data_beside(path, named, "ElementDataFile"), 0)
    most = total
    if compressed:
        (most,) = fields.whole(1, "CompressedDataSize", default="0")
        most = most or limits.max_pixel_bytes
        if not 0 < most <= limits.max_pixel_bytes:
            raise RecordedDataError(path, "CompressedDataSize", f"{most} bytes is no size of compressed pixels")
    return decode(read_rest(source, start, most, path), "gzip" if compressed else "raw", dtype, shape, path)


def read_volume(path: Path, *, limits: Limits = DEFAULT_LIMITS, assume_space: str | None = None) -> Volume:
    """One volume in RAS. `assume_space` has nothing to say here: MetaImage is LPS."""
    return read_grid(path, limits).volume(assume_space)
