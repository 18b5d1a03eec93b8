"""What the patient is made of: shapes in RAS mm at full exhale, and the tissues' properties.

A trunk lying head up: fat, muscle, ribs, liver with a tumour, a vessel beside it, gallbladder
and spine; `head.py` and `flank.py` are other bodies with the same three questions (`labels_at`,
`mobility_at`, `body_grid`). Tissue values: IT'IS database v4 (rounded); liver perfusion as in Pennes models.
"""

from collections.abc import Sequence
from functools import lru_cache, singledispatch
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from sim.space import Vector, unit, vector

Floats = NDArray[np.float32]


class Tissue(msgspec.Struct, frozen=True):
    """One row: density kg/m3, heat capacity J/kg/K, conductivity W/m/K, perfusion kg/m3/s, signals."""

    name: str
    density: float
    heat_capacity: float
    conductivity: float
    perfusion: float
    mr_signal: float
    echo: float  # brightness in ultrasound, 0-1
    prf: float  # share of the water's proton shift: 0 in fat and bone
    absorption: float  # relative to liver


TISSUES = (
    Tissue("outside", 1000, 4180, 0.6, 0.0, 0.0, 0.0, 0.0, 0.0),  # coupling water at body temperature
    Tissue("fat", 911, 2348, 0.21, 0.5, 1.3, 0.35, 0.0, 0.8),
    Tissue("muscle", 1090, 3421, 0.49, 0.7, 0.6, 0.45, 1.0, 1.0),
    Tissue("liver", 1079, 3540, 0.52, 16.0, 1.0, 0.40, 1.0, 1.0),
    Tissue("tumour", 1060, 3600, 0.51, 8.0, 0.8, 0.22, 1.0, 1.0),
    Tissue("vessel", 1050, 3617, 0.52, 1000.0, 1.5, 0.03, 1.0, 0.2),
    Tissue("rib", 1908, 1313, 0.32, 0.3, 0.08, 1.0, 0.0, 8.0),
    Tissue("gallbladder", 1010, 3900, 0.52, 0.0, 1.2, 0.02, 1.0, 0.3),
    Tissue("spine", 1178, 2274, 0.31, 0.5, 0.3, 0.9, 0.0, 5.0),
    Tissue("skull", 1908, 1313, 0.32, 0.3, 0.06, 1.0, 0.0, 8.0),
    Tissue("grey", 1045, 3696, 0.55, 13.5, 0.9, 0.4, 1.0, 1.0),
    Tissue("white", 1041, 3583, 0.48, 3.9, 1.0, 0.4, 1.0, 1.0),
    Tissue("csf", 1007, 4096, 0.57, 0.0, 1.3, 0.02, 1.0, 0.3),
    Tissue("applicator", 1000, 4000, 0.6, 0.0, 0.0, 1.0, 0.0, 0.0),  # catheter or needle: water-like, no signal
    Tissue("kidney", 1066, 3763, 0.53, 60.0, 1.0, 0.35, 1.0, 1.0),
    Tissue("bowel", 1045, 3690, 0.49, 17.0, 0.7, 0.6, 1.0, 1.0),
    Tissue("ureter", 1020, 3900, 0.52, 2.0, 1.2, 0.1, 1.0, 0.5),
)
LABEL = {tissue.name: index for index, tissue in enumerate(TISSUES)}


class BodySettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where things lie, RAS mm at full exhale. The trunk is an ellipse in the axial plane."""

    half_axes_mm: tuple[float, float] = (165.0, 115.0)  # right-left, front-back
    fat_mm: float = 12.0
    muscle_mm: float = 14.0
    rib_pitch_mm: float = 26.0
    rib_width_mm: float = 10.0
    liver_centre_mm: tuple[float, float, float] = (66.0, 5.0, 0.0)
    liver_half_axes_mm: tuple[float, float, float] = (70.0, 68.0, 75.0)
    target_mm: tuple[float, float, float] = (78.0, 0.0, 0.0)
    target_radius_mm: float = 10.0
    vessel_through_mm: tuple[float, float, float] = (60.0, 0.0, 0.0)
    vessel_direction: tuple[float, float, float] = (0.25, 0.35, 1.0)
    vessel_radius_mm: float = 4.0
    gallbladder_mm: tuple[float, float, float] = (40.0, 42.0, -48.0)
    voxel_mm: float = 2.5


def _depth_mm(body: BodySettings, points: NDArray[np.float64]) -> NDArray[np.float64]:
    a, b = body.half_axes_mm
    radius = np.sqrt((points[..., 0] / a) ** 2 + (points[..., 1] / b) ** 2)
    scale = np.hypot(points[..., 0], points[..., 1]) / np.maximum(radius, 1e-9)
    return np.where(radius < 1e-6, min(a, b), scale * (1 - radius))


@singledispatch
def labels_at(body: Any, points_mm: NDArray[np.float64]) -> NDArray[np.uint8]:
    """Tissue label at (..., 3) reference points, RAS mm."""
    raise TypeError(f"{type(body).__name__} is no body")


@singledispatch
def mobility_at(body: Any, points_mm: NDArray[np.float64]) -> NDArray[np.float64]:
    """Share of the organ's displacement at fixed points: 1 inside, 0 in the wall, smooth between."""
    raise TypeError(f"{type(body).__name__} is no body")


