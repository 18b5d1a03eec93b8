"""Where a focused beam puts its heat: a Gaussian focus, and the cone of tissue that it passes before.

The focus is a Gaussian ellipsoid along the beam; before it the beam is a cone whose cross-section is Gaussian too
and which gives each millimetre of its way the same share. What absorbs more or less than liver is learned or told.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from guidance.tissue.pennes import Tissue

Points = NDArray[np.float64]
Values = NDArray[np.float64]
WAIST_SHARE = 0.6  # standard deviation of the cone over its radius
EDGE_MM = 3.0  # radius of the cone at the focus


@dataclass(frozen=True)
class Beam:
    """`direction` from the transducer to the focus (RAS), sigmas in mm, shares of the nominal power.

    `path_mm` is the way through the body before the focus, over which `near_share` is absorbed.
    """

    direction: tuple[float, ...]
    sigma_along_mm: float
    sigma_across_mm: float
    focal_share: float
    near_share: float
    half_angle_deg: float
    path_mm: float

    def _split(self, points_mm: Points, focus_mm: Points) -> tuple[Values, Values]:
        """Way along the beam from the focus, and squared distance from its axis, mm."""
        axis = np.asarray(self.direction) / np.linalg.norm(self.direction)
        offset = points_mm - focus_mm
        along = offset @ axis
        return along, np.maximum((offset**2).sum(axis=-1) - along**2, 0.0)

    def focal_c_per_s(self, points_mm: Points, focus_mm: Points, tissue: Tissue) -> Values:
        """Heating of tissue at (N, 3) RAS points by one watt focused at `focus_mm` (3,), degC/s."""
        along, across2 = self._split(points_mm, focus_mm)
        long, wide = self.sigma_along_mm, self.sigma_across_mm
        shape = np.exp(-0.5 * (along / long) ** 2 - 0.5 * across2 / wide**2)
        volume_m3 = (2.0 * np.pi) ** 1.5 * long * wide**2 * 1e-9
        return np.asarray(self.focal_share * shape / (volume_m3 * tissue.density * tissue.heat_capacity))

    def near_c_per_s(self, points_mm: Points, focus_mm: Points, tissue: Tissue) -> Values:
        """Heating of tissue before the focus by one watt, degC/s; 0 behind it and beyond the skin."""
        along, across2 = self._split(points_mm, focus_mm)
        before = -along
        wide = WAIST_SHARE * (EDGE_MM + np.maximum(before, 0.0) * np.tan(np.radians(self.half_angle_deg)))
        shape = np.exp(-0.5 * across2 / wide**2) / (2.0 * np.pi * wide**2 * 1e-6)
        inside = (before > 0.0) & (before <= self.path_mm)
        per_m = self.near_share / (self.path_mm * 1e-3)
        return np.where(inside, per_m * shape / (tissue.density * tissue.heat_capacity), 0.0)
