"""Treated zones: what the plan expects of one application, carried to where the applicator really was."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from guidance.exact import Matrix, Vector, apply, invert
from guidance.plan import Shape, Trajectory
from guidance.plan.shapes import Points


class Carried:
    """A shape moved rigidly by `ras_from_planned` (4, 4)."""

    def __init__(self, shape: Shape, ras_from_planned: Matrix) -> None:
        self._shape = shape
        self._ras_from_planned = np.ascontiguousarray(ras_from_planned, np.float64)
        self._planned_from_ras = invert(self._ras_from_planned)
        low, high = shape.bounds_mm
        corners = np.array([[(low, high)[b][a] for a, b in enumerate(bits)] for bits in np.ndindex(2, 2, 2)])
        moved = apply(self._ras_from_planned, corners)
        self.bounds_mm: NDArray[np.float64] = np.stack([moved.min(axis=0), moved.max(axis=0)])
        self.feature_mm = shape.feature_mm

    def distance_into(self, points: Points, out: Vector) -> None:
        """See `guidance.plan.Shape`."""
        self._shape.distance_into(apply(self._planned_from_ras, points), out)

    def canonical(self) -> Any:
        """See `guidance.plan.Shape`."""
        return ["carried", self._shape.canonical(), self._ras_from_planned.tolist()]


class Union:
    """Everything that lies in one of the shapes; exact outside, inside the depth in one of them alone."""

    def __init__(self, shapes: Sequence[Shape]) -> None:
        if not shapes:
            raise ValueError("a union of no shapes")
        self._shapes = tuple(shapes)
        bounds = np.stack([shape.bounds_mm for shape in shapes])
        self.bounds_mm: NDArray[np.float64] = np.stack([bounds[:, 0].min(axis=0), bounds[:, 1].max(axis=0)])
        self.feature_mm = min(shape.feature_mm for shape in shapes)

    def distance_into(self, points: Points, out: Vector) -> None:
        """See `guidance.plan.Shape`."""
        self._shapes[0].distance_into(points, out)
        other = np.empty_like(out)
        for shape in self._shapes[1:]:
            shape.distance_into(points, other)
            np.minimum(out, other, out=out)

    def canonical(self) -> Any:
        """See `guidance.plan.Shape`."""
        return ["union", *(shape.canonical() for shape in self._shapes)]


def carry(way: Trajectory, tip_mm: Vector, axis: Vector) -> Matrix:
    """`ras_from_planned` (4, 4): the least motion that takes the way's target and direction to a tool's.

    `tip_mm` (3,) where the tip is, `axis` (3,) unit towards the hand. The turn is about the common
    normal (Rodrigues); a tool that points backwards has none and is refused with ValueError.
    """
    u, v = way.direction, -np.asarray(axis, np.float64)
    cosine = float(u[0] * v[0] + u[1] * v[1] + u[2] * v[2])
    if cosine < -0.99:
        raise ValueError("the tool points against its way")
    w = np.array([u[1] * v[2] - u[2] * v[1], u[2] * v[0] - u[0] * v[2], u[0] * v[1] - u[1] * v[0]])
    k = np.array([[0.0, -w[2], w[1]], [w[2], 0.0, -w[0]], [-w[1], w[0], 0.0]])
    squared = np.array([[sum(k[i, n] * k[n, j] for n in range(3)) for j in range(3)] for i in range(3)])
    matrix = np.eye(4)
    matrix[:3, :3] += k + squared / (1.0 + cosine)
    turned = (matrix[:3, :3] * way.target_mm).sum(axis=1)
    matrix[:3, 3] = np.asarray(tip_mm, np.float64) - turned
    return matrix