@singledispatch
def body_grid(body: Any) -> "Grid":
    """The grid that holds the whole body."""
    raise TypeError(f"{type(body).__name__} is no body")


@labels_at.register
def _trunk_labels(body: BodySettings, points_mm: NDArray[np.float64]) -> NDArray[np.uint8]:
    depth = _depth_mm(body, points_mm)
    wall = body.fat_mm + body.muscle_mm
    z = points_mm[..., 2]
    from_rib = np.abs((z / body.rib_pitch_mm + 0.5) % 1.0)
    from_rib = np.minimum(from_rib, 1 - from_rib) * body.rib_pitch_mm
    rib = (from_rib < body.rib_width_mm / 2) & (np.abs(depth - body.fat_mm - 5) < 4)
    line = unit(vector(body.vessel_direction))
    offset = points_mm - vector(body.vessel_through_mm)
    from_vessel = np.linalg.norm(np.cross(offset, line), axis=-1)
    liver = ellipsoid(points_mm, vector(body.liver_centre_mm), vector(body.liver_half_axes_mm)) & (depth > wall)
    rows = (
        ("outside", depth <= 0),
        ("fat", (depth > 0) & (depth <= body.fat_mm)),
        ("muscle", depth > body.fat_mm),
        ("rib", rib),
        ("liver", liver),
        ("vessel", liver & (from_vessel < body.vessel_radius_mm)),
        ("gallbladder", ellipsoid(points_mm, vector(body.gallbladder_mm), np.array([12.0, 14.0, 24.0]))),
        ("tumour", ellipsoid(points_mm, vector(body.target_mm), np.full(3, body.target_radius_mm))),
        ("spine", np.hypot(points_mm[..., 0], points_mm[..., 1] + 65) < 22),
    )
    return painted(rows)


def painted(rows: Sequence[tuple[str, NDArray[np.bool_]]]) -> NDArray[np.uint8]:
    """Labels of rows (tissue, where), later ones over earlier ones."""
    labels = np.zeros(rows[0][1].shape, dtype=np.uint8)
    for name, where in rows:
        labels[where] = LABEL[name]
    return labels


def from_line(points: NDArray[np.float64], start: Vector, end: Vector) -> NDArray[np.float64]:
    """Distance (...) of points (..., 3) from a line between two points."""
    span = end - start
    along = np.clip((points - start) @ span / float(span @ span), 0.0, 1.0)
    distance: NDArray[np.float64] = np.linalg.norm(points - start - along[..., None] * span, axis=-1)
    return distance


def ellipsoid(points: NDArray[np.float64], centre: Vector, half_axes: Vector) -> NDArray[np.bool_]:
    """Where points (..., 3) lie in an ellipsoid along the axes."""
    inside: NDArray[np.bool_] = (((points - centre) / half_axes) ** 2).sum(axis=-1) < 1
    return inside


@mobility_at.register
def _trunk_mobility(body: BodySettings, points_mm: NDArray[np.float64]) -> NDArray[np.float64]:
    return eased(_depth_mm(body, points_mm) - body.fat_mm - body.muscle_mm)


def eased(inside: NDArray[np.float64]) -> NDArray[np.float64]:
    """0 at depth 0 mm, 1 from 10 mm on, smooth between."""
    ramp = np.clip(inside / 10.0, 0, 1)
    mobile: NDArray[np.float64] = ramp * ramp * (3 - 2 * ramp)
    return mobile


def table(column: str) -> Floats:
    """One property of all tissues, by label."""
    return np.array([getattr(tissue, column) for tissue in TISSUES], dtype=np.float32)


class Grid(msgspec.Struct, frozen=True):
    """A regular grid: `origin_mm` is the centre of voxel 0,0,0; arrays are indexed [x, y, z]."""

    origin_mm: tuple[float, float, float]
    shape: tuple[int, int, int]
    voxel_mm: float

    def points_mm(self) -> NDArray[np.float64]:
        """Centres of all voxels, (nx, ny, nz, 3) RAS mm."""
        axes = [o + self.voxel_mm * np.arange(n) for o, n in zip(self.origin_mm, self.shape, strict=True)]
        return np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1)


@body_grid.register
def _trunk_grid(body: BodySettings) -> Grid:
    return centred_grid((body.half_axes_mm[0] + 5, body.half_axes_mm[1] + 5, 170.0), body.voxel_mm)


def centred_grid(half_mm: tuple[float, float, float], voxel_mm: float) -> Grid:
    """The grid around the origin that reaches `half_mm` along each axis."""
    shape = tuple(int(2 * h / voxel_mm) + 1 for h in half_mm)
    return Grid((-half_mm[0], -half_mm[1], -half_mm[2]), (shape[0], shape[1], shape[2]), voxel_mm)


@lru_cache(maxsize=4)
def body_labels(body: Any) -> NDArray[np.uint8]:
    """Labels of the whole body on `body_grid`; the same patient is built once."""
    labels = labels_at(body, body_grid(body).points_mm())
    labels.flags.writeable = False
    return labels
