"""Where a map was really measured: a slice hardly ever passes the middle of the voxels that it speaks for.

What is known of it is taken off: the measurement is compared with the prediction at the place where it was made. What
is not known (the organ's shift and what it did across the slices) times the steepness of the heat is an error of the
temperature. Part of it all frames have in common, and no filter averages it away.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Map = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Placement:
    """Where the voxels of one map were measured, on the grid of the filter.

    `offset_mm` (a map) is how far from the middle of each voxel, along the grid's `direction` (3,) of slice, row and
    column; `sigma_mm` (3,) the standard deviation of the rest along these axes in this frame, `shared_mm` (3,) that
    which every frame has. `spacing_mm` is the grid's.
    """

    offset_mm: Map
    direction: NDArray[np.float64]
    spacing_mm: tuple[float, float, float]
    sigma_mm: NDArray[np.float64]
    shared_mm: NDArray[np.float64]

    def away_c(self, temperature_c: Map) -> Map:
        """By how much the temperature where it was measured is above that of the voxel, degC."""
        change = np.zeros_like(temperature_c)
        moved = np.nonzero(self.offset_mm)
        if moved[0].size:
            steps = self.direction / np.asarray(self.spacing_mm)
            at = np.stack(moved) + steps[:, None] * self.offset_mm[moved]
            change[moved] = ndimage.map_coordinates(temperature_c, at, order=3, mode="nearest") - temperature_c[moved]
        return change

    def variances(self, temperature_c: Map) -> tuple[Map, Map]:
        """Variance (degC^2) by the error of the place, of this frame alone and of what all frames have in common."""
        slopes = [np.square(slope) for slope in np.gradient(temperature_c, *self.spacing_mm)]
        own, shared = (
            sum(np.float32(mm**2) * slope for mm, slope in zip(sigma, slopes, strict=True))
            for sigma in (self.sigma_mm, self.shared_mm)
        )
        return np.asarray(own, np.float32), np.asarray(shared, np.float32)
