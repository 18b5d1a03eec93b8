"""NRRD (.nrrd, .nhdr, .seg.nrrd): the format of 3D Slicer, and the PLUS toolkit's second one.

Source of the format: http://teem.sourceforge.net/nrrd/format.html. Attached and detached data, raw, gzip
and bzip2, both byte orders, `line skip` and `byte skip`, the patient spaces RAS, LAS and LPS by their
long and short names. Key-values (`name:=value`, such as a segmentation's) are kept beside the fields.
"""

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from devices.messages import Matrix
from devices.recorded.encoding import data_beside, decode, pixel_bytes, read_rest
from devices.recorded.errors import RecordedDataError
from devices.recorded.grid import Grid
from devices.recorded.volume import DEFAULT_LIMITS, LPS, RAS, Limits, Pixels, Tags, Volume, affine

SUFFIXES = (".nrrd", ".nhdr")

_TYPE_NAMES = {
    "i1": "signed char, int8, int8_t",
    "u1": "uchar, unsigned char, uint8, uint8_t",
    "i2": "short, short int, signed short, signed short int, int16, int16_t",
    "u2": "ushort, unsigned short, unsigned short int, uint16, uint16_t",
    "i4": "int, signed int, int32, int32_t",
    "u4": "uint, unsigned int, uint32, uint32_t",
    "i8": "longlong, long long, long long int, signed long long, signed long long int, int64, int64_t",
    "u8": "ulonglong, unsigned long long, unsigned long long int, uint64, uint64_t",
    "f4": "float",
    "f8": "double",
}
_TYPES = {name: code for code, names in _TYPE_NAMES.items() for name in names.split(", ")}
_ENCODINGS = {"raw": "raw", "gzip": "gzip", "gz": "gzip", "bzip2": "bzip2", "bz2": "bzip2"}
_ENDIAN = {"little": "<", "big": ">"}
_SHORT_SPACES = {
    "ras": RAS,
    "las": "left-anterior-superior",
    "lps": LPS,
}
_SPATIAL_KINDS = {"domain", "space"}
_VECTOR = re.compile(r"none|\([^()]*\)")


def _read_header(path: Path, limits: Limits) -> tuple[Tags, int]:
    """Fields in lower case, key-values as they are, and where the data begin."""
    fields: Tags = {}
    try:
        with path.open("rb") as file:
            magic = file.readline(16)
            if not re.fullmatch(rb"NRRD000[1-5]\r?\n", magic):
                raise RecordedDataError(path, "magic", f"{magic!r} is not NRRD0001 to NRRD0005")
            while line := file.readline(limits.max_line_bytes):
                if file.tell() > limits.max_header_bytes:
                    raise RecordedDataError(path, "header", f"longer than {limits.max_header_bytes} bytes")
                text = line.decode("utf-8").rstrip("\r\n")
                if not text:
                    return fields, file.tell()
                if not text.startswith("#"):
                    _add_line(fields, text, path)
            if "data file" not in fields:
                raise RecordedDataError(path, "header", "ends before its blank line: the file is cut")
            return fields, file.tell()
    except OSError as fault:
        raise RecordedDataError(path, "file", f"cannot be read: {fault}") from fault
    except UnicodeDecodeError as fault:
        raise RecordedDataError(path, "header", "holds bytes that are not text") from fault


def _add_line(fields: Tags, text: str, path: Path) -> None:
    found = re.match(r"(.+?)(:=|: )(.*)", text)
    if found is None:
        raise RecordedDataError(path, "header", f"line {text[:60]!r} is neither 'field: value' nor 'key:=value'")
    name, mark, value = found.groups()
    name = name.strip().lower() if mark == ": " else name
    name = {"datafile": "data file"}.get(name, name)
    if name in fields:
        raise RecordedDataError(path, name, "stands twice in the header")
    fields[name] = value.strip()


