"""A BIDS field map run as complex images: two magnitudes and the phase difference between their echoes.

The complex value is sqrt(magnitude1 * magnitude2) * exp(i * phase difference): the signal of a virtual echo at
time EchoTime2 - EchoTime1 from which the phase at time zero has cancelled. PRF thermometry on it
uses that difference as its echo time, so `EchoTime_s` is the difference; the single echo times are kept.
"""

from pathlib import Path

import numpy as np

from devices.recorded.errors import RecordedDataError
from devices.recorded.nifti import read_series
from devices.recorded.sidecar import tag_text
from devices.recorded.volume import DEFAULT_LIMITS, Limits, Pixels, Series, Tags, read_only

PHASE_FULL_SCALE = 4095.0  # stored 0 .. 4095 = -pi .. pi (Siemens, as converted by dcm2niix)
_PARTS = ("magnitude1", "magnitude2", "phasediff")


def _part(folder: Path, part: str) -> Path:
    found = sorted(folder.glob(f"*_{part}.nii.gz")) + sorted(folder.glob(f"*_{part}.nii"))
    if len(found) != 1:
        raise RecordedDataError(folder, part, f"{len(found)} files named *_{part}.nii(.gz); one is needed")
    return found[0]


def _echo_tags(path: Path, tags: Tags) -> Tags:
    for key in ("EchoTime1_s", "EchoTime2_s", "ImagingFrequency_MHz"):
        if key not in tags:
            raise RecordedDataError(path, key.rsplit("_", 1)[0], "is missing from the JSON beside the phase difference")
    difference_s = float(tags["EchoTime2_s"]) - float(tags["EchoTime1_s"])
    if difference_s <= 0:
        raise RecordedDataError(path, "EchoTime2", f"is not later than EchoTime1 (difference {difference_s} s)")
    return tags | {"EchoTime_s": tag_text(difference_s), "Component": "complex"}


def _phase_rad(path: Path, stored: Pixels) -> Pixels:
    if stored.min() < 0 or stored.max() > PHASE_FULL_SCALE + 1:
        raise RecordedDataError(path, "pixels", f"{stored.min()} .. {stored.max()} is no phase stored as 0 .. 4095")
    return stored.astype(np.float32) * np.float32(2 * np.pi / PHASE_FULL_SCALE) - np.float32(np.pi)


def read_fieldmap(
    path: Path, *, limits: Limits = DEFAULT_LIMITS, period_s: float | None = None, assume_space: str | None = None
) -> Series:
    """Complex64 frames of the run in the folder `path`; RecordedDataError where a part is absent or differs."""
    paths = {part: _part(path, part) for part in _PARTS}
    parts = {
        part: read_series(file, limits=limits, period_s=period_s, assume_space=assume_space)
        for part, file in paths.items()
    }
    phase = parts["phasediff"]
    phases = np.asarray(phase.frames)
    for part in _PARTS[:2]:
        other = parts[part]
        same = np.asarray(other.frames).shape == phases.shape and np.array_equal(other.times_s, phase.times_s)
        if not same or not np.allclose(other.frame_from_image_mm[0], phase.frame_from_image_mm[0]):
            raise RecordedDataError(
                paths[part], "geometry", "differs from the phase difference in shape, time or place"
            )
    first, second = (np.asarray(parts[part].frames).astype(np.float32) for part in _PARTS[:2])
    frames = np.sqrt(first * second) * np.exp(1j * _phase_rad(paths["phasediff"], phases))
    tags = _echo_tags(paths["phasediff"], phase.tags)
    return Series(read_only(frames.astype(np.complex64)), phase.times_s, phase.frame_from_image_mm, tags)
