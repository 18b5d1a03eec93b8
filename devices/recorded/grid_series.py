"""MetaImage and NRRD files as series: frames along the list axis, or along the slices of a cine."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from devices.recorded import metaimage, nrrd
from devices.recorded.errors import RecordedDataError
from devices.recorded.grid import Grid
from devices.recorded.sequence import is_sequence, read_sequence
from devices.recorded.sidecar import sidecar_of
from devices.recorded.volume import DEFAULT_LIMITS, Limits, Series, matrix, turn_to_ras

_NS = 1_000_000_000


def even_times(path: Path, count: int, period_s: float | None) -> NDArray[np.float64]:
    """Times of `count` frames a fixed period apart; RecordedDataError where several frames have no period."""
    if period_s is None and count > 1:
        raise RecordedDataError(path, "times", f"{count} frames and no times: say the period in seconds")
    return np.arange(count, dtype=np.float64) * np.float64(period_s or 0.0)


def check_times(path: Path, times_s: NDArray[np.float64], count: int) -> NDArray[np.float64]:
    """Times relative to the first; RecordedDataError where they are not `count` finite, never falling numbers."""
    if len(times_s) != count:
        raise RecordedDataError(path, "times", f"{len(times_s)} times for {count} frames")
    if not np.isfinite(times_s).all() or (np.diff(times_s) < 0).any():
        raise RecordedDataError(path, "times", "are not finite, or run back")
    return np.asarray(times_s - times_s[0], dtype=np.float64)


def _sequence_series(path: Path, limits: Limits) -> Series:
    sequence = read_sequence(path, limits=limits)
    if sequence.images is None:
        raise RecordedDataError(path, "DimSize", "the file holds poses only: no images to read")
    tags = {"UltrasoundImageOrientation": sequence.orientation, "UltrasoundImageType": sequence.image_type}
    geometry = matrix(np.diag([*sequence.spacing_mm, 1.0]))
    times_s = sequence.times_s
    return Series(
        sequence.images,
        times_s - times_s[0],
        [geometry] * len(times_s),
        tags,
        frame="Image",
        first_ns=round(times_s[0] * _NS),
        qualities=[frame.image_quality for frame in sequence.frames],
    )


def _series(
    read_grid: Callable[[Path, Limits], Grid],
    path: Path,
    limits: Limits,
    period_s: float | None,
    assume_space: str | None,
) -> Series:
    if is_sequence(path):
        return _sequence_series(path, limits)
    grid = read_grid(path, limits)
    beside = sidecar_of(path, limits)
    frames = grid.frames()
    if beside.times_s is not None and not grid.listed:  # a cine: the third axis is time
        frames = grid.pixels[:, np.newaxis]
    if frames.size == 0:
        raise RecordedDataError(path, "pixels", "the file holds no pixels")
    count = len(frames)
    times_s = even_times(path, count, period_s) if beside.times_s is None else np.array(beside.times_s)
    geometry = beside.ras_from_image_mm
    if geometry is None:
        geometry = turn_to_ras(grid.space_from_image_mm, grid.space, path, assume_space)
    return Series(frames, check_times(path, times_s, count), [geometry] * count, beside.tags)


def read_metaimage_series(
    path: Path, *, limits: Limits = DEFAULT_LIMITS, period_s: float | None = None, assume_space: str | None = None
) -> Series:
    """Frames of a MetaImage: a PLUS sequence, a list axis, or slices in time by a JSON beside it (`frame_times_s`)."""
    return _series(metaimage.read_grid, path, limits, period_s, assume_space)


def read_nrrd_series(
    path: Path, *, limits: Limits = DEFAULT_LIMITS, period_s: float | None = None, assume_space: str | None = None
) -> Series:
    """Frames of an NRRD: a PLUS sequence, a list axis, or slices in time by a JSON beside it (`frame_times_s`)."""
    return _series(nrrd.read_grid, path, limits, period_s, assume_space)
