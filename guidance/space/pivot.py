"""Pivot calibration: where a tool's tip is, from poses taken while the tip stands still.

Least squares of [R -I][tip; pivot] = -t over all poses (Yaniv 2015, "algebraic one step"), with
random sample consensus against poses in which the tip slipped.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

SPAN_DEG = 60.0  # smallest angle through which the tool must have been tilted
RMS_MM = 1.0  # largest residual that a tip may be used with
SHARE = 0.6  # smallest share of poses that must agree


@dataclass(frozen=True, eq=False)
class PivotCalibration:
    """`tip_mm` (3,) in the tool's frame, `pivot_mm` (3,) in the fixed frame.

    `rms_mm` over the poses that agree (`inliers`, (N,) bool); `span_deg` the largest angle between
    two directions of the tip as seen from the tool's origin.
    """

    tip_mm: NDArray[np.float64]
    pivot_mm: NDArray[np.float64]
    rms_mm: float
    span_deg: float
    inliers: NDArray[np.bool_]

    def faults(self, span_deg: float = SPAN_DEG, rms_mm: float = RMS_MM) -> list[str]:
        """Why this tip must not be used; empty where it may."""
        share = float(self.inliers.mean())
        found = []
        if self.span_deg < span_deg:
            found.append(f"the tool was tilted through {self.span_deg:.0f} deg only, {span_deg:.0f} are needed")
        if self.rms_mm > rms_mm:
            found.append(f"residual {self.rms_mm:.2f} mm is above {rms_mm:.2f} mm: the tip moved")
        if share < SHARE:
            found.append(f"only {share:.0%} of the poses agree, {SHARE:.0%} are needed")
        return found


def calibrate_pivot(poses: NDArray[np.float64], *, inlier_mm: float = 1.0, trials: int = 200) -> PivotCalibration:
    """Tip and pivot from poses (N, 4, 4) `fixed_from_tool`, N >= 3.

    Poses that miss the best consensus by more than `inlier_mm` are left out. Deterministic (own
    seeded generator). ValueError for another shape, non-finite poses, or poses that do not turn.
    """
    given = np.asarray(poses, np.float64)
    if given.ndim != 3 or given.shape[1:] != (4, 4) or len(given) < 3:
        raise ValueError(f"poses of shape {given.shape}; (N, 4, 4) with N >= 3 are needed")
    if not np.isfinite(given).all():
        raise ValueError("poses are not finite")
    turns, shifts = given[:, :3, :3], given[:, :3, 3]
    inliers = np.ones(len(given), np.bool_)
    solution = _solve(turns, shifts)
    if _misses(turns, shifts, solution).max() > inlier_mm and len(given) > 4:
        inliers = _consensus(turns, shifts, inlier_mm, trials)
        for _ in range(5):
            solution = _solve(turns[inliers], shifts[inliers])
            again = _misses(turns, shifts, solution) <= inlier_mm
            if again.sum() < 3 or np.array_equal(again, inliers):
                break
            inliers = again
    tip, pivot = solution[:3], solution[3:]
    rms = float(np.sqrt((_misses(turns[inliers], shifts[inliers], solution) ** 2).mean()))
    return PivotCalibration(tip, pivot, rms, _span_deg(turns[inliers], tip), inliers)


def _solve(turns: NDArray[np.float64], shifts: NDArray[np.float64]) -> NDArray[np.float64]:
    count = len(turns)
    rows = np.concatenate([turns, np.broadcast_to(-np.eye(3), (count, 3, 3))], axis=2).reshape(-1, 6)
    solution, _, rank, singular = np.linalg.lstsq(rows, -shifts.reshape(-1), rcond=None)
    if rank < 6 or singular[-1] < 1e-3 * singular[0]:
        raise ValueError("the poses do not turn about two axes: the tip cannot be told")
    found: NDArray[np.float64] = solution
    return found


def _misses(
    turns: NDArray[np.float64], shifts: NDArray[np.float64], solution: NDArray[np.float64]
) -> NDArray[np.float64]:
    found: NDArray[np.float64] = np.sqrt(((turns @ solution[:3] + shifts - solution[3:]) ** 2).sum(axis=1))
    return found


def _consensus(
    turns: NDArray[np.float64], shifts: NDArray[np.float64], inlier_mm: float, trials: int
) -> NDArray[np.bool_]:
    chance = np.random.default_rng(len(turns))
    best = np.zeros(len(turns), np.bool_)
    for _ in range(trials):
        chosen = chance.choice(len(turns), 4, replace=False)
        try:
            solution = _solve(turns[chosen], shifts[chosen])
        except ValueError:
            continue  # four poses that hardly turn say nothing
        agree = _misses(turns, shifts, solution) <= inlier_mm
        if agree.sum() > best.sum():
            best = agree
    if best.sum() < 3:
        raise ValueError(f"no three poses agree within {inlier_mm} mm on where the tip stands")
    return best


def _span_deg(turns: NDArray[np.float64], tip: NDArray[np.float64]) -> float:
    length = float(np.sqrt((tip**2).sum()))
    axis = tip / length if length > 1e-6 else np.array([0.0, 0.0, 1.0])
    directions = turns @ axis
    return float(np.degrees(np.arccos(np.clip(directions @ directions.T, -1, 1).min())))