class _Header:
    """Typed reading of fields; every fault names its field."""

    def __init__(self, path: Path, fields: Tags) -> None:
        self.path = path
        self.fields = fields
        (dimension,) = self.whole("dimension", 1)
        if not 2 <= dimension <= 4:
            raise RecordedDataError(path, "dimension", f"{dimension} axes; 2, 3 or 4 can be read")
        self.sizes = self.whole("sizes", dimension)
        self.kinds = fields.get("kinds", "").lower().split() or ["domain"] * dimension
        if len(self.kinds) != dimension:
            raise RecordedDataError(path, "kinds", f"{self.kinds} for {dimension} axes")

    def text(self, name: str) -> str:
        if name not in self.fields:
            raise RecordedDataError(self.path, name, "is missing from the header")
        return self.fields[name]

    def whole(self, name: str, count: int, default: str | None = None) -> list[int]:
        text = self.fields.get(name, default) if default is not None else self.text(name)
        try:
            values = [int(word) for word in (text or "").split()]
        except ValueError as fault:
            raise RecordedDataError(self.path, name, f"{text!r} is not {count} whole numbers") from fault
        if len(values) != count:
            raise RecordedDataError(self.path, name, f"{text!r} is not {count} whole numbers")
        return values

    def choice(self, name: str, table: dict[str, str], text: str) -> str:
        if text.lower() not in table:
            raise RecordedDataError(self.path, name, f"{text!r} is none of {sorted(table)}")
        return table[text.lower()]

    def vectors(self, name: str) -> list[list[float] | None]:
        """`(a,b,c)` or `none`, several in a row."""
        text = self.text(name)
        found = _VECTOR.findall(text)
        if _VECTOR.sub("", text).strip():
            raise RecordedDataError(self.path, name, f"{text!r} is not a row of vectors")
        return [None if word == "none" else self.vector(name, word) for word in found]

    def vector(self, name: str, word: str) -> list[float]:
        try:
            values = [float(part) for part in word.strip("()").split(",")]
        except ValueError as fault:
            raise RecordedDataError(self.path, name, f"{word!r} is not a vector of numbers") from fault
        if not np.isfinite(values).all():
            raise RecordedDataError(self.path, name, f"{word!r} is not finite")
        return values


def _steps(header: _Header) -> list[list[float] | None]:
    """The step of every axis in space; None for an axis that is not spatial."""
    dimension = len(header.sizes)
    spatial = [kind in _SPATIAL_KINDS for kind in header.kinds]
    if "space directions" in header.fields:
        steps = header.vectors("space directions")
        if len(steps) != dimension:
            raise RecordedDataError(header.path, "space directions", f"{len(steps)} vectors for {dimension} axes")
        return [step if here else None for step, here in zip(steps, spatial, strict=True)]
    spacings = header.fields.get("spacings", " ".join(["1"] * dimension)).split()
    if len(spacings) != dimension:
        raise RecordedDataError(header.path, "spacings", f"{spacings} for {dimension} axes")
    result: list[list[float] | None] = []
    for axis, (spacing, here) in enumerate(zip(spacings, spatial, strict=True)):
        step = header.vector("spacings", spacing) if here and spacing.lower() != "nan" else None
        result.append(step and [step[0] if n == axis else 0.0 for n in range(dimension)])
    return result


def _axes(header: _Header) -> tuple[list[list[float]], bool, bool]:
    """Steps of the two or three spatial axes; whether the slowest axis is a list, the fastest a component."""
    steps = _steps(header)
    listed = len(steps) > 2 and (steps[-1] is None or (len(steps) == 4 and steps[0] is not None))
    components = steps[0] is None
    spatial = [step for step in steps[int(components) : len(steps) - listed] if step is not None]
    if len(spatial) + listed + components != len(steps) or not 2 <= len(spatial) <= 3:
        raise RecordedDataError(
            header.path, "kinds", f"{header.kinds}: only the first or last axis may be no space axis"
        )
    return spatial, listed, components


def _check_units(header: _Header) -> None:
    """`space units: "mm" "mm" "mm"`, or no word of it, which means mm."""
    words = set(re.findall(r'[^"\s]+', header.fields.get("space units", "")))
    other = sorted(words - {"mm", "millimeter", "millimetre", "???", "s", "ms"})  # the fourth axis may be time
    if other:
        raise RecordedDataError(header.path, "space units", f"{other}: only mm is read")


