"""Registration of touched or scanned points to a surface: trimmed iterative closest points.

Besl and McKay 1992 with the trimming of Chetverikov et al. 2002: each round the worst share of the
pairs is left out. Local: it needs a start within about a quarter of the surface's size.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree
from scipy.spatial.transform import Rotation

from guidance.exact import Matrix, apply, compose
from guidance.space.registration import Points, fit_rigid


@dataclass(frozen=True, eq=False)
class SurfaceRegistration:
    """`fixed_from_moving` (4, 4); `rms_mm` over the pairs used; `rounds` taken; `converged` or stopped."""

    fixed_from_moving: Matrix
    rms_mm: float
    rounds: int
    converged: bool


def register_surface(
    moving_mm: Points,
    surface_mm: Points,
    start: Matrix,
    *,
    keep: float = 0.9,
    rounds: int = 100,
    step_mm: float = 1e-4,
) -> SurfaceRegistration:
    """Carries `moving_mm` (N, 3) onto the surface given by dense points (M, 3), from `start` (4, 4).

    `keep` is the share of the best pairs used each round. Stops when the rms changes by less than
    `step_mm`. ValueError for fewer than 6 points or a share outside (0, 1].
    """
    moving = np.ascontiguousarray(moving_mm, np.float64)
    surface = np.ascontiguousarray(surface_mm, np.float64)
    if len(moving) < 6 or len(surface) < 6:
        raise ValueError(f"{len(moving)} points on {len(surface)} of a surface; at least 6 of each are needed")
    if not 0.0 < keep <= 1.0:
        raise ValueError(f"share {keep} of the pairs is not within (0, 1]")
    tree = cKDTree(surface)
    matrix = np.ascontiguousarray(start, np.float64)
    used = max(6, round(keep * len(moving)))
    last, rms = np.inf, np.inf
    for count in range(1, rounds + 1):
        placed = apply(matrix, moving)
        away, nearest = tree.query(placed)
        chosen = np.argsort(away, kind="stable")[:used]
        rms = float(np.sqrt((away[chosen] ** 2).mean()))
        if abs(last - rms) < step_mm:
            return SurfaceRegistration(matrix, rms, count, True)
        matrix = compose(fit_rigid(placed[chosen], surface[nearest[chosen]]), matrix)
        last = rms
    return SurfaceRegistration(matrix, rms, rounds, False)


@dataclass(frozen=True, eq=False)
class SurfaceFit:
    """`fixed_from_moving` (4, 4), rms distance of the `kept` points, and the covariance (3, 3) at the goal.

    `degrees`: freedom that the covariance's size was measured with.
    """

    fixed_from_moving: Matrix
    rms_mm: float
    kept: int
    goal_covariance_mm2: NDArray[np.float64]
    degrees: float
    converged: bool


def refine_on_surface(
    moving_mm: Points,
    start: Matrix,
    distance: Callable[[Points], NDArray[np.float64]],
    goal_fixed_mm: NDArray[np.float64],
    *,
    rounds: int = 30,
    outlier_sigmas: float = 3.0,
    nudge_mm: float = 0.25,
) -> SurfaceFit:
    """Moves points (N, 3) until their signed `distance` to a surface is least, near a good `start`.

    Gauss-Newton on point-to-plane distances (Chen and Medioni 1992); points beyond `outlier_sigmas` robust
    standard deviations are left out. The errors at `goal_fixed_mm` (3,) follow from the normal equations: a
    surface that leaves a turn or shift open (a ball, a plane) gives a large one. ValueError below 12 points.
    """
    moving = np.ascontiguousarray(moving_mm, np.float64)
    if len(moving) < 12:
        raise ValueError(f"{len(moving)} points on a surface; at least 12 are needed")
    matrix = np.ascontiguousarray(start, np.float64)
    converged = False
    for _ in range(rounds):
        placed = apply(matrix, moving)
        away, rows = _normal_rows(placed, distance, goal_fixed_mm, nudge_mm)
        sigma = max(1e-6, 1.4826 * float(np.median(np.abs(away))))
        keep = np.abs(away) <= outlier_sigmas * sigma
        step = -np.asarray(np.linalg.lstsq(rows[keep], away[keep], rcond=1e-8)[0], np.float64)
        matrix = compose(_about(goal_fixed_mm, step), matrix)
        if float(np.abs(step).max()) < 1e-5:
            converged = True
            break
    placed = apply(matrix, moving)
    away, rows = _normal_rows(placed, distance, goal_fixed_mm, nudge_mm)
    sigma = max(1e-6, 1.4826 * float(np.median(np.abs(away))))
    keep = np.abs(away) <= outlier_sigmas * sigma
    kept = int(keep.sum())
    degrees = max(1, kept - 6)
    variance = float((away[keep] ** 2).sum()) / degrees
    normal = rows[keep].T @ rows[keep]
    spread = np.linalg.pinv(normal + 1e-9 * np.trace(normal) * np.eye(6))
    return SurfaceFit(
        matrix, float(np.sqrt((away[keep] ** 2).mean())), kept, variance * spread[3:, 3:], float(degrees), converged
    )


def _normal_rows(
    placed: Points, distance: Callable[[Points], NDArray[np.float64]], about: NDArray[np.float64], nudge_mm: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Distances (N,) and their change (N, 6) with a small turn about a point and a shift."""
    steps = [nudge_mm * axis for axis in np.eye(3)]
    normals = np.stack([distance(placed + step) - distance(placed - step) for step in steps], axis=1)
    normals /= np.maximum(np.sqrt((normals**2).sum(axis=1)), 1e-9)[:, None]
    return distance(placed), np.hstack([np.cross(placed - about, normals), normals])


def _about(point: NDArray[np.float64], step: NDArray[np.float64]) -> Matrix:
    """Turn by the vector step[:3] (rad) about a point, then shift by step[3:]."""
    matrix = np.eye(4)
    matrix[:3, :3] = Rotation.from_rotvec(step[:3]).as_matrix()
    matrix[:3, 3] = point - matrix[:3, :3] @ point + step[3:]
    return matrix
