"""Where a pointer was held still: landmarks touched one after the other without a foot switch."""

from dataclasses import dataclass
from itertools import combinations
from math import comb

import numpy as np
from numpy.typing import NDArray

from guidance.space.registration import PointRegistration, register_points

MOST_CHOICES = 5000


@dataclass(frozen=True, eq=False)
class Dwell:
    """One place where the tip stood: its mean (3,) mm, rms scatter, and the samples first..last of it."""

    position_mm: NDArray[np.float64]
    scatter_mm: float
    first: int
    last: int


def find_dwells(
    positions_mm: NDArray[np.float64],
    times_s: NDArray[np.float64],
    *,
    radius_mm: float = 2.5,
    least_s: float = 0.8,
    apart_mm: float = 10.0,
) -> list[Dwell]:
    """Places, in order, where the tip stayed within `radius_mm` of its mean for `least_s`.

    The radius leaves room for a pointer that is swivelled in its divot while it is held.

    `positions_mm` (N, 3) of valid samples with rising `times_s` (N,). Two stays nearer than
    `apart_mm` are the same landmark: the longer one counts.
    """
    found: list[Dwell] = []
    first = 0
    while first < len(positions_mm):
        last = _stays_until(positions_mm, first, radius_mm)
        if times_s[last] - times_s[first] < least_s:
            first += 1
            continue
        part = positions_mm[first : last + 1]
        mean = part.mean(axis=0)
        stay = Dwell(mean, float(np.sqrt(((part - mean) ** 2).sum(axis=1).mean())), first, last)
        near = [n for n, other in enumerate(found) if np.abs(other.position_mm - mean).max() < apart_mm]
        if not near:
            found.append(stay)
        elif last - first > found[near[0]].last - found[near[0]].first:
            found[near[0]] = stay
        first = last + 1
    return found


def _stays_until(positions: NDArray[np.float64], first: int, radius_mm: float) -> int:
    """Last sample of the run from `first` that keeps within the radius of its running mean."""
    total = np.zeros(3)
    for n in range(first, len(positions)):
        total += positions[n]
        mean = total / (n - first + 1)
        if float(((positions[n] - mean) ** 2).sum()) > radius_mm**2:
            return max(first, n - 1)
    return len(positions) - 1


def register_landmarks(landmarks_mm: NDArray[np.float64], dwells: list[Dwell]) -> tuple[PointRegistration, list[Dwell]]:
    """Registration of landmarks (N, 3), touched in their order, with the N stays that fit them best.

    Stays before, between and after (the pointer was laid down) are left out. ValueError for fewer
    stays than landmarks, or so many that the choice is ambiguous.
    """
    landmarks = np.asarray(landmarks_mm, np.float64)
    if len(dwells) < len(landmarks):
        raise ValueError(f"the pointer was held still {len(dwells)} times, there are {len(landmarks)} landmarks")
    if comb(len(dwells), len(landmarks)) > MOST_CHOICES:
        raise ValueError(
            f"the pointer was held still {len(dwells)} times for {len(landmarks)} landmarks: too many to tell"
        )
    positions = np.array([stay.position_mm for stay in dwells])
    choices = [list(chosen) for chosen in combinations(range(len(dwells)), len(landmarks))]
    fits = [register_points(landmarks, positions[chosen]) for chosen in choices]
    best = min(range(len(fits)), key=lambda n: fits[n].fre_mm)
    return fits[best], [dwells[n] for n in choices[best]]
