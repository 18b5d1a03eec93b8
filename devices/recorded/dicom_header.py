"""DICOM headers by pydicom: opened safely, times and parameters in our names and units.

Sources: DICOM PS3.3 and PS3.5. Everything that pydicom raises on a damaged file becomes a
RecordedDataError that names the file and what was being read.
"""

import struct
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pydicom
from numpy.typing import NDArray
from PIL.Image import DecompressionBombError
from pydicom.dataset import FileDataset
from pydicom.errors import BytesLengthException, InvalidDicomError
from pydicom.filereader import read_file_meta_info
from pydicom.uid import DeflatedExplicitVRLittleEndian

from devices.recorded.errors import RecordedDataError
from devices.recorded.sidecar import tag_text
from devices.recorded.volume import Limits, Tags

_FAULTS = (
    InvalidDicomError,
    BytesLengthException,
    DecompressionBombError,
    AttributeError,  # an element that the standard demands is absent
    ValueError,
    TypeError,
    LookupError,
    OSError,
    EOFError,
    ArithmeticError,
    RuntimeError,  # no decoder for the transfer syntax; nesting too deep
    struct.error,
    zlib.error,
)
_NS = 1_000_000_000

# DICOM keyword -> (tag in our messages, factor). Nothing that says who the patient is.
TAG_OF_KEYWORD: dict[str, tuple[str, float]] = {
    "Modality": ("Modality", 1.0),
    "Manufacturer": ("Manufacturer", 1.0),
    "ManufacturerModelName": ("ManufacturerModelName", 1.0),
    "SeriesDescription": ("SeriesDescription", 1.0),
    "SeriesInstanceUID": ("SeriesInstanceUID", 1.0),
    "FrameOfReferenceUID": ("FrameOfReferenceUID", 1.0),
    "PatientPosition": ("PatientPosition", 1.0),
    "PhotometricInterpretation": ("PhotometricInterpretation", 1.0),
    "RescaleType": ("RescaleType", 1.0),
    "DoseUnits": ("DoseUnits", 1.0),
    "EchoTime": ("EchoTime_s", 1e-3),
    "RepetitionTime": ("RepetitionTime_s", 1e-3),
    "FlipAngle": ("FlipAngle_deg", 1.0),
    "ImagingFrequency": ("ImagingFrequency_MHz", 1.0),
    "MagneticFieldStrength": ("FieldStrength_T", 1.0),
    "PixelBandwidth": ("PixelBandwidth_Hz", 1.0),
    "SliceThickness": ("SliceThickness_mm", 1.0),
    "PositionerPrimaryAngle": ("PositionerPrimaryAngle_deg", 1.0),
    "PositionerSecondaryAngle": ("PositionerSecondaryAngle_deg", 1.0),
    "DistanceSourceToDetector": ("DistanceSourceToDetector_mm", 1.0),
    "DistanceSourceToPatient": ("DistanceSourceToPatient_mm", 1.0),
    "KVP": ("TubeVoltage_kV", 1.0),
    "HeartRate": ("HeartRate_per_min", 1.0),
}


@contextmanager
def reading(path: Path, what: str) -> Iterator[None]:
    """What is raised inside becomes a RecordedDataError about `what` in `path`."""
    try:
        yield
    except RecordedDataError:
        raise
    except _FAULTS as fault:
        raise RecordedDataError(path, what, f"{type(fault).__name__}: {fault}") from fault


def read_header(path: Path, limits: Limits) -> FileDataset:
    """Everything but the pixels. Refuses a deflated data set, whose size nobody can know beforehand."""
    with reading(path, "header"):
        meta = read_file_meta_info(path)
        if meta.get("TransferSyntaxUID") == DeflatedExplicitVRLittleEndian:
            raise RecordedDataError(path, "TransferSyntaxUID", "deflated data sets are not read; convert the file")
        header = pydicom.dcmread(path, stop_before_pixels=True, defer_size=limits.max_line_bytes)
        if not isinstance(header, FileDataset):
            raise RecordedDataError(path, "file", "is a DICOMDIR; name the folder of the series")
        return header


def numbers(header: pydicom.Dataset, keyword: str) -> list[float] | None:
    """The element's values as numbers, None where it is absent or empty."""
    value = header.get(keyword)
    if value is None or value == "":
        return None
    values = [float(item) for item in ([value] if isinstance(value, str | int | float) else value)]
    if not np.isfinite(values).all():
        raise ValueError(f"{keyword} {values} is not finite")
    return values


def tags_of(header: pydicom.Dataset) -> Tags:
    """The table above, for the elements that are there."""
    tags: Tags = {}
    for keyword, (tag, factor) in TAG_OF_KEYWORD.items():
        value = header.get(keyword)
        if value is None or value == "":
            continue
        is_text = isinstance(value, str) and not isinstance(value, int | float)
        tags[tag] = str(value) if is_text else tag_text(float(value) * factor)
    return tags


def moment_ns(text: str) -> int | None:
    """`YYYYMMDDHHMMSS(.FFFFFF)` as ns since the epoch, taken as UTC; None where the day or time is absent."""
    digits = text.partition("&")[0].partition("+")[0].partition("-")[0].strip()
    whole, _, fraction = digits.partition(".")
    if len(whole) < 14:
        whole = whole.ljust(14, "0") if len(whole) >= 10 else ""
    if not whole:
        return None
    moment = datetime.strptime(whole, "%Y%m%d%H%M%S").replace(tzinfo=UTC)
    return int(moment.timestamp()) * _NS + int((fraction or "0").ljust(9, "0")[:9])


def acquired_ns(header: pydicom.Dataset) -> int | None:
    """When the image was acquired, ns since the epoch, the device's clock taken as UTC.

    In this order: AcquisitionDateTime, AcquisitionDate + Time, ContentDate + Time.
    """
    for date, time in (
        ("AcquisitionDateTime", ""),
        ("AcquisitionDate", "AcquisitionTime"),
        ("ContentDate", "ContentTime"),
    ):
        if header.get(date) and (not time or header.get(time)):
            return moment_ns(str(header[date].value) + (str(header[time].value) if time else ""))
    return None


def cine_times(header: pydicom.Dataset, count: int) -> NDArray[np.float64] | None:
    """Relative frame times in s of a multi-frame image, None where the file gives none.

    FrameTimeVector holds the gap before each frame in ms (the first says nothing), FrameTime one gap
    in ms, CineRate frames per second.
    """
    vector = numbers(header, "FrameTimeVector")
    if vector is not None:
        return _vector_times(vector, count)
    frame_time_ms = numbers(header, "FrameTime")
    rate = numbers(header, "CineRate")
    if frame_time_ms is not None and frame_time_ms[0] > 0:
        return np.linspace(0.0, (count - 1) * frame_time_ms[0] * 1e-3, count)
    if rate is not None and rate[0] > 0:
        return np.linspace(0.0, (count - 1) / rate[0], count)
    return None


def _vector_times(vector: Sequence[float], count: int) -> NDArray[np.float64]:
    if len(vector) != count or min(vector) < 0:
        raise ValueError(f"FrameTimeVector has {len(vector)} gaps, the least {min(vector)} ms, for {count} frames")
    gaps = np.array(vector, dtype=np.float64) * 1e-3
    gaps[0] = 0.0
    return np.asarray(np.cumsum(gaps), dtype=np.float64)
