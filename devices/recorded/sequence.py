"""PLUS sequence files (.igs.mha, .igs.nrrd): tracked ultrasound, one header entry per frame and field.

`Seq_Frame0007_ProbeToTrackerTransform` is the pose of Probe in Tracker (16 numbers, row by row, mm),
`...TransformStatus` what the tracker said of it, `..._Timestamp` the synchronised time in seconds,
`..._UnfilteredTimestamp` the time as it was read, `..._ImageStatus` (MetaImage) or `..._Status` (NRRD)
whether there is an image. Source: PLUS toolkit user manual, "Sequence file format".

The image geometry is the PLUS "Image" frame: pixel steps of `ElementSpacing`, no patient space.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from devices.messages import Matrix
from devices.quality import Quality
from devices.recorded import metaimage, nrrd, orientation
from devices.recorded.errors import RecordedDataError
from devices.recorded.grid import Grid
from devices.recorded.volume import DEFAULT_LIMITS, Limits, Pixels, Tags, matrix, read_only

_FIELD = re.compile(r"Seq_Frame(\d+)_(\w+)")
_TRANSFORM = re.compile(r"([A-Z]\w*?)To([A-Z]\w*)Transform")
_ORIENTATION_KEYS = ("UltrasoundImageOrientation", "ultrasound image orientation")
_TYPE_KEYS = ("UltrasoundImageType", "ultrasound image type")
_STATUS_KEYS = ("ImageStatus", "Status")

# What a tracker says, with or without "TOOL_" before it. A word that is not here counts as INVALID.
STATUS_QUALITY: dict[str, Quality] = {
    "OK": Quality.OK,
    "SWITCH1_IS_ON": Quality.OK,  # a button is pressed on a tool that is seen
    "SWITCH2_IS_ON": Quality.OK,
    "SWITCH3_IS_ON": Quality.OK,
    "MISSING": Quality.MISSING,
    "OUT_OF_VIEW": Quality.MISSING,
    "OUT_OF_VOLUME": Quality.MISSING,
    "REQ_TIMEOUT": Quality.MISSING,
    "PATH_NOT_FOUND": Quality.MISSING,
    "UNKNOWN": Quality.INVALID,
    "INVALID": Quality.INVALID,
}


def quality_of(status: str | None) -> Quality:
    """Quality for a transform's status; a file that gives none proves nothing, so SUSPECT."""
    if status is None:
        return Quality.SUSPECT
    return STATUS_QUALITY.get(status.strip().upper().removeprefix("TOOL_"), Quality.INVALID)


@dataclass(frozen=True, eq=False)
class RecordedPose:
    """One transform of one frame: `fixed_from_moving` (4, 4) mm, and what the tracker said of it."""

    moving: str
    fixed: str
    fixed_from_moving: Matrix
    quality: Quality
    status: str


@dataclass(frozen=True, eq=False)
class SequenceFrame:
    """One moment: its time in s, the device's frame number (-1 = none), poses, and the image's quality."""

    time_s: float
    unfiltered_time_s: float | None
    number: int
    poses: tuple[RecordedPose, ...]
    image_quality: Quality
    fields: Tags  # every other field of the frame, such as a TransformInterpolationTest's "Stylus"


@dataclass(frozen=True, eq=False)
class Sequence:
    """A whole sequence file.

    `images` [frame, slice, row, column] read-only and native, or None where the file holds poses only;
    `orientation` says which way they lie ("XX" = the recorder did not know); `spacing_mm` per
    (column, row, slice); `image_type` such as BRIGHTNESS ("" = not said); `tags` the header's fields
    that belong to no frame.
    """

    path: Path
    frames: tuple[SequenceFrame, ...]
    images: Pixels | None
    orientation: str
    spacing_mm: tuple[float, float, float]
    image_type: str
    tags: Tags

    @property
    def times_s(self) -> NDArray[np.float64]:
        """Synchronised times (n,), never falling."""
        return np.array([frame.time_s for frame in self.frames])

    @property
    def transforms(self) -> tuple[tuple[str, str], ...]:
        """(moving, fixed) of every transform that any frame has, in the order of the file."""
        return tuple(dict.fromkeys((pose.moving, pose.fixed) for frame in self.frames for pose in frame.poses))


def _number(path: Path, field: str, text: str) -> float:
    try:
        value = float(text)
    except ValueError as fault:
        raise RecordedDataError(path, field, f"{text!r} is not a number") from fault
    if not np.isfinite(value):
        raise RecordedDataError(path, field, f"{text!r} is not finite")
    return value


