"""Was enough treated? Minimal margin in 3-D and coverage, with what the uncertainty leaves of them.

The margin at a point of the target's surface is its depth inside the treated region; the minimal
margin is the smallest of them (negative: a part is left). Complete from 5 mm on, ideal 10 mm.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from guidance.plan.raster import onto_surface
from guidance.plan.shapes import Shape, signed_distance_mm

SAMPLES = 60  # grid steps along the target's longest side
SIGMAS = 2.0
SPREAD = 0.75  # grid steps from any point of a surface to the next one that was sampled


@dataclass(frozen=True, eq=False)
class Coverage:
    """Margins in mm, shares 0..1. `weakest_mm` (3,) RAS is where the margin is smallest.

    `pessimistic_mm` is the minimal margin less two sigma; `by_margin` maps a margin in mm to the share
    of the target grown by it that was treated.
    """

    minimal_mm: float
    pessimistic_mm: float
    weakest_mm: NDArray[np.float64]
    by_margin: dict[float, float]
    untreated_ml: float
    excess_ml: float

    def complete(self, margin_mm: float = 5.0) -> bool:
        """True where the margin holds even two sigma worse than measured."""
        return self.pessimistic_mm >= margin_mm


def verify_coverage(
    target: Shape,
    treated: Shape,
    sigma_mm: float,
    margins_mm: tuple[float, ...] = (0.0, 5.0, 10.0),
    samples: int = SAMPLES,
) -> Coverage:
    """Compare a target with what was treated; both in the same space, `sigma_mm` of one against the other."""
    reach = max(margins_mm)
    low, high = target.bounds_mm[0] - reach, target.bounds_mm[1] + reach
    step = float((target.bounds_mm[1] - target.bounds_mm[0]).max()) / samples
    axes = [np.arange(low[a], high[a] + step, step) for a in range(3)]
    grid = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)
    own, other = signed_distance_mm(target, grid), signed_distance_mm(treated, grid)
    surface = onto_surface(target, grid[np.abs(own) < step], step / 4)
    margins = _depth_mm(treated, surface, grid[np.abs(other) < step], step, reach)
    weakest = int(margins.argmin())
    cell_ml = step**3 / 1000.0
    return Coverage(
        float(margins[weakest]),
        float(margins[weakest]) - SIGMAS * sigma_mm,
        surface[weakest],
        {k: float((other[own <= k] <= 0).mean()) for k in margins_mm},
        float(((own <= 0) & (other > 0)).sum() * cell_ml),
        float(((own > reach) & (other <= 0)).sum() * cell_ml),
    )


def _depth_mm(
    treated: Shape, points: NDArray[np.float64], beside: NDArray[np.float64], step_mm: float, reach_mm: float
) -> NDArray[np.float64]:
    """Depth (N,) of points inside what was treated, negative outside; at most `reach_mm` is looked for.

    Where zones overlap, each of them alone says too little: the way out of all of them is measured to their common
    surface, sampled at the grid points `beside` it, and told shorter by what may lie between two samples.
    """
    least = -signed_distance_mm(treated, points)
    edge = onto_surface(treated, onto_surface(treated, beside, step_mm / 4), step_mm / 4)
    found = np.abs(signed_distance_mm(treated, edge)) < step_mm / 4
    sure = np.full(len(points), reach_mm)
    if found.any():
        away, _ = cKDTree(edge[found]).query(points)
        sure = np.minimum(sure, np.sqrt(np.maximum(away**2 - (SPREAD * step_mm) ** 2, 0.0)))
    if not found.all():  # the surface lies within a step of those, somewhere
        away, _ = cKDTree(beside[~found]).query(points)
        sure = np.minimum(sure, away - step_mm)
    return np.where(least > 0, np.maximum(least, sure), least)
