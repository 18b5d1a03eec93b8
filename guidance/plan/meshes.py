"""Surfaces as Slicer writes them: .stl (binary or text) and .vtp (contours or triangles), turned to RAS."""

import base64
import binascii
import struct
import xml.etree.ElementTree as ET
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from guidance.plan.segments import SegmentError

MOST_BYTES = 256 << 20
_TYPES = {"Float32": "<f4", "Float64": "<f8", "Int32": "<i4", "Int64": "<i8", "UInt8": "|u1", "UInt32": "<u4"}
_FLIP = np.array([-1.0, -1.0, 1.0])


@dataclass(frozen=True, eq=False)
class PolyData:
    """Points (N, 3) RAS mm, and cells as lists of point numbers."""

    points_mm: NDArray[np.float64]
    lines: list[NDArray[np.int64]]
    polygons: list[NDArray[np.int64]]

    def triangles(self) -> NDArray[np.int64]:
        """Every polygon as a fan of triangles (M, 3)."""
        rows = [(cell[0], cell[n], cell[n + 1]) for cell in self.polygons for n in range(1, len(cell) - 1)]
        return np.array(rows, np.int64).reshape(-1, 3)


def read_surface(path: Path, space: str = "LPS") -> PolyData:
    """A surface file whose numbers are in `space` (Slicer has written LPS since 4.11, RAS before)."""
    if path.stat().st_size > MOST_BYTES:
        raise SegmentError(f"is larger than {MOST_BYTES >> 20} MiB")
    readers = {".stl": _stl, ".vtp": _vtp}
    if path.suffix not in readers:
        raise SegmentError(f"{path.suffix or 'no suffix'} is not one of {sorted(readers)}")
    found = readers[path.suffix](path)
    if not np.isfinite(found.points_mm).all():
        raise SegmentError("has points that are not finite")
    return PolyData(found.points_mm * _FLIP, found.lines, found.polygons) if space == "LPS" else found


def _stl(path: Path) -> PolyData:
    data = path.read_bytes()
    count = struct.unpack_from("<I", data, 80)[0] if len(data) >= 84 else -1
    if count > 0 and len(data) == 84 + 50 * count:
        rows = np.frombuffer(
            data, np.dtype([("normal", "<f4", 3), ("corners", "<f4", (3, 3)), ("tag", "<u2")]), offset=84
        )
        corners = rows["corners"].astype(np.float64).reshape(-1, 3)
    else:
        words = data.decode("ascii", "replace").split()
        try:
            numbers = [float(w) for n, w in enumerate(words) if "vertex" in words[max(0, n - 3) : n]]
        except ValueError as fault:
            raise SegmentError(f"is neither a binary nor a text STL: {fault}") from fault
        if not numbers or len(numbers) % 9:
            raise SegmentError("is neither a binary nor a text STL")
        corners = np.array(numbers).reshape(-1, 3)
    points, number = np.unique(corners, axis=0, return_inverse=True)
    return PolyData(points, [], list(number.reshape(-1, 3).astype(np.int64)))


def _vtp(path: Path) -> PolyData:
    try:
        root = ET.parse(path).getroot()
    except ET.ParseError as fault:
        raise SegmentError(f"is not XML: {fault}") from fault
    piece = root.find("./PolyData/Piece")
    compressor = root.get("compressor", "")
    if piece is None or root.get("byte_order") != "LittleEndian" or compressor not in ("", "vtkZLibDataCompressor"):
        raise SegmentError("is not a little-endian VTK PolyData file with zlib or no compression")
    header = "<u8" if root.get("header_type") == "UInt64" else "<u4"
    points = piece.find("./Points/DataArray")
    if points is None:
        raise SegmentError("has no points")
    flat = _array(points, header, bool(compressor)).astype(np.float64)
    if len(flat) % 3:
        raise SegmentError(f"{len(flat)} coordinates are no points")
    found = [_cells(piece, name, header, compressor, len(flat) // 3) for name in ("Lines", "Polys")]
    return PolyData(flat.reshape(-1, 3), *found)


def _cells(piece: ET.Element, name: str, header: str, compressor: str, count: int) -> list[NDArray[np.int64]]:
    arrays = {array.get("Name"): array for array in piece.findall(f"./{name}/DataArray")}
    if not {"connectivity", "offsets"} <= arrays.keys():
        return []
    cells = _array(arrays["connectivity"], header, bool(compressor)).astype(np.int64)
    ends = _array(arrays["offsets"], header, bool(compressor)).astype(np.int64)
    if len(cells) and (cells.min() < 0 or cells.max() >= count):
        raise SegmentError(f"{name}: a cell names a point that is not among the {count}")
    if (np.diff(ends, prepend=0) < 1).any() or int(ends[-1] if len(ends) else 0) != len(cells):
        raise SegmentError(f"{name}: the offsets do not divide the {len(cells)} numbers into cells")
    return np.split(cells, ends[:-1]) if len(ends) else []


def _array(element: ET.Element, header: str, compressed: bool) -> NDArray[np.float64] | NDArray[np.int64]:
    dtype = _TYPES.get(element.get("type", ""))
    text = "".join((element.text or "").split())
    if dtype is None or element.get("format") not in ("binary", "ascii"):
        raise SegmentError(f"{element.get('Name')}: {element.get('type')} {element.get('format')} cannot be read")
    try:
        if element.get("format") == "ascii":
            return np.array((element.text or "").split(), dtype)
        raw = _decoded(text, header, compressed)
        found: NDArray[np.float64] = np.frombuffer(raw, dtype)
    except (binascii.Error, zlib.error, struct.error, ValueError, IndexError, OverflowError) as fault:
        raise SegmentError(f"{element.get('Name')}: cannot be decoded: {fault}") from fault
    return found


def _decoded(text: str, header: str, compressed: bool) -> bytes:
    word = np.dtype(header).itemsize
    if not compressed:
        return base64.b64decode(text)[word:]
    first = np.frombuffer(base64.b64decode(text[: 4 * -(-word * 3 // 3)])[: 3 * word], header)
    blocks = int(first[0])
    length = 4 * -(-word * (3 + blocks) // 3)
    sizes = np.frombuffer(base64.b64decode(text[:length]), header)[3 : 3 + blocks].astype(int)
    body = base64.b64decode(text[length:])
    ends = np.cumsum(sizes)
    parts = [zlib.decompress(body[end - size : end]) for end, size in zip(ends, sizes, strict=True)]
    if sum(len(part) for part in parts) > MOST_BYTES:
        raise ValueError("too large")
    return b"".join(parts)
