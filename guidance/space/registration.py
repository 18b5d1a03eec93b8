"""Registration of paired points, and what it can be trusted for at the target.

Rotation by singular value decomposition with the determinant corrected (Arun, Huang and Blostein
1987; Umeyama 1991). Target error: Fitzpatrick, West and Maurer 1998.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from guidance.exact import Matrix, apply
from guidance.space.intervals import ErrorPart, error_bound_mm

Points = NDArray[np.float64]
FLATNESS = 1e-3  # second singular value over the first, below which points lie on one line


@dataclass(frozen=True, eq=False)
class PointRegistration:
    """`fixed_from_moving` (4, 4) and its errors. `residuals_mm` (N,) per pair, `fre_mm` their root mean square."""

    fixed_from_moving: Matrix
    fre_mm: float
    residuals_mm: NDArray[np.float64]
    moving_mm: Points

    @property
    def count(self) -> int:
        """Number of pairs."""
        return len(self.moving_mm)

    @property
    def degrees(self) -> int:
        """Degrees of freedom of the measured FRE: 3 N - 6."""
        return 3 * self.count - 6

    @property
    def fle_mm(self) -> float:
        """Localisation error (rms) estimated from FRE: <FLE^2> = FRE^2 N / (N - 2)."""
        return self.fre_mm * math.sqrt(self.count / (self.count - 2))

    def tre_mm(self, points_moving_mm: Points, fle_mm: float | None = None) -> NDArray[np.float64]:
        """Expected (rms) error at points (M, 3) or (3,) in moving space.

        <TRE^2> = <FLE^2> / N (1 + 1/3 sum d_k^2 / f_k^2), with the measured `fle_mm` unless given.
        """
        points = np.asarray(points_moving_mm, np.float64)
        rows = points.reshape(-1, 3)
        fle = self.fle_mm if fle_mm is None else fle_mm
        found = np.array([math.sqrt(float(np.trace(self._shape(row))) / 3) * fle for row in rows])
        return found.reshape(points.shape[:-1])

    def error_at(self, point_moving_mm: Points, fle_mm: float | None = None) -> ErrorPart:
        """Covariance of the registration at a point (3,) in moving space, in fixed space's axes.

        With `fle_mm` (rms over three axes, known of the tracker) the size counts as known; without it
        the size is measured from FRE with 3 N - 6 degrees of freedom.
        """
        fle = self.fle_mm if fle_mm is None else fle_mm
        turn = self.fixed_from_moving[:3, :3]
        covariance = turn @ self._shape(np.asarray(point_moving_mm, np.float64)) @ turn.T * (fle**2 / 3)
        return ErrorPart(covariance, math.inf if fle_mm is not None else float(self.degrees))

    def tre_bound_mm(self, point_moving_mm: Points, confidence: float = 0.95, fle_mm: float | None = None) -> float:
        """Error at the point that is not exceeded with `confidence`, few fiducials accounted for."""
        return error_bound_mm([self.error_at(point_moving_mm, fle_mm)], confidence)

    def _shape(self, point: Points) -> NDArray[np.float64]:
        """Covariance (3, 3) at a point for unit localisation variance along every axis."""
        center = self.moving_mm.mean(axis=0)
        _, spread, axes = np.linalg.svd(self.moving_mm - center)
        squares = np.zeros(3)
        squares[: len(spread)] = spread**2
        shape = np.eye(3) / self.count
        for k in range(3):
            lever = np.cross(axes[k], point - center)
            shape += np.outer(lever, lever) / (squares.sum() - squares[k])
        return shape


def register_points(moving_mm: Points, fixed_mm: Points) -> PointRegistration:
    """Rigid transform that carries `moving_mm` (N, 3) onto `fixed_mm` (N, 3), N >= 3, least squares.

    ValueError for unpaired, too few, non-finite or collinear points.
    """
    moving, fixed = (np.array(points, np.float64) for points in (moving_mm, fixed_mm))
    if moving.shape != fixed.shape or moving.ndim != 2 or moving.shape[1] != 3:
        raise ValueError(f"points {moving.shape} and {fixed.shape} are not pairs of (N, 3)")
    if len(moving) < 3:
        raise ValueError(f"{len(moving)} pairs of points; a rigid registration needs 3")
    if not (np.isfinite(moving).all() and np.isfinite(fixed).all()):
        raise ValueError("points are not finite")
    for name, points in (("moving", moving), ("fixed", fixed)):
        spread = np.linalg.svd(points - points.mean(axis=0), compute_uv=False)
        if spread[1] <= FLATNESS * spread[0]:
            raise ValueError(f"{name} points lie on one line: the turn about it is unknown")
    matrix = fit_rigid(moving, fixed)
    residuals = np.sqrt(((apply(matrix, moving) - fixed) ** 2).sum(axis=1))
    return PointRegistration(matrix, float(np.sqrt((residuals**2).mean())), residuals, moving)


def fit_rigid(moving: Points, fixed: Points, weights: NDArray[np.float64] | None = None) -> Matrix:
    """The (4, 4) least-squares transform itself, weighted; no checks."""
    share = np.full(len(moving), 1 / len(moving)) if weights is None else weights / weights.sum()
    center, goal = share @ moving, share @ fixed
    u, _, vt = np.linalg.svd(((moving - center) * share[:, None]).T @ (fixed - goal))
    turn = np.diag([1.0, 1.0, float(np.sign(np.linalg.det(vt.T @ u.T)))])
    matrix = np.eye(4)
    matrix[:3, :3] = vt.T @ turn @ u.T
    matrix[:3, 3] = goal - matrix[:3, :3] @ center
    return matrix