def _geometry(header: _Header, spatial: Sequence[Sequence[float]]) -> Matrix:
    _check_units(header)
    origin = (header.vectors("space origin") if "space origin" in header.fields else [None])[0] or [0.0, 0.0, 0.0]
    steps = [[*step[:3]] for step in spatial]
    if len(steps) == 2:  # single slices: a slice lies 1 mm thick along the normal of its plane
        flat = [np.array([*step, 0.0][:3]) for step in steps]
        normal = np.cross(flat[0], flat[1])
        length = float(np.linalg.norm(normal))
        if length == 0.0:
            raise RecordedDataError(header.path, "space directions", "the two axes of the image do not span a plane")
        steps = [*(step.tolist() for step in flat), (normal / length).tolist()]
    geometry = affine(origin[:3], steps)
    return affine(_first_voxel(header, geometry), steps)


def _first_voxel(header: _Header, geometry: Matrix) -> list[float]:
    """The first stored voxel's place.

    A segmentation written before Slicer 4.11 keeps the origin of the whole reference image and stores
    only `Segmentation_Extent` of it, so its first voxel lies at the extent's first corner.
    """
    extent = header.fields.get("Segmentation_Extent")
    corners = [0] * 6
    if extent is not None and "Segmentation_ReferenceImageExtentOffset" not in header.fields:
        corners = header.whole("Segmentation_Extent", 6)
    first: list[float] = (geometry @ [corners[0], corners[2], corners[4], 1.0])[:3].tolist()
    return first


def _space(header: _Header) -> str:
    named = header.fields.get("space", "").lower().removesuffix("-time")
    if named in {name + "t" for name in _SHORT_SPACES}:
        named = named[:-1]
    if not named and any(key.startswith("Segmentation_") for key in header.fields):
        return RAS  # four axes have no name in NRRD; Slicer then writes its own space
    return _SHORT_SPACES.get(named, named)


def _pixels(header: _Header, shape: list[int], offset: int, limits: Limits) -> Pixels:
    path = header.path
    code = header.choice("type", _TYPES, header.text("type"))
    order = "<"
    if np.dtype(code).itemsize > 1 and 0 not in shape:
        order = header.choice("endian", _ENDIAN, header.text("endian"))
    dtype = np.dtype(order + code)
    total = pixel_bytes(shape, dtype.itemsize, path, "sizes", limits)
    if total == 0:
        return np.zeros(shape, dtype=dtype.newbyteorder("="))
    encoding = header.choice("encoding", _ENCODINGS, header.text("encoding"))
    (lines,) = header.whole("line skip", 1, default="0")
    (skip,) = header.whole("byte skip", 1, default="0")
    source, start = path, offset
    if "data file" in header.fields:
        source, start = data_beside(path, header.fields["data file"], "data file"), 0
    most = limits.max_pixel_bytes if encoding != "raw" or lines or skip else total
    data = read_rest(source, start, most, path)
    for _ in range(min(lines, len(data))):
        data = data.partition(b"\n")[2]
    if skip and encoding != "raw":
        raise RecordedDataError(path, "byte skip", "is not read together with compression")
    data = data[-total:] if skip == -1 else data[max(skip, 0) :]
    return decode(data, encoding, dtype, shape, path)


def read_grid(path: Path, limits: Limits = DEFAULT_LIMITS) -> Grid:
    """The whole file, checked. Raises RecordedDataError naming the field that is wrong."""
    fields, offset = _read_header(path, limits)
    header = _Header(path, fields)
    spatial, listed, components = _axes(header)
    shape = [*reversed(header.sizes)]
    if len(spatial) == 2:
        shape.insert(int(listed), 1)
    pixels = _pixels(header, shape, offset, limits)
    return Grid(path, pixels, listed, components, _geometry(header, spatial), _space(header), fields)


def read_volume(path: Path, *, limits: Limits = DEFAULT_LIMITS, assume_space: str | None = None) -> Volume:
    """One volume in RAS; key-values in `tags`. A file without a patient space needs `assume_space`."""
    return read_grid(path, limits).volume(assume_space)
