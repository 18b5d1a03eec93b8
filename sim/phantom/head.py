"""A head: scalp, skull, grey and white matter, a ventricle, a tumour with a vessel and a tract beside it.

A thin laser catheter runs from `entry_mm` to its tip, which lies `past_mm` beyond the tumour's centre.
"""

import msgspec
import numpy as np
from numpy.typing import NDArray

from sim.phantom.anatomy import Grid, body_grid, centred_grid, ellipsoid, from_line, labels_at, mobility_at, painted
from sim.space import Vector, unit, vector

LONG_MM = 200.0  # vessel and tract run through the whole head


class HeadSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where things lie, RAS mm; the head is an ellipsoid around the origin."""

    half_axes_mm: tuple[float, float, float] = (72.0, 92.0, 78.0)
    scalp_mm: float = 5.0
    skull_mm: float = 6.0
    fluid_mm: float = 2.0
    grey_mm: float = 4.0
    target_mm: tuple[float, float, float] = (32.0, 20.0, 25.0)
    target_radius_mm: float = 8.0
    entry_mm: tuple[float, float, float] = (51.8, 20.0, 51.4)
    past_mm: float = 5.0
    catheter_radius_mm: float = 0.9
    vessel_through_mm: tuple[float, float, float] = (41.0, 20.0, 17.0)
    vessel_direction: tuple[float, float, float] = (0.0, 1.0, 0.0)
    vessel_radius_mm: float = 2.0
    tract_through_mm: tuple[float, float, float] = (15.0, 20.0, 20.0)
    tract_direction: tuple[float, float, float] = (0.0, 1.0, 0.3)
    tract_radius_mm: float = 3.0
    voxel_mm: float = 1.25

    @property
    def along(self) -> Vector:
        """Direction of the catheter, from the entry to its tip."""
        return unit(vector(self.target_mm) - vector(self.entry_mm))

    @property
    def tip_mm(self) -> Vector:
        """Tip of the catheter."""
        return vector(self.target_mm) + self.past_mm * self.along


def tract_at(head: HeadSettings, points_mm: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Where the tract to be spared runs: white matter like its surroundings, so it has no label of its own."""
    return _tube(points_mm, head.tract_through_mm, head.tract_direction) < head.tract_radius_mm


def _tube(
    points: NDArray[np.float64], through: tuple[float, float, float], direction: tuple[float, float, float]
) -> NDArray[np.float64]:
    half = unit(vector(direction)) * LONG_MM
    return from_line(points, vector(through) - half, vector(through) + half)


@labels_at.register
def _head_labels(body: HeadSettings, points_mm: NDArray[np.float64]) -> NDArray[np.uint8]:
    half = np.asarray(body.half_axes_mm)
    middle = np.zeros(3)
    inner = half - body.scalp_mm - body.skull_mm
    brain = inner - body.fluid_mm
    rows = (
        ("fat", ellipsoid(points_mm, middle, half)),
        ("skull", ellipsoid(points_mm, middle, half - body.scalp_mm)),
        ("csf", ellipsoid(points_mm, middle, inner)),
        ("grey", ellipsoid(points_mm, middle, brain)),
        ("white", ellipsoid(points_mm, middle, brain - body.grey_mm)),
        ("csf", ellipsoid(points_mm, np.array([0.0, 5.0, 15.0]), np.array([9.0, 30.0, 10.0]))),
        ("tumour", ellipsoid(points_mm, vector(body.target_mm), np.full(3, body.target_radius_mm))),
        ("vessel", _tube(points_mm, body.vessel_through_mm, body.vessel_direction) < body.vessel_radius_mm),
        ("applicator", from_line(points_mm, vector(body.entry_mm), body.tip_mm) < body.catheter_radius_mm),
    )
    outside = ~rows[0][1]
    return painted((*rows, ("outside", outside)))


@mobility_at.register
def _head_mobility(body: HeadSettings, points_mm: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.zeros(points_mm.shape[:-1])  # the head lies still in its frame


@body_grid.register
def _head_grid(body: HeadSettings) -> Grid:
    x, y, z = body.half_axes_mm
    return centred_grid((x + 5, y + 5, z + 5), body.voxel_mm)
