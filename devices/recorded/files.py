"""Paths as a scenario writes them, and which reader reads which file.

One face for every format: `read_volume(path)` and `read_series(path)`.
"""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from devices.recorded import dicom, metaimage, nifti, nrrd
from devices.recorded.errors import RecordedDataError
from devices.recorded.fieldmap import read_fieldmap
from devices.recorded.grid_series import read_metaimage_series, read_nrrd_series
from devices.recorded.volume import DEFAULT_LIMITS, Limits, Series, Volume

_VARIABLE = re.compile(r"\$\{(\w+)\}")


def find(path: str | Path, environment: Mapping[str, str] = os.environ) -> Path:
    """The path with every `${NAME}` taken from `environment`; RecordedDataError where either is absent."""

    def value(found: re.Match[str]) -> str:
        if not environment.get(found[1]):
            raise RecordedDataError(path, found[1], f"set {found[1]} to the folder of recordings; it is not set")
        return environment[found[1]]

    expanded = Path(_VARIABLE.sub(value, str(path)))
    if not expanded.exists():
        raise RecordedDataError(expanded, "path", "is not there")
    return expanded


class VolumeReader(Protocol):
    """Reads one volume; see `read_volume`."""

    def __call__(self, path: Path, *, limits: Limits = ..., assume_space: str | None = ...) -> Volume:
        """Raises RecordedDataError naming the file and the field."""
        ...


class SeriesReader(Protocol):
    """Reads a series of frames; see `read_series`."""

    def __call__(
        self, path: Path, *, limits: Limits = ..., period_s: float | None = ..., assume_space: str | None = ...
    ) -> Series:
        """Raises RecordedDataError naming the file and the field."""
        ...


@dataclass(frozen=True)
class Kind:
    """One kind of file: the endings of its names, and its readers (None where it is no volume)."""

    suffixes: tuple[str, ...]
    volume: VolumeReader | None
    series: SeriesReader


KINDS: dict[str, Kind] = {
    "metaimage": Kind(metaimage.SUFFIXES, metaimage.read_volume, read_metaimage_series),
    "nrrd": Kind(nrrd.SUFFIXES, nrrd.read_volume, read_nrrd_series),
    "nifti": Kind(nifti.SUFFIXES, nifti.read_volume, nifti.read_series),
    "dicom": Kind(dicom.SUFFIXES, dicom.read_volume, dicom.read_series),
    "fieldmap": Kind((), None, read_fieldmap),
}


def kind_of(path: Path) -> str:
    """The kind by the name's ending; a folder is a field map if it holds a phase difference, else DICOM."""
    if path.is_dir():
        return "fieldmap" if any(path.glob("*_phasediff.nii*")) else "dicom"
    name = path.name.lower()
    for kind, row in KINDS.items():
        if name.endswith(row.suffixes or ("\0",)):
            return kind
    known = sorted(suffix for row in KINDS.values() for suffix in row.suffixes)
    raise RecordedDataError(path, "name", f"ends in none of {known}; say kind, one of {sorted(KINDS)}")


def _row(path: Path, kind: str) -> tuple[str, Kind]:
    named = kind_of(path) if kind == "auto" else kind
    if named not in KINDS:
        raise RecordedDataError(path, "kind", f"{named!r} is none of {sorted(KINDS)}")
    return named, KINDS[named]


def read_volume(
    path: str | Path, *, kind: str = "auto", limits: Limits = DEFAULT_LIMITS, assume_space: str | None = None
) -> Volume:
    """One volume in RAS from any file (or DICOM folder) of the table above.

    `assume_space` names the patient space of a file that names none ("left-posterior-superior" ...); without it
    such a file is refused. Raises RecordedDataError naming the file and the field.
    """
    there = Path(path)
    named, row = _row(there, kind)
    if row.volume is None:
        raise RecordedDataError(there, "kind", f"{named} is a series in time, not a volume")
    return row.volume(there, limits=limits, assume_space=assume_space)


def read_series(
    path: str | Path,
    *,
    kind: str = "auto",
    limits: Limits = DEFAULT_LIMITS,
    period_s: float | None = None,
    assume_space: str | None = None,
) -> Series:
    """Frames in time from any file (or folder) of the table above.

    `period_s` gives the frames their times where the file gives none. Raises RecordedDataError.
    """
    there = Path(path)
    return _row(there, kind)[1].series(there, limits=limits, period_s=period_s, assume_space=assume_space)
