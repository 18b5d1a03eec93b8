"""DICOM images: a classic series of files, an enhanced multi-frame file, an RT dose grid, an XA or US cine.

Slices are sorted by where they lie, never by file name; positions that repeat are a series in time.
Images with a patient position come in RAS; X-ray and ultrasound cine without one come in the
frame "Image". Frames are decoded when they are asked for.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.pixels import pixel_array
from pydicom.uid import UID

from devices.messages import Matrix
from devices.recorded.dicom_header import acquired_ns, cine_times, moment_ns, numbers, read_header, reading, tags_of
from devices.recorded.encoding import pixel_bytes
from devices.recorded.errors import RecordedDataError
from devices.recorded.grid_series import check_times, even_times
from devices.recorded.planes import Plane, lps_from_stack, plane, stacks
from devices.recorded.volume import (
    DEFAULT_LIMITS,
    Limits,
    Pixels,
    Series,
    Tags,
    Volume,
    matrix,
    ras_from_lps,
    read_only,
)

SUFFIXES = (".dcm", ".ima", ".dicom")

MAX_FILES = 20_000
_NS = 1_000_000_000
_SEGMENTATION = UID("1.2.840.10008.5.1.4.1.1.66.4")
_CENTIMETRES = 3  # Physical Units X/Y Direction
_IMAGE_2D = 1  # Region Spatial Format


@dataclass(frozen=True, eq=False)
class _Slice:
    """One frame of one file: where it lies, when it was acquired, and how its numbers become values."""

    path: Path
    index: int | None  # frame within a multi-frame file
    plane: Plane | None
    acquired_ns: int | None
    number: int
    slope: float
    intercept: float
    shape: tuple[int, ...]
    bits: int
    thickness_mm: float
    spacing_mm: tuple[float, float]  # column, row; for images without a plane


@dataclass(frozen=True, eq=False)
class _Loaded:
    slices: list[_Slice]
    header: pydicom.Dataset
    tags: Tags


def _groups(header: pydicom.Dataset, index: int, name: str) -> pydicom.Dataset | None:
    """A functional group of an enhanced frame: its own, else the shared one."""
    frames = header.get("PerFrameFunctionalGroupsSequence")
    shared = header.get("SharedFunctionalGroupsSequence")
    for place in ([frames[index]] if frames else []) + ([shared[0]] if shared else []):
        if place.get(name):
            group: pydicom.Dataset = place[name].value[0]
            return group
    return None


def _plane(path: Path, header: pydicom.Dataset, index: int) -> Plane | None:
    enhanced = "PerFrameFunctionalGroupsSequence" in header
    names = ("PlaneOrientationSequence", "PlanePositionSequence", "PixelMeasuresSequence")
    places = [_groups(header, index, name) if enhanced else header for name in names]
    keywords = ("ImageOrientationPatient", "ImagePositionPatient", "PixelSpacing")
    values = [None if place is None else numbers(place, key) for place, key in zip(places, keywords, strict=True)]
    if values[0] is None or values[1] is None:
        return None
    if values[2] is None:
        raise RecordedDataError(path, "PixelSpacing", "is missing from an image that has a position")
    here = plane(path, values[0], values[1], values[2])
    offsets = numbers(header, "GridFrameOffsetVector")
    if offsets is None:
        return here
    if index >= len(offsets) or offsets[0] != 0.0:
        raise RecordedDataError(
            path, "GridFrameOffsetVector", f"{len(offsets)} offsets from {offsets[0]}: not relative, or too few"
        )
    return Plane(here.origin_mm + offsets[index] * here.normal, here.column_mm, here.row_mm)


def _rescale(header: pydicom.Dataset, index: int) -> tuple[float, float]:
    place = _groups(header, index, "PixelValueTransformationSequence") or header
    slope = (numbers(place, "RescaleSlope") or [1.0])[0] * (numbers(header, "DoseGridScaling") or [1.0])[0]
    return slope, (numbers(place, "RescaleIntercept") or [0.0])[0]


def _spacing(header: pydicom.Dataset) -> tuple[tuple[float, float], str]:
    """(column, row) mm of an image without a position, and where that comes from."""
    for keyword in ("PixelSpacing", "ImagerPixelSpacing"):  # the second lies at the detector
        value = numbers(header, keyword)
        if value is not None:
            return (value[1], value[0]), keyword
    for region in header.get("SequenceOfUltrasoundRegions") or ():
        units = (region.get("PhysicalUnitsXDirection"), region.get("PhysicalUnitsYDirection"))
        if units == (_CENTIMETRES, _CENTIMETRES) and region.get("RegionSpatialFormat") == _IMAGE_2D:
            return (abs(float(region.PhysicalDeltaX)) * 10, abs(float(region.PhysicalDeltaY)) * 10), "UltrasoundRegion"
    return (1.0, 1.0), "none, steps are pixels"


def _frame_ns(header: pydicom.Dataset, index: int) -> int | None:
    content = _groups(header, index, "FrameContentSequence")
    for keyword in ("FrameAcquisitionDateTime", "FrameReferenceDateTime"):
        if content is not None and content.get(keyword):
            return moment_ns(str(content[keyword].value))
    return acquired_ns(header)


def _slices(path: Path, header: pydicom.Dataset, limits: Limits) -> list[_Slice]:
    if header.get("SOPClassUID") == _SEGMENTATION:
        raise RecordedDataError(path, "SOPClassUID", "a segmentation is no image: read it as part of a plan")
    if "Rows" not in header or "Columns" not in header:
        raise RecordedDataError(path, "Rows", "holds no image")
    frames = int(header.get("NumberOfFrames") or 1)
    samples = int(header.get("SamplesPerPixel", 1))
    bits = int(header.BitsAllocated)
    shape = (int(header.Rows), int(header.Columns)) + ((samples,) if samples > 1 else ())
    if frames < 1 or min(shape) < 1 or bits < 8:
        raise RecordedDataError(path, "Rows", f"{frames} frames of {list(shape)} with {bits} bits are no image")
    pixel_bytes((frames, *shape), max(bits // 8, 1), path, "NumberOfFrames", limits)
    spacing = _spacing(header)[0]
    thickness = (numbers(header, "SliceThickness") or [0.0])[0]
    number = int(header.get("InstanceNumber") or 0)
    result = []
    for index in range(frames):
        slope, intercept = _rescale(header, index)
        where = _plane(path, header, index)
        at = index if frames > 1 else None
        when = _frame_ns(header, index)
        result.append(_Slice(path, at, where, when, number + index, slope, intercept, shape, bits, thickness, spacing))
    return result


def _is_dicom(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(132)[128:] == b"DICM"


def _files(path: Path) -> list[Path]:
    """The file itself, or every DICOM file directly in the folder (told by its magic, not its name)."""
    if not path.is_dir():
        return [path]
    with reading(path, "folder"):
        there = sorted(entry for entry in path.iterdir() if entry.is_file())
        if len(there) > MAX_FILES:
            raise RecordedDataError(path, "folder", f"{len(there)} files, above the limit of {MAX_FILES}")
        found = [entry for entry in there if _is_dicom(entry)]
    if not found:
        raise RecordedDataError(path, "folder", "holds no DICOM file")
    return found


def _load(path: Path, limits: Limits, series_uid: str) -> _Loaded:
    headers = [(file, read_header(file, limits)) for file in _files(path)]
    with reading(path, "SeriesInstanceUID"):
        series = sorted({str(header.get("SeriesInstanceUID", "")) for _, header in headers})
        if series_uid:
            headers = [(file, header) for file, header in headers if header.get("SeriesInstanceUID") == series_uid]
        elif len(series) > 1:
            raise RecordedDataError(path, "SeriesInstanceUID", f"{len(series)} series; say series_uid, one of {series}")
        if not headers:
            raise RecordedDataError(path, "SeriesInstanceUID", f"no series {series_uid!r} among {series}")
    slices: list[_Slice] = []
    for file, header in headers:
        with reading(file, "image attributes"):
            slices += _slices(file, header, limits)
    with reading(headers[0][0], "acquisition parameters"):
        tags = tags_of(headers[0][1])
    if len(slices[0].shape) == 3:
        tags["PhotometricInterpretation"] = "RGB"  # the decoder turns every colour image into it
    first = slices[0]
    pixel_bytes((len(slices), *first.shape), max(first.bits // 8, 1), path, "series", limits)
    for here in slices:
        if here.shape != first.shape or (here.plane is None) != (first.plane is None):
            raise RecordedDataError(
                here.path, "Rows", f"{list(here.shape)} pixels where {first.path.name} has {list(first.shape)}"
            )
    slices.sort(key=lambda here: (here.acquired_ns or 0, here.number, str(here.path), here.index or 0))
    return _Loaded(slices, headers[0][1], tags)


def _values(here: _Slice) -> Pixels:
    """Decoded [row, column(, component)] after rescale: integers stay integers where the slope is 1."""
    with reading(here.path, "pixels"):
        stored = np.asarray(pixel_array(here.path, index=here.index))
    if stored.shape != here.shape:
        raise RecordedDataError(here.path, "pixels", f"decode to {list(stored.shape)}, not {list(here.shape)}")
    if (here.slope, here.intercept) == (1.0, 0.0):
        return stored
    if here.slope == 1.0 and here.intercept.is_integer() and here.bits <= 16:
        return stored.astype(np.int32) + np.int32(here.intercept)
    width = np.dtype(np.float32 if here.bits <= 16 else np.float64)
    values: Pixels = stored.astype(width) * here.slope + here.intercept
    return values


class _DecodedFrames:
    """Frames of a series, each decoded when it is asked for; the one asked for last is kept."""

    def __init__(self, groups: Sequence[Sequence[_Slice]]) -> None:
        self._groups = groups
        self._last: tuple[int, Pixels] | None = None

    def __len__(self) -> int:
        return len(self._groups)

    def __getitem__(self, index: int, /) -> Pixels:
        if self._last is None or self._last[0] != index:
            self._last = index, read_only(np.stack([_values(here) for here in self._groups[index]]))
        return self._last[1]


def _volumes(path: Path, slices: Sequence[_Slice]) -> tuple[list[list[_Slice]], Matrix]:
    """Slices grouped into volumes of ascending height, and their common geometry in RAS."""
    planes = [here.plane for here in slices if here.plane is not None]
    groups = [[slices[index] for index in group] for group in stacks(path, planes)]
    stack = [here.plane for here in groups[0] if here.plane is not None]
    return groups, ras_from_lps(lps_from_stack(path, stack, groups[0][0].thickness_mm))


def read_volume(
    path: Path, *, limits: Limits = DEFAULT_LIMITS, assume_space: str | None = None, series_uid: str = ""
) -> Volume:
    """One volume in RAS from a file or a folder; `assume_space` has nothing to say here.

    Raises RecordedDataError for several series (unless `series_uid` chooses), missing or uneven slices,
    positions that repeat (a series in time), images without a patient position.
    """
    loaded = _load(path, limits, series_uid)
    if loaded.slices[0].plane is None:
        raise RecordedDataError(
            path, "ImagePositionPatient", "is missing: no place in the patient; read it as a series"
        )
    groups, ras_from_image = _volumes(path, loaded.slices)
    if len(groups) > 1:
        raise RecordedDataError(path, "ImagePositionPatient", f"{len(groups)} volumes in time; read it as a series")
    return Volume(_DecodedFrames(groups)[0], ras_from_image, loaded.tags)


def _times(
    path: Path, loaded: _Loaded, groups: Sequence[Sequence[_Slice]], period_s: float | None
) -> NDArray[np.float64]:
    """Relative times: the period asked for, the file's cine times, or the acquisition times of the groups."""
    count = len(groups)
    if period_s is not None or count == 1:
        return even_times(path, count, period_s)
    if len({here.path for here in loaded.slices}) == 1 and len(loaded.slices) == count:
        with reading(path, "frame times"):
            cine = cine_times(loaded.header, count)
        if cine is not None:
            return check_times(path, cine, count)
    acquired: list[Any] = [
        min((here.acquired_ns for here in group if here.acquired_ns is not None), default=None) for group in groups
    ]
    if None in acquired or len(set(acquired)) == 1:
        raise RecordedDataError(
            path, "AcquisitionTime", f"does not tell {count} frames apart: say the period in seconds"
        )
    return check_times(path, np.array([value - acquired[0] for value in acquired], dtype=np.float64) / _NS, count)


def read_series(
    path: Path,
    *,
    limits: Limits = DEFAULT_LIMITS,
    period_s: float | None = None,
    assume_space: str | None = None,
    series_uid: str = "",
) -> Series:
    """Frames in time from a file or a folder, decoded when asked for."""
    loaded = _load(path, limits, series_uid)
    first = loaded.slices[0]
    tags = loaded.tags
    if first.plane is not None:
        groups, geometry = _volumes(path, loaded.slices)
    else:
        groups = [[here] for here in loaded.slices]
        geometry = matrix(np.diag([*first.spacing_mm, 1.0, 1.0]))
        with reading(path, "PixelSpacing"):
            tags = tags | {"PixelSpacingSource": _spacing(loaded.header)[1]}
    times_s = _times(path, loaded, groups, period_s)
    frame = "RAS" if first.plane is not None else "Image"
    return Series(_DecodedFrames(groups), times_s, [geometry] * len(groups), tags, frame, groups[0][0].acquired_ns)
