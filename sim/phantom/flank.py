"""A right flank: wall, fat, a kidney with a tumour, colon and ureter near it, and needles in the tumour.

The needles run parallel, from behind (`towards`), each to `past_mm` beyond the tumour's centre.
"""

import msgspec
import numpy as np
from numpy.typing import NDArray

from sim.phantom.anatomy import (
    Grid,
    body_grid,
    centred_grid,
    eased,
    ellipsoid,
    from_line,
    labels_at,
    mobility_at,
    painted,
)  # fmt: skip
from sim.space import Vector, unit, vector

LONG_MM = 120.0


class FlankSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where things lie, RAS mm at full exhale. The trunk is an ellipse in the axial plane."""

    half_axes_mm: tuple[float, float] = (165.0, 115.0)
    fat_mm: float = 12.0
    muscle_mm: float = 14.0
    kidney_mm: tuple[float, float, float] = (62.0, -54.0, 0.0)
    kidney_half_axes_mm: tuple[float, float, float] = (27.0, 27.0, 55.0)
    capsule_fat_mm: float = 9.0
    target_mm: tuple[float, float, float] = (80.0, -62.0, -10.0)
    target_radius_mm: float = 10.0
    colon_through_mm: tuple[float, float, float] = (103.0, -37.0, -10.0)
    colon_radius_mm: float = 10.0
    ureter_through_mm: tuple[float, float, float] = (48.0, -38.0, -10.0)
    ureter_radius_mm: float = 2.5
    needles_mm: tuple[tuple[float, float], ...] = ((6.5, 0.0), (-3.25, 5.6), (-3.25, -5.6))  # right-left, foot-head
    towards: tuple[float, float, float] = (0.0, 1.0, 0.0)
    past_mm: float = 10.0
    needle_mm: float = 80.0
    needle_radius_mm: float = 0.75
    voxel_mm: float = 2.5

    def needles(self) -> list[tuple[Vector, Vector]]:
        """(tip, a point on the shaft `needle_mm` behind it) of each."""
        along = unit(vector(self.towards))
        rows = []
        for right, head in self.needles_mm:
            tip = vector(self.target_mm) + np.array([right, 0.0, head]) + self.past_mm * along
            rows.append((tip, tip - self.needle_mm * along))
        return rows


def _depth_mm(body: FlankSettings, points: NDArray[np.float64]) -> NDArray[np.float64]:
    a, b = body.half_axes_mm
    radius = np.sqrt((points[..., 0] / a) ** 2 + (points[..., 1] / b) ** 2)
    scale = np.hypot(points[..., 0], points[..., 1]) / np.maximum(radius, 1e-9)
    return np.where(radius < 1e-6, min(a, b), scale * (1 - radius))


def _tube(points: NDArray[np.float64], through: tuple[float, float, float]) -> NDArray[np.float64]:
    half = np.array([0.0, 0.0, LONG_MM])
    return from_line(points, vector(through) - half, vector(through) + half)


@labels_at.register
def _flank_labels(body: FlankSettings, points_mm: NDArray[np.float64]) -> NDArray[np.uint8]:
    depth = _depth_mm(body, points_mm)
    kidney, half = vector(body.kidney_mm), np.asarray(body.kidney_half_axes_mm)
    rows = [
        ("fat", depth > 0),
        ("muscle", depth > body.fat_mm),
        ("bowel", depth > body.fat_mm + body.muscle_mm),  # the inside of the belly, for want of detail
        ("fat", ellipsoid(points_mm, kidney, half + body.capsule_fat_mm) & (depth > body.fat_mm + body.muscle_mm)),
        ("kidney", ellipsoid(points_mm, kidney, half)),
        ("tumour", ellipsoid(points_mm, vector(body.target_mm), np.full(3, body.target_radius_mm))),
        ("ureter", _tube(points_mm, body.ureter_through_mm) < body.ureter_radius_mm),
        ("bowel", _tube(points_mm, body.colon_through_mm) < body.colon_radius_mm),
        ("spine", np.hypot(points_mm[..., 0], points_mm[..., 1] + 65) < 22),
    ]
    rows += [("applicator", from_line(points_mm, tip, end) < body.needle_radius_mm) for tip, end in body.needles()]
    return painted(rows)


def organ_at(body: FlankSettings, organ: str, points_mm: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Where `colon` or `ureter` lie: the organs to be spared."""
    tubes = {"colon": (body.colon_through_mm, body.colon_radius_mm)}
    tubes["ureter"] = (body.ureter_through_mm, body.ureter_radius_mm)
    through, radius = tubes[organ]
    return _tube(points_mm, through) < radius


@mobility_at.register
def _flank_mobility(body: FlankSettings, points_mm: NDArray[np.float64]) -> NDArray[np.float64]:
    return eased(_depth_mm(body, points_mm) - body.fat_mm - body.muscle_mm)


@body_grid.register
def _flank_grid(body: FlankSettings) -> Grid:
    return centred_grid((body.half_axes_mm[0] + 5, body.half_axes_mm[1] + 5, 120.0), body.voxel_mm)
