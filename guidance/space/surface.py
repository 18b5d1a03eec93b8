"""Registration of touched or scanned points to a surface: trimmed iterative closest points.

Besl and McKay 1992 with the trimming of Chetverikov et al. 2002: each round the worst share of the
pairs is left out. Local: it needs a start within about a quarter of the surface's size.
"""

from dataclasses import dataclass

import numpy as np
from scipy.spatial import cKDTree

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
