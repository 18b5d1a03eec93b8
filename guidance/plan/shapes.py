"""Shapes of a plan: how far a point is from a surface, which voxels lie inside, where a plane cuts it.

Signed distances are mm, negative inside. Every shape answers exactly except where it says so.
Shapes are in RAS; their `canonical()` form is what the plan's content hash is made from.
"""

import math
from typing import Any, Protocol

import numba
import numpy as np
from numpy.typing import NDArray

from guidance.exact import F8, V_OUT, M, Matrix, V, Vector, invert, kernel

Points = NDArray[np.float64]


class Shape(Protocol):
    """What every shape answers. `bounds_mm` (2, 3): lowest and highest corner; `feature_mm`: its smallest detail."""

    bounds_mm: NDArray[np.float64]
    feature_mm: float

    def distance_into(self, points: Points, out: Vector) -> None:
        """Signed distances of C-contiguous float64 points (N, 3) into `out` (N,)."""
        ...

    def canonical(self) -> Any:
        """Plain values that are equal for equal shapes."""
        ...


@kernel(numba.void(M, V, F8, V_OUT))
def _sphere(points: Points, center: Vector, radius: float, out: Vector) -> None:
    for n in range(points.shape[0]):
        x, y, z = points[n, 0] - center[0], points[n, 1] - center[1], points[n, 2] - center[2]
        out[n] = math.sqrt(x * x + y * y + z * z) - radius


@kernel(numba.void(M, V, V, F8, V_OUT))
def _capsule(points: Points, start: Vector, span: Vector, radius: float, out: Vector) -> None:
    length2 = span[0] * span[0] + span[1] * span[1] + span[2] * span[2]
    for n in range(points.shape[0]):
        x, y, z = points[n, 0] - start[0], points[n, 1] - start[1], points[n, 2] - start[2]
        t = 0.0
        if length2 > 0.0:
            t = min(1.0, max(0.0, (x * span[0] + y * span[1] + z * span[2]) / length2))
        x, y, z = x - t * span[0], y - t * span[1], z - t * span[2]
        out[n] = math.sqrt(x * x + y * y + z * z) - radius


@kernel(numba.void(M, M, V, V_OUT))
def _box(points: Points, box_from_ras: Matrix, half: Vector, out: Vector) -> None:
    for n in range(points.shape[0]):
        outside, inside = 0.0, -math.inf
        for i in range(3):
            p = box_from_ras[i, 3]
            for j in range(3):
                p += box_from_ras[i, j] * points[n, j]
            d = abs(p) - half[i]
            inside = max(inside, d)
            if d > 0.0:
                outside += d * d
        out[n] = math.sqrt(outside) if inside > 0.0 else inside


class Sphere:
    """All points within `radius_mm` of `center_mm` (3,)."""

    def __init__(self, center_mm: Vector, radius_mm: float) -> None:
        self.center_mm = np.array(center_mm, np.float64)
        self.radius_mm = float(radius_mm)
        self.bounds_mm = np.stack([self.center_mm - radius_mm, self.center_mm + radius_mm])
        self.feature_mm = self.radius_mm

    def distance_into(self, points: Points, out: Vector) -> None:
        """See `Shape`."""
        _sphere(points, self.center_mm, self.radius_mm, out)

    def canonical(self) -> Any:
        """See `Shape`."""
        return {"sphere": [canonical_mm(self.center_mm), canonical_mm(self.radius_mm)]}


class Capsule:
    """All points within `radius_mm` of the line from `start_mm` to `end_mm` (3,): a vessel, a rib, a zone."""

    def __init__(self, start_mm: Vector, end_mm: Vector, radius_mm: float) -> None:
        self.start_mm = np.array(start_mm, np.float64)
        self.end_mm = np.array(end_mm, np.float64)
        self.radius_mm = float(radius_mm)
        ends = np.stack([self.start_mm, self.end_mm])
        self.bounds_mm = np.stack([ends.min(axis=0) - radius_mm, ends.max(axis=0) + radius_mm])
        self.feature_mm = self.radius_mm
        self._span = self.end_mm - self.start_mm

    def distance_into(self, points: Points, out: Vector) -> None:
        """See `Shape`."""
        _capsule(points, self.start_mm, self._span, self.radius_mm, out)

    def canonical(self) -> Any:
        """See `Shape`."""
        ends = sorted([canonical_mm(self.start_mm), canonical_mm(self.end_mm)])
        return {"capsule": [*ends, canonical_mm(self.radius_mm)]}


class Box:
    """A box of `size_mm` (3,) around `center_mm`; the columns of `axes` (3, 3) are its edges in RAS."""

    def __init__(self, center_mm: Vector, size_mm: Vector, axes: Matrix | None = None) -> None:
        self.ras_from_box = np.eye(4)
        self.ras_from_box[:3, :3] = np.eye(3) if axes is None else axes
        self.ras_from_box[:3, 3] = center_mm
        self.half_mm = np.array(size_mm, np.float64) / 2
        reach = np.abs(self.ras_from_box[:3, :3]) @ self.half_mm
        center = self.ras_from_box[:3, 3]
        self.bounds_mm = np.stack([center - reach, center + reach])
        self.feature_mm = float(self.half_mm.min())
        self._box_from_ras = invert(self.ras_from_box)

    def distance_into(self, points: Points, out: Vector) -> None:
        """See `Shape`."""
        _box(points, self._box_from_ras, self.half_mm, out)

    def canonical(self) -> Any:
        """See `Shape`."""
        edges = self.ras_from_box[:3, :3] * self.half_mm
        signed = [(-edge if edge[np.argmax(np.abs(edge))] < 0 else edge) for edge in edges.T]
        return {"box": [canonical_mm(self.ras_from_box[:3, 3]), sorted(canonical_mm(edge) for edge in signed)]}


class Grown:
    """Another shape grown by `margin_mm` (negative: shrunk). Inside a concave shape this is a bound."""

    def __init__(self, of: Shape, margin_mm: float) -> None:
        self.of = of
        self.margin_mm = float(margin_mm)
        self.bounds_mm = of.bounds_mm + np.array([[-margin_mm], [margin_mm]])
        self.feature_mm = max(0.1, of.feature_mm + min(0.0, self.margin_mm))

    def distance_into(self, points: Points, out: Vector) -> None:
        """See `Shape`."""
        self.of.distance_into(points, out)
        out -= self.margin_mm

    def canonical(self) -> Any:
        """See `Shape`."""
        return {"grown": [self.of.canonical(), canonical_mm(self.margin_mm)]}


def canonical_mm(value: Any) -> Any:
    """Micrometres as integers: what two formats that describe the same thing agree in."""
    whole = np.rint(np.asarray(value, np.float64) * 1e3).astype(np.int64)
    return whole.tolist()


def signed_distance_mm(shape: Shape, points: Points) -> Vector:
    """Signed distances (N,) of `points` (N, 3) in RAS mm, negative inside."""
    rows = np.ascontiguousarray(points, np.float64).reshape(-1, 3)
    out = np.empty(len(rows))
    shape.distance_into(rows, out)
    return out
