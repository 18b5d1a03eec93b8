"""What stands beside an image: JSON with acquisition parameters, frame times, geometry.

BIDS sidecars (dcm2niix) and the keys of cine exports; every key that means the same gets the same tag.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from devices.messages import Matrix
from devices.recorded.errors import RecordedDataError
from devices.recorded.planes import lps_from_stack, plane
from devices.recorded.volume import Limits, Tags, ras_from_lps

# key in the file -> (tag in our messages, factor for numbers)
TAG_OF_KEY: dict[str, tuple[str, float]] = {
    "EchoTime": ("EchoTime_s", 1.0),
    "EchoTime1": ("EchoTime1_s", 1.0),
    "EchoTime2": ("EchoTime2_s", 1.0),
    "RepetitionTime": ("RepetitionTime_s", 1.0),
    "ImagingFrequency": ("ImagingFrequency_MHz", 1.0),
    "MagneticFieldStrength": ("FieldStrength_T", 1.0),
    "FlipAngle": ("FlipAngle_deg", 1.0),
    "SliceThickness": ("SliceThickness_mm", 1.0),
    "PixelBandwidth": ("PixelBandwidth_Hz", 1.0),
    "TE_ms": ("EchoTime_s", 1e-3),
    "TR_ms": ("RepetitionTime_s", 1e-3),
    "field_T": ("FieldStrength_T", 1.0),
    "flip_deg": ("FlipAngle_deg", 1.0),
    "slice_thickness_mm": ("SliceThickness_mm", 1.0),
    "Modality": ("Modality", 1.0),
    "Manufacturer": ("Manufacturer", 1.0),
    "ManufacturersModelName": ("ManufacturerModelName", 1.0),
    "model": ("ManufacturerModelName", 1.0),
    "SeriesDescription": ("SeriesDescription", 1.0),
    "SequenceName": ("SequenceName", 1.0),
    "sequence": ("SequenceName", 1.0),
    "source_series": ("SeriesDescription", 1.0),
}


@dataclass(frozen=True, eq=False)
class Sidecar:
    """`tags` in our names; `times_s` and `ras_from_image_mm` where the file gives them."""

    tags: Tags
    times_s: Sequence[float] | None = None
    ras_from_image_mm: Matrix | None = None


def tag_text(value: float) -> str:
    """A number as a tag, shortest form that reads back exactly (12 digits: decimal units stay decimal)."""
    return f"{value:.12g}"


def _tags(content: dict[str, object]) -> Tags:
    tags: Tags = {}
    for key, (tag, factor) in TAG_OF_KEY.items():
        value = content.get(key)
        if isinstance(value, int | float) and not isinstance(value, bool):
            tags[tag] = tag_text(value * factor)
        elif isinstance(value, str):
            tags[tag] = value
    return tags


def _numbers(path: Path, content: dict[str, object], key: str) -> list[float] | None:
    value = content.get(key)
    if value is None:
        return None
    if not isinstance(value, list) or not all(isinstance(item, int | float) and np.isfinite(item) for item in value):
        raise RecordedDataError(path, key, "is not a list of finite numbers")
    return [float(item) for item in value]


def read_sidecar(path: Path, limits: Limits) -> Sidecar:
    """Read one JSON file; RecordedDataError where it is no JSON object or a value is of the wrong kind."""
    try:
        if path.stat().st_size > limits.max_header_bytes:
            raise RecordedDataError(path, "file", f"larger than {limits.max_header_bytes} bytes")
        content = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError, RecursionError) as fault:
        raise RecordedDataError(path, "file", f"is no readable JSON: {fault}") from fault
    if not isinstance(content, dict):
        raise RecordedDataError(path, "file", "is not a JSON object")
    orientation, position, spacing = (
        _numbers(path, content, key) for key in ("ImageOrientationPatient", "ImagePositionPatient", "pixel_spacing_mm")
    )
    geometry = None
    if orientation is not None and position is not None and spacing is not None:
        thickness = content.get("slice_thickness_mm", 1.0)
        thickness_mm = float(thickness) if isinstance(thickness, int | float) else 1.0
        geometry = ras_from_lps(lps_from_stack(path, [plane(path, orientation, position, spacing)], thickness_mm))
    return Sidecar(_tags(content), _numbers(path, content, "frame_times_s"), geometry)


def beside(path: Path) -> Path:
    """Where the sidecar of an image would be: the same name with .json."""
    stem = path.name
    for suffix in (".nii.gz", path.suffix):
        if stem.lower().endswith(suffix.lower()):
            stem = stem[: len(stem) - len(suffix)]
            break
    return path.with_name(stem + ".json")


def sidecar_of(path: Path, limits: Limits) -> Sidecar:
    """The image's sidecar, or an empty one where there is none."""
    there = beside(path)
    return read_sidecar(there, limits) if there.is_file() else Sidecar({})
