"""Writers of small files, so that every variant of a format can be tested without real data."""

import bz2
import gzip
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

_MET = {"i1": "CHAR", "u1": "UCHAR", "i2": "SHORT", "u2": "USHORT", "i4": "INT", "f4": "FLOAT", "f8": "DOUBLE"}
_NRRD = {"i1": "int8", "u1": "uchar", "i2": "short", "u2": "uint16", "i4": "int", "f4": "float", "f8": "double"}
_ENCODE = {"raw": bytes, "gzip": gzip.compress, "gz": gzip.compress, "bzip2": bz2.compress}

Writer = Callable[..., Path]


@pytest.fixture
def write_mha(tmp_path: Path) -> Writer:
    """`write_mha(array[k, j, i], compressed=, detached=, big=, channels=, fields={...}, name=)`; fields override."""

    def write(
        array: np.ndarray[Any, Any],
        *,
        compressed: bool = False,
        detached: bool = False,
        big: bool = False,
        channels: int = 1,
        fields: dict[str, str | None] | None = None,
        name: str = "image.mha",
    ) -> Path:
        sizes = array.shape[: array.ndim - (channels > 1)][::-1]
        data = array.astype(array.dtype.newbyteorder(">" if big else "<")).tobytes()
        data = zlib.compress(data) if compressed else data
        header: dict[str, str | None] = {
            "ObjectType": "Image",
            "NDims": str(len(sizes)),
            "BinaryData": "True",
            "BinaryDataByteOrderMSB": str(big),
            "CompressedData": str(compressed),
            "CompressedDataSize": str(len(data)) if compressed else None,
            "DimSize": " ".join(map(str, sizes)),
            "ElementNumberOfChannels": str(channels) if channels > 1 else None,
            "ElementType": "MET_" + _MET[array.dtype.str[1:]],
        }
        header |= fields or {}
        header["ElementDataFile"] = (fields or {}).get("ElementDataFile", "image.zraw" if detached else "LOCAL")
        text = "".join(f"{key} = {value}\n" for key, value in header.items() if value is not None)
        path = tmp_path / name
        path.write_bytes(text.encode() + (b"" if detached else data))
        if detached:
            (tmp_path / "image.zraw").write_bytes(data)
        return path

    return write


@pytest.fixture
def write_nrrd(tmp_path: Path) -> Writer:
    """`write_nrrd(array[k, j, i], encoding=, detached=, big=, fields={...}, values={...}, before=b"", name=)`."""

    def write(
        array: np.ndarray[Any, Any],
        *,
        encoding: str = "raw",
        detached: bool = False,
        big: bool = False,
        fields: dict[str, str | None] | None = None,
        values: dict[str, str] | None = None,
        before: bytes = b"",
        name: str = "image.nrrd",
    ) -> Path:
        data = before + _ENCODE[encoding](array.astype(array.dtype.newbyteorder(">" if big else "<")).tobytes())
        header: dict[str, str | None] = {
            "type": _NRRD[array.dtype.str[1:]],
            "dimension": str(array.ndim),
            "space": "left-posterior-superior",
            "sizes": " ".join(map(str, array.shape[::-1])),
            "space directions": "(1,0,0) (0,1,0) (0,0,1)",
            "space origin": "(0,0,0)",
            "endian": "big" if big else "little",
            "encoding": encoding,
            "data file": "image.raw" if detached else None,
        }
        header |= fields or {}
        lines = ["NRRD0004", "# a comment"]
        lines += [f"{key}: {value}" for key, value in header.items() if value is not None]
        lines += [f"{key}:={value}" for key, value in (values or {}).items()]
        path = tmp_path / name
        head = ("\n".join(lines) + "\n").encode()
        path.write_bytes(head + (b"" if detached else b"\n" + data))
        if detached:
            (tmp_path / "image.raw").write_bytes(data)
        return path

    return write


@pytest.fixture
def write_sequence(write_mha: Writer) -> Writer:
    """`write_sequence(images[n, row, column], frames=[{field: text}, ...], orientation=)` in MetaImage."""

    def write(
        images: np.ndarray[Any, Any],
        frames: list[dict[str, str]],
        *,
        orientation: str = "MFA",
        fields: dict[str, str | None] | None = None,
        name: str = "take.igs.mha",
    ) -> Path:
        header: dict[str, str | None] = {
            "Kinds": " ".join(["domain"] * (images.ndim - 1) + ["list"]),
            "UltrasoundImageOrientation": orientation,
        }
        for index, frame in enumerate(frames):
            header |= {f"Seq_Frame{index:04d}_{field}": text for field, text in frame.items()}
        return write_mha(images, fields=header | (fields or {}), name=name)

    return write