def _pose(path: Path, field: str, names: re.Match[str], text: str, status: str | None) -> RecordedPose:
    try:
        numbers = np.array([float(word) for word in text.split()])
    except ValueError as fault:
        raise RecordedDataError(path, field, f"{text!r} is not 16 numbers") from fault
    if numbers.size != 16 or not np.isfinite(numbers).all() or (numbers[12:] != (0, 0, 0, 1)).any():
        raise RecordedDataError(path, field, f"{text!r} is not a 4x4 matrix with last row 0 0 0 1")
    return RecordedPose(names[1], names[2], matrix(numbers), quality_of(status), status or "")


def _frame(path: Path, index: int, fields: Tags, has_image: bool) -> SequenceFrame:
    prefix = f"Seq_Frame{index:04d}_"
    if "Timestamp" not in fields:
        raise RecordedDataError(path, prefix + "Timestamp", "is missing")
    poses, others = [], {}
    for name, text in fields.items():
        names = _TRANSFORM.fullmatch(name)
        if names is not None:
            poses.append(_pose(path, prefix + name, names, text, fields.get(name + "Status")))
        elif not name.endswith("TransformStatus"):
            others[name] = text
    times = {
        key: _number(path, prefix + key, others.pop(key))
        for key in ("Timestamp", "UnfilteredTimestamp")
        if key in others
    }
    number = _number(path, prefix + "FrameNumber", others.pop("FrameNumber", "-1"))
    said = [others.pop(key) for key in _STATUS_KEYS if key in others]
    image_quality = Quality.MISSING  # an image without a status is good: older files have no such field
    if has_image:
        image_quality = Quality.OK if not said or said[0].upper() == "OK" else Quality.INVALID
    return SequenceFrame(
        times["Timestamp"], times.get("UnfilteredTimestamp"), int(number), tuple(poses), image_quality, others
    )


def _frames(grid: Grid, has_image: bool) -> tuple[tuple[SequenceFrame, ...], Tags]:
    by_frame: dict[int, Tags] = {}
    tags: Tags = {}
    for key, value in grid.fields.items():
        found = _FIELD.fullmatch(key)
        if found is None:
            tags[key] = value
        else:
            by_frame.setdefault(int(found[1]), {})[found[2]] = value
    count = grid.pixels.shape[0]
    if count == 0 or sorted(by_frame) != list(range(count)):
        raise RecordedDataError(
            grid.path, "Seq_Frame", f"{len(by_frame)} frames described where the header says {count}"
        )
    frames = tuple(_frame(grid.path, index, by_frame[index], has_image) for index in range(count))
    for index in range(1, count):
        if frames[index].time_s < frames[index - 1].time_s:
            raise RecordedDataError(grid.path, f"Seq_Frame{index:04d}_Timestamp", "is earlier than the frame before it")
    return frames, tags


def _first(tags: Mapping[str, str], keys: tuple[str, ...], default: str) -> str:
    return next((tags[key] for key in keys if key in tags), default)


def is_sequence(path: Path) -> bool:
    """Whether the name says PLUS sequence."""
    return path.name.lower().endswith((".igs.mha", ".igs.mhd", ".igs.nrrd", ".igs.nhdr"))


def read_sequence(path: Path, *, wanted_orientation: str = "", limits: Limits = DEFAULT_LIMITS) -> Sequence:
    """Read a whole sequence file and check every frame; RecordedDataError names the file and the field.

    With `wanted_orientation` (such as "MF") the images are turned to it; an orientation that the
    recorder did not know is then an error, as nothing can be turned from it.
    """
    reader = nrrd.read_grid if path.suffix.lower() in nrrd.SUFFIXES else metaimage.read_grid
    grid = reader(path, limits)
    if not grid.listed:
        raise RecordedDataError(path, "Kinds", "no list of frames: not a sequence file")
    has_image = grid.pixels.size > 0
    frames, tags = _frames(grid, has_image)
    recorded = _first(tags, _ORIENTATION_KEYS, "XX")
    images = grid.pixels if has_image else None
    column, row, plane = np.linalg.norm(grid.space_from_image_mm[:3, :3], axis=0).tolist()
    spacing = (column, row, plane)
    if images is not None and wanted_orientation:
        try:
            images = orientation.reorient(images, recorded, wanted_orientation)
            order = orientation.axis_order(recorded, wanted_orientation)
        except ValueError as fault:
            raise RecordedDataError(
                path, "UltrasoundImageOrientation", f"{fault}; ask for orientation '' to keep it"
            ) from fault
        spacing = (spacing[order[0]], spacing[order[1]], spacing[order[2]])
        recorded = wanted_orientation
    image_type = _first(tags, _TYPE_KEYS, "")
    kept = {key: value for key, value in tags.items() if key not in (*_ORIENTATION_KEYS, *_TYPE_KEYS)}
    return Sequence(path, frames, None if images is None else read_only(images), recorded, spacing, image_type, kept)
