"""Binary volumetric feedback: each sonication point is on while its cell is cool and off when it is warm.

On below, off above, in between as it was (Enholm et al., IEEE Trans Biomed Eng 2010;57:103; for
mild hyperthermia Partanen et al., Int J Hyperthermia 2012;28:320: 41-42.5 degC).
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class BinarySettings:
    """Degrees below which a cell is heated and above which it is not; a hotter voxel turns its cell off at once.

    A cell with fewer valid voxels than `valid_share_min` is off: no measurement, no heating.
    """

    on_below_c: float = 41.0
    off_above_c: float = 42.5
    hottest_c: float = 44.0
    valid_share_min: float = 0.5


class BinaryFeedback:
    """State of all cells: `cells` [slice, row, column] holds the number of each voxel's cell from 0, -1 = none."""

    def __init__(self, cells: NDArray[np.integer[Any]], settings: BinarySettings | None = None) -> None:
        self.settings = settings or BinarySettings()
        if not self.settings.on_below_c < self.settings.off_above_c <= self.settings.hottest_c:
            raise ValueError("on_below_c, off_above_c and hottest_c must rise in this order")
        self._voxels = np.flatnonzero(cells >= 0)
        self._cell = cells.ravel()[self._voxels]
        if self._cell.size == 0:
            raise ValueError("no voxel belongs to a cell: nothing could be measured")
        self._size = np.bincount(self._cell)
        self._shape = cells.shape
        self.on = np.zeros(self._size.size, np.bool_)

    def update(self, temperature_c: NDArray[np.floating[Any]], valid: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Which cells to heat now, from the map in degC and where it is valid."""
        if temperature_c.shape != self._shape or valid.shape != self._shape:
            raise ValueError(f"map {temperature_c.shape} and validity {valid.shape} must have shape {self._shape}")
        seen = valid.ravel()[self._voxels] & np.isfinite(temperature_c.ravel()[self._voxels])
        values = np.where(seen, temperature_c.ravel()[self._voxels], 0.0)
        count = np.bincount(self._cell, seen, self._size.size)
        mean = np.bincount(self._cell, values, self._size.size) / np.maximum(count, 1.0)
        hottest = np.full(self._size.size, -np.inf)
        np.maximum.at(hottest, self._cell[seen], values[seen])
        measured = (count > 0) & (count >= self.settings.valid_share_min * self._size)
        cool = mean < self.settings.on_below_c
        stays = self.on & (mean <= self.settings.off_above_c)
        self.on = measured & (cool | stays) & (hottest <= self.settings.hottest_c)
        return self.on
