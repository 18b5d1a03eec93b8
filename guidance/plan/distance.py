"""Signed distance to a label map: computed once per plan, looked up along the tool.

**Convention**: the surface goes through the middle of every face between an inside and an outside
voxel; the distance of a voxel centre is the Euclidean distance to the nearest such point, so the
centres beside a face have plus and minus half a voxel and the linear look-up is zero on the face.
Against smooth shapes this is within half a voxel, anisotropic voxels too, and outside on the near
side; the centre-to-centre distance of ITK's Maurer filter is off by half a slice at an end slice.
Separable lower envelopes (Felzenszwalb and Huttenlocher 2012), one family for each face direction.
"""

import hashlib
import math
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from guidance.exact import F8, V_OUT, M, Matrix, V, Vector, invert, kernel
from guidance.plan.shapes import Points, canonical_mm

F4 = numba.float32
_GRID = numba.types.Array(F4, 3, "C", readonly=True)
_FAR = np.float32(3e38)
MOST_VOXELS = 1 << 27  # of a field: half a gigabyte


@kernel(numba.void(F4[:, :, ::1], F8, F8))
def _sweep_last(cost: NDArray[np.float32], spacing: float, offset: float) -> None:
    """In place along the last axis: cost[p] = min over u of cost[u] + ((p - u - offset) spacing)^2."""
    size = cost.shape[2]
    height, center, start = np.empty(size), np.empty(size), np.empty(size)
    for a in range(cost.shape[0]):
        for b in range(cost.shape[1]):
            top = -1
            for u in range(size):
                if cost[a, b, u] >= 1e38:
                    continue
                c, h = (u + offset) * spacing, float(cost[a, b, u])
                cross = -math.inf
                while top >= 0:
                    cross = (h + c * c - height[top] - center[top] * center[top]) / (2.0 * (c - center[top]))
                    if cross > start[top]:
                        break
                    top -= 1
                    cross = -math.inf
                top += 1
                height[top], center[top], start[top] = h, c, cross
            if top < 0:
                continue
            p = size - 1
            while p >= 0:
                x = p * spacing
                while x < start[top]:
                    top -= 1
                d = x - center[top]
                cost[a, b, p] = height[top] + d * d
                p -= 1


def _sweep(cost: NDArray[np.float32], axis: int, spacing: float, offset: float = 0.0) -> NDArray[np.float32]:
    turned = np.ascontiguousarray(np.moveaxis(cost, axis, 2))
    _sweep_last(turned, spacing, offset)
    return np.ascontiguousarray(np.moveaxis(turned, 2, axis))


def _face_distance(inside: NDArray[np.bool_], spacing_kji: Vector) -> NDArray[np.float32]:
    """Distance in mm of every voxel centre to the nearest middle of a face between unlike voxels."""
    k, j, i = (float(step) for step in spacing_kji)
    best = _sweep(_sweep(_faces(inside, 2), 2, i, 0.5), 1, j)
    np.minimum(best, _sweep(_sweep(_faces(inside, 1), 1, j, 0.5), 2, i), out=best)
    best = _sweep(best, 0, k)
    np.minimum(best, _sweep(_sweep(_sweep(_faces(inside, 0), 0, k, 0.5), 1, j), 2, i), out=best)
    return np.sqrt(best, out=best)


def _faces(inside: NDArray[np.bool_], axis: int) -> NDArray[np.float32]:
    """0 where the voxel and the next one along `axis` are unlike, far elsewhere."""
    cost = np.full(inside.shape, _FAR)
    here = tuple(slice(0, -1) if a == axis else slice(None) for a in range(3))
    cost[here][np.diff(inside, axis=axis)] = 0.0
    return cost


@kernel(numba.void(_GRID, M, V, F8, M, V_OUT))
def look_up(
    grid: NDArray[np.float32],
    grid_from_ras: Matrix,
    spacing: Vector,
    margin: float,
    points: Points,
    out: Vector,
) -> None:
    """Linear look-up of a distance grid at points (N, 3); outside of it a bound that is never too large."""
    for n in range(points.shape[0]):
        away, reach = 0.0, 0.0
        x, y, z = points[n, 0], points[n, 1], points[n, 2]
        i = grid_from_ras[0, 0] * x + grid_from_ras[0, 1] * y + grid_from_ras[0, 2] * z + grid_from_ras[0, 3]
        j = grid_from_ras[1, 0] * x + grid_from_ras[1, 1] * y + grid_from_ras[1, 2] * z + grid_from_ras[1, 3]
        k = grid_from_ras[2, 0] * x + grid_from_ras[2, 1] * y + grid_from_ras[2, 2] * z + grid_from_ras[2, 3]
        ci = min(max(i, 0.0), grid.shape[2] - 1.0)
        cj = min(max(j, 0.0), grid.shape[1] - 1.0)
        ck = min(max(k, 0.0), grid.shape[0] - 1.0)
        if ci != i or cj != j or ck != k:
            di, dj, dk = abs(i - ci) * spacing[0], abs(j - cj) * spacing[1], abs(k - ck) * spacing[2]
            away = math.sqrt(di * di + dj * dj + dk * dk)
            for d in (di, dj, dk):
                if d > 0.0:
                    reach += (d + margin) * (d + margin)
            reach = math.sqrt(reach)
        i0 = min(int(ci), grid.shape[2] - 2)
        j0 = min(int(cj), grid.shape[1] - 2)
        k0 = min(int(ck), grid.shape[0] - 2)
        u, v, w = ci - i0, cj - j0, ck - k0
        a = (grid[k0, j0, i0] * (1 - u) + grid[k0, j0, i0 + 1] * u) * (1 - v)
        a += (grid[k0, j0 + 1, i0] * (1 - u) + grid[k0, j0 + 1, i0 + 1] * u) * v
        b = (grid[k0 + 1, j0, i0] * (1 - u) + grid[k0 + 1, j0, i0 + 1] * u) * (1 - v)
        b += (grid[k0 + 1, j0 + 1, i0] * (1 - u) + grid[k0 + 1, j0 + 1, i0 + 1] * u) * v
        found = a * (1 - w) + b * w
        out[n] = found if away == 0.0 else max(reach, found - away)


