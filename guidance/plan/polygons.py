"""Outlines drawn slice by slice, and closed surfaces, as label maps.

A voxel is inside when a ray from it crosses the outlines an odd number of times (so holes and
islands come out right without saying which is which). Contours lie in parallel planes one slice
apart; a voxel row's centre is tested, and the slice is as thick as the planes are apart.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numba
import numpy as np
from numpy.typing import NDArray

from guidance.exact import M, Matrix, kernel
from guidance.plan.segments import SegmentError, fill_gaps

PLANE_MM = 0.05  # contours of one slice lie in one plane within this
CELLS = 400  # most columns or rows that an outline is drawn with
FINEST_MM = 0.4
MOST_CELLS = 1 << 27

_U1 = numba.types.Array(numba.uint8, 2, "C")
_U3 = numba.types.Array(numba.uint8, 3, "C")
_I4 = numba.types.Array(numba.int64, 2, "C", readonly=True)


@kernel(numba.void(M, _U1))
def _toggle_polygon(points: NDArray[np.float64], toggles: NDArray[np.uint8]) -> None:
    """Marks in `toggles` [row, column] where a ray along the row enters or leaves; points (N, 2) in pixels."""
    rows, columns = toggles.shape
    for n in range(points.shape[0]):
        x0, y0 = points[n, 0], points[n, 1]
        x1, y1 = points[(n + 1) % points.shape[0], 0], points[(n + 1) % points.shape[0], 1]
        if y0 == y1:
            continue
        low, high = min(y0, y1), max(y0, y1)
        row = max(0, math.ceil(low))
        while row < rows and row < high:
            x = x0 + (row - y0) / (y1 - y0) * (x1 - x0)
            column = math.ceil(x)
            if column < columns:
                toggles[row, max(0, column)] ^= 1
            row += 1


@kernel(numba.void(M, _I4, _U3))
def _toggle_triangles(points: NDArray[np.float64], triangles: NDArray[np.int64], toggles: NDArray[np.uint8]) -> None:
    """As `_toggle_polygon` for rays along i through a surface: points (N, 3) in voxels (i, j, k)."""
    slices, rows, columns = toggles.shape
    for n in range(triangles.shape[0]):
        a, b, c = triangles[n, 0], triangles[n, 1], triangles[n, 2]
        ay, az, by, bz = points[a, 1], points[a, 2], points[b, 1], points[b, 2]
        cy, cz = points[c, 1], points[c, 2]
        area = (by - ay) * (cz - az) - (cy - ay) * (bz - az)
        if area == 0.0:
            continue
        for k in range(max(0, math.ceil(min(az, bz, cz))), min(slices - 1, int(max(az, bz, cz))) + 1):
            for j in range(max(0, math.ceil(min(ay, by, cy))), min(rows - 1, int(max(ay, by, cy))) + 1):
                y, z = j + 1.234567e-7, k + 2.345678e-7  # never exactly through an edge
                u = ((by - y) * (cz - z) - (cy - y) * (bz - z)) / area
                v = ((cy - y) * (az - z) - (ay - y) * (cz - z)) / area
                if u < 0.0 or v < 0.0 or u + v > 1.0:
                    continue
                column = math.ceil(u * points[a, 0] + v * points[b, 0] + (1.0 - u - v) * points[c, 0])
                if column < columns:
                    toggles[k, j, max(0, column)] ^= 1


@dataclass(frozen=True, eq=False)
class _Plane:
    height_mm: float
    outlines: list[NDArray[np.float64]]


def contours_to_mask(
    contours: Sequence[NDArray[np.float64]], max_gap: int, what: str
) -> tuple[NDArray[np.bool_], Matrix]:
    """Label map [slice, row, column] and its `ras_from_image` of closed planar contours (N, 3) in RAS mm.

    SegmentError for contours that are open, not planar, not parallel or not evenly spaced, and for
    missing slices beyond `max_gap`.
    """
    axes = _axes(contours, what)
    local = [np.asarray(contour, np.float64) @ axes for contour in contours]
    planes = _planes(local, what)
    step = _step(planes, what)
    every = np.concatenate([outline for plane in planes for outline in plane.outlines])
    low, high = every.min(axis=0), every.max(axis=0)
    cell = max(FINEST_MM, float((high - low)[:2].max()) / CELLS)
    columns, rows = (int(extent) for extent in np.ceil((high - low)[:2] / cell) + 3)
    base = planes[0].height_mm
    slices = round((planes[-1].height_mm - base) / step) + 1
    if float(slices) * rows * columns > MOST_CELLS:
        raise SegmentError(f"{what}: {slices} planes of {step:.3f} mm and {columns} x {rows} cells are too many")
    found = np.zeros((slices, rows, columns), np.bool_)
    origin = low[:2] - cell
    for plane in planes:
        _refuse_twice(plane, what)
        toggles = np.zeros((rows, columns), np.uint8)
        for outline in plane.outlines:
            _toggle_polygon(np.ascontiguousarray((outline[:, :2] - origin) / cell), toggles)
        found[round((plane.height_mm - base) / step)] = np.bitwise_xor.accumulate(toggles, axis=1) > 0
    matrix = np.eye(4)
    matrix[:3, :3] = axes * [cell, cell, step]
    matrix[:3, 3] = axes @ [*origin, base]
    return fill_gaps(found, max_gap, what), matrix


def _axes(contours: Sequence[NDArray[np.float64]], what: str) -> NDArray[np.float64]:
    """Columns are two directions in the planes and their normal, the nearest to S upwards."""
    if not contours:
        raise SegmentError(f"{what} has no contours")
    for number, contour in enumerate(contours):
        if len(contour) < 3:
            raise SegmentError(f"{what}: contour {number} has {len(contour)} points; a closed one has 3 or more")
    largest = max(contours, key=lambda contour: float(np.ptp(contour, axis=0).max()))
    normal = np.linalg.svd(largest - largest.mean(axis=0))[2][2]
    normal *= np.sign(normal[np.argmax(np.abs(normal))])
    normal = np.where(np.abs(normal) < 1e-6, 0.0, normal)
    first = np.eye(3)[int(np.argmin(np.abs(normal[:2])))]
    first = first - (first @ normal) * normal
    first /= np.sqrt((first**2).sum())
    return np.column_stack([first, np.cross(normal, first), normal])


def _planes(local: Sequence[NDArray[np.float64]], what: str) -> list[_Plane]:
    rows: list[_Plane] = []
    for number, outline in sorted(enumerate(local), key=lambda row: float(row[1][:, 2].mean())):
        if float(np.ptp(outline[:, 2])) > 2 * PLANE_MM:
            raise SegmentError(f"{what}: contour {number} is not planar, or not parallel to the others")
        height = float(outline[:, 2].mean())
        if rows and height - rows[-1].height_mm < 2 * PLANE_MM:
            rows[-1].outlines.append(outline)
        else:
            rows.append(_Plane(height, [outline]))
    return rows


def _refuse_twice(plane: _Plane, what: str) -> None:
    """The same outline twice would cancel itself out."""
    seen = {np.round(outline[:, :2], 3).tobytes() for outline in plane.outlines}
    if len(seen) != len(plane.outlines):
        raise SegmentError(f"{what}: the same contour is drawn twice at {plane.height_mm:.2f} mm")


def _step(planes: list[_Plane], what: str) -> float:
    if len(planes) < 2:
        raise SegmentError(f"{what} is drawn in one plane only: its thickness is not known")
    gaps = np.diff([plane.height_mm for plane in planes])
    step = float(np.median(gaps[gaps < 1.5 * gaps.min()]))
    if np.abs(gaps / step - np.rint(gaps / step)).max() > 0.1:
        raise SegmentError(f"{what}: its planes are unevenly spaced, {gaps.min():.2f} to {gaps.max():.2f} mm")
    return step


def surface_to_mask(
    points: NDArray[np.float64], triangles: NDArray[np.int64], spacing_mm: float, what: str
) -> tuple[NDArray[np.bool_], Matrix]:
    """Label map and its `ras_from_image` of a closed surface: points (N, 3) RAS mm, triangles (M, 3)."""
    open_edges = count_open_edges(triangles)
    if open_edges:
        raise SegmentError(f"{what} is not closed: {open_edges} edges belong to one triangle only")
    low, high = points.min(axis=0) - spacing_mm, points.max(axis=0) + spacing_mm
    size = np.ceil((high - low) / spacing_mm).astype(int) + 1
    if float(np.prod(size.astype(float))) > 512.0**3:
        raise SegmentError(f"{what}: {size.tolist()} voxels of {spacing_mm} mm are too many; raise spacing_mm")
    toggles = np.zeros(tuple(size[::-1]), np.uint8)
    _toggle_triangles(np.ascontiguousarray((points - low) / spacing_mm), np.ascontiguousarray(triangles), toggles)
    matrix = np.diag([spacing_mm, spacing_mm, spacing_mm, 1.0])
    matrix[:3, 3] = low
    found: NDArray[np.bool_] = np.bitwise_xor.accumulate(toggles, axis=2) > 0
    return found, matrix


def count_open_edges(triangles: NDArray[np.int64]) -> int:
    """Edges that do not belong to exactly two triangles."""
    edges = np.sort(np.concatenate([triangles[:, [0, 1]], triangles[:, [1, 2]], triangles[:, [2, 0]]]), axis=1)
    _, counts = np.unique(edges, axis=0, return_counts=True)
    return int((counts != 2).sum())
