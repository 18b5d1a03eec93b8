"""The grid of a heated target: fixed to the plan, not to the slices, so what it knows outlives every scan plane.

Axes as those of the first image, one spacing in all directions; images are sampled onto it where a slice passes.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from devices.messages import Matrix
from guidance.plan import Plan
from guidance.settings import Heating
from guidance.thermometry.placement import Placement

Map = NDArray[np.float32]
Mask = NDArray[np.bool_]
SPARE_PLANES = 3  # beyond the treated volume: what spreads there counts
BORDER_PX = 4
REST_MM = 0.15  # of the organ's rest position against the plan, along each axis
WITHIN_SHARE, ACROSS_SHARE = 0.03, 0.12  # of the way from rest: error of the place in the slices, and across them
RESERVE_SHARE = 0.4  # of a voxel, beyond the margin


@dataclass(frozen=True, eq=False)
class Region:
    """Its place in space, and the parts of the plan in it; arrays are [slice, row, column]."""

    ras_from_box: Matrix
    spacing_mm: tuple[float, float, float]
    points_mm: NDArray[np.float64]  # (N, 3) RAS
    target: Mask
    treated: Mask  # target with its margin
    cells: NDArray[np.int64]  # nearest sonication point of each treated voxel, -1 elsewhere
    wanted: Mask  # what control is to treat: a little more, since a map's voxels do not end where a margin does
    foci_mm: NDArray[np.float64]  # (points, 3) RAS
    fine: NDArray[np.float64]  # (3, M) slice, row, column of points twice as dense, all in the treated volume
    fine_target: Mask  # (M,) which of them are in the target

    @property
    def shape(self) -> tuple[int, int, int]:
        """Of every map on this grid."""
        planes, rows, columns = self.target.shape
        return planes, rows, columns


def cut_region(plan: Plan, row: Heating, ras_from_image: Matrix) -> Region:
    """The grid of `grid_mm` within `reach_mm` of the target of `row`; the lumen of vessels is no target."""
    target = plan.target(row.target)
    axes = ras_from_image[:3, :3] / np.linalg.norm(ras_from_image[:3, :3], axis=0) * row.grid_mm
    reach = round(row.reach_mm / row.grid_mm)
    layers, index = np.arange(-reach, reach + 1), np.indices((2 * reach + 1,) * 3) - reach
    structure = plan.structure(target.structure or target.name)
    vessels = [s for s in plan.structures if s.role == "vessel"]

    def inside(points: NDArray[np.float64], margin_mm: float) -> Mask:
        found = structure.signed_distance_mm(points) <= margin_mm
        for vessel in vessels:
            found &= vessel.signed_distance_mm(points) > 0.0
        return np.asarray(found)

    def place(grid: NDArray[np.int64]) -> NDArray[np.float64]:
        return np.asarray((axes @ grid[::-1].reshape(3, -1)).T + target.center_mm)

    treated = inside(place(index), target.margin_mm).reshape(index.shape[1:])
    used = layers[treated.any(axis=(1, 2))]
    kept = slice(max(int(used[0]) - SPARE_PLANES, -reach) + reach, min(int(used[-1]) + SPARE_PLANES, reach) + reach + 1)
    index, treated = index[:, kept], treated[kept]
    points = place(index)
    foci = np.asarray(row.points_mm or [target.center_mm], float)
    nearest = np.argmin(((points[:, None] - foci[None]) ** 2).sum(axis=2), axis=1).reshape(treated.shape)
    ras = np.eye(4)
    ras[:3, :3], ras[:3, 3] = axes, points[0]
    spacing = (row.grid_mm, row.grid_mm, row.grid_mm)
    cells = np.where(treated, nearest, -1)
    size: NDArray[np.int64] = np.array(treated.shape)
    fine = np.indices(tuple(2 * size - 1)).reshape(3, -1) / 2.0
    at = (axes @ fine[::-1]).T + points[0]
    fine_treated = inside(at, target.margin_mm)
    return Region(
        ras, spacing, points,
        target=inside(points, 0.0).reshape(treated.shape), treated=treated, cells=cells,
        wanted=inside(points, target.margin_mm + RESERVE_SHARE * row.grid_mm).reshape(treated.shape), foci_mm=foci,
        fine=fine[:, fine_treated], fine_target=inside(at[fine_treated], 0.0),
    )  # fmt: skip


def coverage(region: Region, dose_min: NDArray[np.floating[Any]], wanted_min: float) -> tuple[float, float]:
    """Shares of target and of target with margin that have the dose; its logarithm is linear between voxels."""
    level = np.log2(np.maximum(dose_min, 1e-6)).astype(np.float32)
    enough = ndimage.map_coordinates(level, region.fine, order=1) >= np.log2(wanted_min)
    return float(enough[region.fine_target].mean()), float(enough.mean())


class Slices:
    """How a region lies in one stack of slices: sampling of its maps, and what no slice sees."""

    def __init__(self, region: Region, ras_from_image: Matrix, motion: tuple[float, ...] | None) -> None:
        self._region = region
        self.place = ras_from_image.tobytes()
        inverse = np.linalg.inv(ras_from_image)
        self._index = inverse[:3, :3] @ region.points_mm.T + inverse[:3, 3:]  # column, row, slice
        self._step_mm = np.linalg.norm(ras_from_image[:3, :3], axis=0)
        self._near = 0.5 * region.spacing_mm[0] / self._step_mm[2] + 1e-6
        self._slant = _slant(ras_from_image, motion)
        axes = region.ras_from_box[:3, :3] / np.linalg.norm(region.ras_from_box[:3, :3], axis=0)
        self._across = (axes.T @ ras_from_image[:3, 2] / self._step_mm[2])[::-1]  # of the slices, along the grid's axes
        middle = self._index.mean(axis=1)
        self.middle = (round(float(middle[2])), round(float(middle[1])), round(float(middle[0])))

    def sample(self, shift_px: tuple[float, float], shape: tuple[int, ...], volumes: list[tuple[Any, int]]
               ) -> tuple[Mask, Placement, list[Map]]:  # fmt: skip
        """Where a slice passes the moved tissue and how far beside its voxels, and the values there of each (volume,
        order of its spline).

        `shift_px` (columns, rows) is where the tissue is against its rest; across the slices it is taken to have
        moved along the plan's direction of motion. Values elsewhere are 0.
        """
        column, row = self._index[0] + shift_px[0], self._index[1] + shift_px[1]
        across = self._index[2] + self._slant @ np.asarray(shift_px)
        layer = np.rint(across)
        inside = (np.abs(across - layer) <= self._near) & (layer >= 0) & (layer < shape[0])
        for at, count in ((row, shape[1]), (column, shape[2])):
            inside &= (at >= 0.0) & (at <= count - 1.0)
        found = [np.zeros(inside.shape, np.float32) for _ in volumes]
        if inside.any():
            at = np.stack((layer[inside], row[inside], column[inside]))
            low = np.maximum(np.floor(at[1:].min(axis=1)).astype(int) - BORDER_PX, 0)
            high = np.ceil(at[1:].max(axis=1)).astype(int) + BORDER_PX + 1
            at[1:] -= low[:, None]
            for values, (volume, order) in zip(found, volumes, strict=True):
                part = volume[:, low[0] : high[0], low[1] : high[1]]
                values[inside] = ndimage.map_coordinates(part, at, order=order, mode="nearest")
        size = self._region.shape
        beside = np.where(inside, (layer - across) * self._step_mm[2], 0.0).astype(np.float32).reshape(size)
        return inside.reshape(size), self._placement(beside, shift_px), [values.reshape(size) for values in found]

    def _placement(self, beside_mm: Map, shift_px: tuple[float, float]) -> Placement:
        """The place's error grows with the way from rest, most across the slices, where nothing is measured."""
        moved_mm = float(np.linalg.norm(np.asarray(shift_px) * self._step_mm[:2]))
        share = self._across**2
        sigma = np.sqrt((1.0 - share) * (WITHIN_SHARE * moved_mm) ** 2 + share * (ACROSS_SHARE * moved_mm) ** 2)
        return Placement(beside_mm, self._across, self._region.spacing_mm, sigma, np.full(3, REST_MM))


def _slant(ras_from_image: Matrix, motion: tuple[float, ...] | None) -> NDArray[np.float64]:
    """Slices across per pixel of shift along columns and rows, for tissue that moves along `motion` (RAS)."""
    if motion is None:
        return np.zeros(2)
    steps = np.linalg.norm(ras_from_image[:3, :3], axis=0)
    along = (ras_from_image[:3, :3] / steps).T @ (np.asarray(motion) / np.linalg.norm(motion))
    in_plane = max(float(along[:2] @ along[:2]), 1e-3)
    return np.asarray(along[2] / steps[2] * along[:2] * steps[:2] / in_plane)
