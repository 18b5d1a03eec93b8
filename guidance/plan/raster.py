"""Shapes onto grids: masks of image voxels and outlines in a plane."""

from typing import Any

import contourpy
import numpy as np
from numpy.typing import NDArray

from guidance.exact import Matrix, apply, invert
from guidance.plan.shapes import Shape, signed_distance_mm

_CORNERS = np.array(list(np.ndindex(2, 2, 2)), np.bool_)
_AS_USUAL: dict[str, Any] = {  # contourpy's own front door spends more time on masked arrays than on tracing
    "corner_mask": True,
    "line_type": contourpy.LineType.Separate,
    "fill_type": contourpy.FillType.OuterOffset,
    "quad_as_tri": False,
    "z_interp": contourpy.ZInterp.Linear,
}
STEP_PX = 4.0  # outlines are interpolated between samples this far apart, closer for small shapes


def _index_box(shape: Shape, ras_from_image: Matrix, extent: tuple[int, int, int]) -> NDArray[np.int64] | None:
    """(2, 3): first and one-past-last i, j, k that can lie inside, or None."""
    low, high = shape.bounds_mm
    corners = np.where(_CORNERS, high, low)
    ijk = apply(invert(np.ascontiguousarray(ras_from_image, np.float64)), corners)
    first = np.maximum(np.floor(ijk.min(axis=0)).astype(np.int64), 0)
    last = np.minimum(np.ceil(ijk.max(axis=0)).astype(np.int64) + 1, np.array(extent))
    return np.stack([first, last]) if (first < last).all() else None


def mask(shape: Shape, ras_from_image: Matrix, size: tuple[int, int, int]) -> NDArray[np.bool_]:
    """Voxels [slice, row, column] of an image whose centre lies in the shape or on its surface.

    `ras_from_image` (4, 4) maps (i, j, k) = (column, row, slice) to RAS mm; `size` is (slices, rows, columns).
    """
    found = np.zeros(size, np.bool_)
    box = _index_box(shape, ras_from_image, (size[2], size[1], size[0]))
    if box is None:
        return found
    (i0, j0, k0), (i1, j1, k1) = box
    j, i = np.meshgrid(np.arange(j0, j1), np.arange(i0, i1), indexing="ij")
    plane = np.stack([i.ravel(), j.ravel(), np.zeros(i.size)], axis=1).astype(np.float64)
    for k in range(k0, k1):
        plane[:, 2] = k
        inside = signed_distance_mm(shape, apply(ras_from_image, plane)) <= 0.0
        found[k, j0:j1, i0:i1] = inside.reshape(i.shape)
    return found


def contours(shape: Shape, ras_from_plane: Matrix, size: tuple[int, int]) -> list[NDArray[np.float64]]:
    """Outlines of the shape in a plane, as polylines (N, 2) of (column, row) in pixels; closed ones repeat the first.

    `ras_from_plane` (4, 4) maps (column, row, 0) to RAS mm; `size` is (rows, columns). Sampled
    every 4 pixels or a quarter of the shape's smallest detail and interpolated between samples.
    """
    matrix = np.ascontiguousarray(ras_from_plane, np.float64)
    window = _plane_window(shape, matrix, size)
    if window is None:
        return []
    pixel_mm = float(np.sqrt((matrix[:3, :2] ** 2).sum(axis=0)).min())
    step = max(0.5, min(STEP_PX, shape.feature_mm / 4 / pixel_mm))
    (x0, y0), (x1, y1) = window
    columns = np.linspace(x0, x1, max(2, int(np.ceil((x1 - x0) / step)) + 1))
    rows = np.linspace(y0, y1, max(2, int(np.ceil((y1 - y0) / step)) + 1))
    grid = np.zeros((len(rows), len(columns), 3))
    grid[..., 0] = columns
    grid[..., 1] = rows[:, None]
    depth = signed_distance_mm(shape, apply(matrix, grid.reshape(-1, 3))).reshape(len(rows), len(columns))
    if depth.min() > 0.0:
        return []
    x, y = np.broadcast_to(columns, depth.shape), np.broadcast_to(rows[:, None], depth.shape)
    tracer = contourpy.SerialContourGenerator(x, y, depth, ~np.isfinite(depth), **_AS_USUAL)
    lines = tracer.lines(0.0)
    return [np.asarray(line, np.float64) for line in lines]


def _plane_window(shape: Shape, matrix: Matrix, size: tuple[int, int]) -> NDArray[np.float64] | None:
    """(2, 2): lowest and highest (column, row) that can lie inside, or None when the plane misses the shape."""
    (ax, ay, az), (bx, by, bz) = matrix[:3, :2].T.tolist()
    nx, ny, nz = ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx
    (lx, ly, lz), (hx, hy, hz) = shape.bounds_mm.tolist()
    ox, oy, oz = matrix[:3, 3].tolist()
    off = nx * ((lx + hx) / 2 - ox) + ny * ((ly + hy) / 2 - oy) + nz * ((lz + hz) / 2 - oz)
    if abs(off) > (abs(nx) * (hx - lx) + abs(ny) * (hy - ly) + abs(nz) * (hz - lz)) / 2:
        return None  # all corners lie on one side of the plane, as those of most shapes do
    norm = (nx * nx + ny * ny + nz * nz) ** 0.5
    whole = matrix.copy()
    whole[:3, 2] = nx / norm, ny / norm, nz / norm
    local = apply(invert(whole), np.where(_CORNERS, (hx, hy, hz), (lx, ly, lz)))
    first = np.maximum(local[:, :2].min(axis=0) - 1, 0.0)
    last = np.minimum(local[:, :2].max(axis=0) + 1, [size[1] - 1.0, size[0] - 1.0])
    return np.stack([first, last]) if (first < last).all() else None


def surface_points(shape: Shape, step_mm: float | None = None) -> NDArray[np.float64]:
    """Points (N, 3) RAS mm all over a shape's surface, about `step_mm` apart (default: a 64th of its size)."""
    low, high = shape.bounds_mm
    step = step_mm or float((high - low).max()) / 64
    axes = [np.arange(low[a] - step, high[a] + 2 * step, step) for a in range(3)]
    grid = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)
    return onto_surface(shape, grid[np.abs(signed_distance_mm(shape, grid)) < step], step / 4)


def onto_surface(shape: Shape, points: NDArray[np.float64], nudge_mm: float) -> NDArray[np.float64]:
    """Points (N, 3) near the surface moved onto it along the gradient of the distance."""
    gradient = np.stack(
        [
            signed_distance_mm(shape, points + nudge_mm * axis) - signed_distance_mm(shape, points - nudge_mm * axis)
            for axis in np.eye(3)
        ],
        axis=1,
    )
    gradient /= np.maximum(np.sqrt((gradient**2).sum(axis=1)), 1e-9)[:, None]
    moved: NDArray[np.float64] = points - signed_distance_mm(shape, points)[:, None] * gradient
    return moved
