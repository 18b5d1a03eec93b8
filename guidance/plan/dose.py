"""Planned dose and what a structure gets of it: dose-volume histograms."""

import hashlib
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import map_coordinates

from devices.recorded.volume import Volume, ras_from_lps
from guidance.exact import Matrix, apply, invert
from guidance.plan.dicom import checked_fields, frames, identity, open_dicom, plane_axes
from guidance.plan.segments import Identity, SegmentError
from guidance.plan.shapes import Shape, canonical_mm, signed_distance_mm

RTDOSE = {"1.2.840.10008.5.1.4.1.1.481.2"}
SAMPLES = 2_000_000


@dataclass(frozen=True, eq=False)
class Dose:
    """`dose_gy` [slice, row, column] and `ras_from_image` (4, 4) of (i, j, k)."""

    dose_gy: NDArray[np.float32]
    ras_from_image: Matrix
    identity: Identity | None = None

    @staticmethod
    def from_volume(volume: Volume) -> "Dose":
        """A dose that was saved as an image in Gy."""
        return Dose(np.asarray(volume.pixels, np.float32), volume.ras_from_image_mm)

    def canonical(self) -> Any:
        """Plain values that are equal for equal doses."""
        bits = hashlib.sha256(np.ascontiguousarray(self.dose_gy, np.float32).tobytes()).hexdigest()
        return [list(self.dose_gy.shape), canonical_mm(self.ras_from_image[:3]), bits]

    def at(self, points_mm: NDArray[np.float64]) -> NDArray[np.float64]:
        """Dose in Gy (N,) at points (N, 3) in RAS mm, linear between voxels, 0 outside the grid."""
        ijk = apply(invert(np.ascontiguousarray(self.ras_from_image)), points_mm)
        found: NDArray[np.float64] = map_coordinates(self.dose_gy, ijk[:, ::-1].T, order=1, cval=0.0, output=np.float64)
        return found


@dataclass(frozen=True, eq=False)
class DoseVolume:
    """Sorted dose samples (Gy) of equal volume within a structure of `volume_cc`."""

    samples_gy: NDArray[np.float64]
    volume_cc: float

    @property
    def mean_gy(self) -> float:
        """Mean dose."""
        return float(self.samples_gy.mean())

    @property
    def min_gy(self) -> float:
        """Lowest sample."""
        return float(self.samples_gy[0])

    @property
    def max_gy(self) -> float:
        """Highest sample."""
        return float(self.samples_gy[-1])

    def share_above(self, dose_gy: float) -> float:
        """V: share 0..1 of the volume that gets `dose_gy` or more."""
        return 1.0 - float(np.searchsorted(self.samples_gy, dose_gy)) / len(self.samples_gy)

    def dose_to(self, share: float) -> float:
        """D: the dose that the hottest `share` 0..1 of the volume gets or exceeds."""
        index = round((1.0 - share) * (len(self.samples_gy) - 1))
        return float(self.samples_gy[min(max(index, 0), len(self.samples_gy) - 1)])


def dose_volume(dose: Dose, shape: Shape, *, spacing_mm: float | None = None) -> DoseVolume:
    """Dose-volume histogram of a shape from samples on a grid of `spacing_mm`.

    The default spacing gives about two million samples in the shape's box, at most a quarter of the
    smallest dose voxel. ValueError for a shape without volume.
    """
    low, high = shape.bounds_mm
    finest = float(np.sqrt((dose.ras_from_image[:3, :3] ** 2).sum(axis=0)).min()) / 4
    step = spacing_mm or max(finest, float(np.prod(high - low) / SAMPLES) ** (1 / 3))
    axes = [np.arange(low[a] + step / 2, high[a], step) for a in range(3)]
    found, inside = [], 0
    for z in axes[2]:
        grid = np.stack(np.meshgrid(axes[0], axes[1], [z], indexing="ij"), axis=-1).reshape(-1, 3)
        within = grid[signed_distance_mm(shape, grid) <= 0.0]
        if len(within):
            found.append(dose.at(within))
            inside += len(within)
    if not inside:
        raise ValueError("the structure has no volume on the dose grid")
    return DoseVolume(np.sort(np.concatenate(found)), inside * step**3 / 1000.0)


@checked_fields
def read_dose(path: Path) -> Dose:
    """A DICOM RTDOSE in Gy; SegmentError for relative units or an uneven grid."""
    data = open_dicom(path, RTDOSE, "dose")
    if str(data.DoseUnits) != "GY":
        raise SegmentError(f"is in {data.DoseUnits}, only GY is read")
    offsets = np.array(data.GridFrameOffsetVector, np.float64)
    steps = np.diff(offsets)
    if len(steps) == 0 or not np.abs(steps - steps[0]).max() <= 1e-3 or steps[0] == 0:
        raise SegmentError("its planes are unevenly spaced, or there is one only")
    turn = np.array(data.ImageOrientationPatient, np.float64)
    lps = plane_axes(turn, data.PixelSpacing)
    lps[:3, 2] = np.cross(turn[:3], turn[3:]) * steps[0]
    lps[:3, 3] = np.array(data.ImagePositionPatient, np.float64)
    scale = float(data.DoseGridScaling)
    if not (0 < scale < math.inf and np.isfinite(lps).all()):
        raise SegmentError(f"its DoseGridScaling is {scale} at {lps[:3, 3].tolist()} mm")
    values = (frames(data).reshape(len(offsets), int(data.Rows), int(data.Columns)) * scale).astype(np.float32)
    return Dose(values, ras_from_lps(lps), identity(data))