class SignedDistance:
    """Signed distance field of a label map; a `Shape`.

    `mask` [slice, row, column] (nonzero inside), `ras_from_image` (4, 4) with orthogonal axes.
    ValueError for an empty mask, another shape, sheared or vanishing axes, or too many voxels. The
    field reaches `margin_mm` beyond the mask; further out the answer is a lower bound of the distance.
    """

    def __init__(self, mask: NDArray[Any], ras_from_image: Matrix, margin_mm: float = 30.0) -> None:
        given = np.asarray(mask) != 0
        if given.ndim != 3:
            raise ValueError(f"a label map is [slice, row, column], not of shape {given.shape}")
        if not given.any():
            raise ValueError("the label map is empty")
        self.mask, self.ras_from_mask = canonical_grid(given, np.array(ras_from_image, np.float64))
        edges = self.ras_from_mask[:3, :3]
        self.spacing_mm = np.sqrt((edges**2).sum(axis=0))
        if not np.isfinite(self.ras_from_mask).all() or (self.spacing_mm <= 0).any():
            raise ValueError(f"voxels of {_extent(self.spacing_mm)} mm: a side of them has no length")
        cosines = edges.T @ edges / np.outer(self.spacing_mm, self.spacing_mm)
        if not np.allclose(cosines, np.eye(3), atol=1e-3):
            raise ValueError("the axes of the label map are not orthogonal")
        size = np.array(self.mask.shape[::-1], np.float64) + 2 * np.ceil(margin_mm / self.spacing_mm) + 2
        if float(size.prod()) > MOST_VOXELS:
            hint = "; is it in metres?" if (size * self.spacing_mm - 2 * margin_mm).max() < 2.0 else ""
            raise ValueError(
                f"voxels of {_extent(self.spacing_mm)} mm over {_extent(self.mask.shape[::-1] * self.spacing_mm)} mm "
                f"are too many ({size.prod():.3g} with {margin_mm:.0f} mm around){hint}"
            )
        pad = np.ceil(margin_mm / self.spacing_mm).astype(int) + 1
        padded = np.pad(self.mask, [(p, p) for p in pad[::-1]])
        self.field_mm = _face_distance(padded, self.spacing_mm[::-1])
        np.negative(self.field_mm, out=self.field_mm, where=padded)
        self.ras_from_field = self.ras_from_mask.copy()
        self.ras_from_field[:3, 3] -= edges @ pad
        self._field_from_ras = invert(self.ras_from_field)
        self._margin_mm = float(margin_mm)
        corners = np.array(list(np.ndindex(2, 2, 2))) * np.array(self.mask.shape[::-1]) - 0.5
        reached = corners @ edges.T + self.ras_from_mask[:3, 3]
        self.bounds_mm = np.stack([reached.min(axis=0), reached.max(axis=0)])
        self.feature_mm = float(2 * self.spacing_mm.min())

    @property
    def volume_mm3(self) -> float:
        """Volume of the voxels inside."""
        return float(self.mask.sum() * self.spacing_mm.prod())

    def distance_into(self, points: Points, out: Vector) -> None:
        """See `Shape`."""
        look_up(self.field_mm, self._field_from_ras, self.spacing_mm, self._margin_mm, points, out)

    def at(self, points: Points) -> Vector:
        """Signed distances (N,) of points (N, 3) in RAS mm, negative inside."""
        rows = np.ascontiguousarray(points, np.float64).reshape(-1, 3)
        out = np.empty(len(rows))
        self.distance_into(rows, out)
        return out

    def canonical(self) -> Any:
        """See `Shape`: the voxels inside in the axes nearest to RAS, whatever the file's order was."""
        bits = hashlib.sha256(np.packbits(self.mask).tobytes()).hexdigest()
        return {"voxels": [list(self.mask.shape), canonical_mm(self.ras_from_mask[:3]), bits]}


def _extent(sides: Any) -> str:
    return " x ".join(f"{side:.4g}" for side in sides)


def canonical_grid(mask: NDArray[np.bool_], ras_from_image: Matrix) -> tuple[NDArray[np.bool_], Matrix]:
    """The mask cropped to its voxels with axes turned and flipped to lie nearest to R, A, S."""
    from_order = np.argsort([int(np.argmax(np.abs(ras_from_image[:3, axis]))) for axis in range(3)], kind="stable")
    turned = mask.transpose([2 - axis for axis in from_order[::-1]])
    matrix = ras_from_image.copy()
    matrix[:3, :3] = ras_from_image[:3, from_order]
    for axis in range(3):
        if matrix[axis, axis] < 0:
            turned = np.flip(turned, 2 - axis)
            matrix[:3, 3] += matrix[:3, axis] * (turned.shape[2 - axis] - 1)
            matrix[:3, axis] *= -1
    found = np.nonzero(turned)
    first = [int(axis.min()) for axis in found]
    last = [int(axis.max()) + 1 for axis in found]
    matrix[:3, 3] += matrix[:3, :3] @ np.array(first[::-1], np.float64)
    cropped = turned[first[0] : last[0], first[1] : last[1], first[2] : last[2]]
    return np.ascontiguousarray(cropped), matrix
