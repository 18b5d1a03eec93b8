"""Slices in patient space: where one lies, and which of them make a volume.

Source: DICOM PS3.3 C.7.6.2.1.1. `ImageOrientationPatient` holds the direction in which the column
index grows, then that of the row index; `PixelSpacing` the distance between rows, then between columns.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from devices.messages import Matrix
from devices.recorded.errors import RecordedDataError
from devices.recorded.volume import affine

_UNIT_TOLERANCE = 1e-3
_SAME_DIRECTION = 1e-3
_SPACING_TOLERANCE = 0.01  # of the distance between slices
_POSITION_TOLERANCE_MM = 1e-3


@dataclass(frozen=True, eq=False)
class Plane:
    """One slice in LPS: `origin_mm` of its first pixel, and the steps of the column and the row index in mm."""

    origin_mm: NDArray[np.float64]
    column_mm: NDArray[np.float64]
    row_mm: NDArray[np.float64]

    @property
    def normal(self) -> NDArray[np.float64]:
        """Unit normal, column direction x row direction."""
        cross = np.cross(self.column_mm, self.row_mm)
        unit: NDArray[np.float64] = cross / np.linalg.norm(cross)
        return unit

    @property
    def height_mm(self) -> float:
        """Place of the plane along its own normal."""
        return float(self.normal @ self.origin_mm)


def plane(path: Path, orientation: Sequence[float], position: Sequence[float], spacing: Sequence[float]) -> Plane:
    """A plane from the three DICOM attributes; RecordedDataError where they do not span one."""
    directions = np.array(orientation, dtype=np.float64)
    origin = np.array(position, dtype=np.float64)
    between = np.array(spacing, dtype=np.float64)
    if directions.shape != (6,) or origin.shape != (3,) or between.shape != (2,):
        raise RecordedDataError(
            path, "ImageOrientationPatient", "orientation, position and spacing are not 6, 3 and 2 numbers"
        )
    if not all(np.isfinite(values).all() for values in (directions, origin, between)) or (between <= 0).any():
        raise RecordedDataError(
            path, "PixelSpacing", f"{between.tolist()} mm at {origin.tolist()} mm is no place in space"
        )
    column, row = directions[:3], directions[3:]
    lengths = np.array([np.linalg.norm(column), np.linalg.norm(row)])
    if (abs(lengths - 1) > _UNIT_TOLERANCE).any() or abs(column @ row) > _UNIT_TOLERANCE:
        raise RecordedDataError(
            path, "ImageOrientationPatient", f"{directions.tolist()} are not two perpendicular unit vectors"
        )
    return Plane(origin, column * between[1], row * between[0])


def lps_from_stack(path: Path, planes: Sequence[Plane], thickness_mm: float) -> Matrix:
    """(4, 4) LPS mm from (column, row, slice) for planes sorted by height; evenly spaced or RecordedDataError.

    A single plane is `thickness_mm` thick along its normal. A tilted gantry gives a sheared matrix.
    """
    first = planes[0]
    step = first.normal * (thickness_mm or 1.0)
    if len(planes) > 1:
        step = (planes[-1].origin_mm - first.origin_mm) / (len(planes) - 1)
        length = float(np.linalg.norm(step))
        for index, here in enumerate(planes):
            off = float(np.linalg.norm(here.origin_mm - first.origin_mm - index * step))
            if off > _SPACING_TOLERANCE * length + _POSITION_TOLERANCE_MM:
                problem = (
                    f"slice {index} lies {off:.3f} mm off an even spacing of {length:.3f} mm: missing or uneven slices"
                )
                raise RecordedDataError(path, "ImagePositionPatient", problem)
    return affine(first.origin_mm.tolist(), [first.column_mm.tolist(), first.row_mm.tolist(), step.tolist()])


def stacks(path: Path, planes: Sequence[Plane]) -> list[list[int]]:
    """Indices of `planes` grouped into volumes of ascending height, in the order in which they were given.

    Every height occurs equally often: once in a plain volume, once per repetition in a dynamic series.
    """
    first = planes[0]
    for index, here in enumerate(planes):
        turned = max(
            np.abs(here.column_mm - first.column_mm).max() / np.linalg.norm(first.column_mm),
            np.abs(here.row_mm - first.row_mm).max() / np.linalg.norm(first.row_mm),
        )
        if turned > _SAME_DIRECTION:
            raise RecordedDataError(
                path, "ImageOrientationPatient", f"slice {index} is not parallel to slice 0, or not of its size"
            )
    order = sorted(range(len(planes)), key=lambda index: (float(first.normal @ planes[index].origin_mm), index))
    levels: list[list[int]] = []
    for index in order:
        height = float(first.normal @ planes[index].origin_mm)
        if levels and height - float(first.normal @ planes[levels[-1][0]].origin_mm) <= _POSITION_TOLERANCE_MM:
            levels[-1].append(index)
        else:
            levels.append([index])
    counts = {len(level) for level in levels}
    if len(counts) != 1:
        problem = f"{len(levels)} slice positions occur {min(counts)} to {max(counts)} times: slices are missing"
        raise RecordedDataError(path, "ImagePositionPatient", problem)
    return [list(stack) for stack in zip(*(sorted(level) for level in levels), strict=True)]
