"""From bytes in a file to pixels, never larger than the header says."""

import bz2
import math
import os
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from devices.recorded.errors import RecordedDataError
from devices.recorded.volume import Limits, Pixels, read_only

_ZLIB_OR_GZIP = 47  # window bits: the header of the stream says which


def _inflate(data: bytes, expected: int) -> bytes:
    parts: list[bytes] = []
    wanted = expected + 1  # one more than allowed, so that the checksum is read and an excess is seen
    rest = data
    while rest and wanted > 0:  # a gzip file may have several members
        stream = zlib.decompressobj(_ZLIB_OR_GZIP)
        part = stream.decompress(rest, wanted)
        parts.append(part)
        wanted -= len(part)
        if not stream.eof:
            if wanted > 0:
                raise EOFError("the compressed data end too early")
            break
        if wanted == 1:
            break  # all is there; what follows belongs to no pixel
        rest = stream.unused_data
    return b"".join(parts)


def _bunzip(data: bytes, expected: int) -> bytes:
    stream = bz2.BZ2Decompressor()
    out = stream.decompress(data, expected + 1)
    if len(out) <= expected and not stream.eof:
        raise EOFError("the compressed data end too early")
    return out


_DECODERS: dict[str, Callable[[bytes, int], bytes]] = {
    "raw": lambda data, expected: data[:expected],
    "gzip": _inflate,
    "bzip2": _bunzip,
}


def pixel_bytes(shape: Sequence[int], item_bytes: int, path: Path, field: str, limits: Limits) -> int:
    """Bytes of an array of `shape`; RecordedDataError above the limit or where an extent is negative."""
    if any(extent < 0 for extent in shape):
        raise RecordedDataError(path, field, f"extents {list(shape)} are not sizes")
    total = math.prod(shape) * item_bytes
    if total > limits.max_pixel_bytes:
        raise RecordedDataError(path, field, f"{total} bytes of pixels, above the limit of {limits.max_pixel_bytes}")
    return total


def decode(data: bytes, encoding: str, dtype: np.dtype[np.generic], shape: Sequence[int], path: Path) -> Pixels:
    """Pixels of `shape`, native and read-only, from `data`.

    Decompression stops one byte beyond what `shape` needs, so a small file cannot grow without bound;
    anything but exactly the right number of bytes is a RecordedDataError.
    """
    expected = math.prod(shape) * dtype.itemsize
    try:
        plain = _DECODERS[encoding](data, expected)
    except (zlib.error, OSError, EOFError) as fault:
        raise RecordedDataError(path, "pixels", f"damaged {encoding} data: {fault}") from fault
    if len(plain) != expected:
        amount = "more" if len(plain) > expected else f"{len(plain)}"
        raise RecordedDataError(path, "pixels", f"{amount} bytes where {list(shape)} {dtype} needs {expected}")
    return read_only(np.frombuffer(plain, dtype=dtype).reshape(tuple(shape)))


def data_beside(path: Path, named: str, field: str) -> Path:
    """The data file that a header names: beside or below the header, nowhere else."""
    if named.upper().startswith("LIST") or "%" in named:
        raise RecordedDataError(path, field, "a list of data files is not read; save as one file")
    target = Path(named)
    if not named or not named.isprintable() or target.is_absolute() or ".." in target.parts:
        raise RecordedDataError(path, field, f"data file {named!r} must lie beside its header")
    return path.parent / target


def read_rest(path: Path, offset: int, most: int, named_by: Path) -> bytes:
    """At most `most` bytes of the file from `offset` on; RecordedDataError where it cannot be read."""
    try:
        with path.open("rb") as file:
            there = os.fstat(file.fileno()).st_size - offset
            file.seek(offset)
            return file.read(max(0, min(most, there)))
    except OSError as fault:
        raise RecordedDataError(named_by, "data file", f"cannot read {path.name}: {fault}") from fault
