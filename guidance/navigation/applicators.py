"""Several needles at once: are they as far apart, as parallel and as deep as the treatment needs?

Defaults for irreversible electroporation: 15-20 mm apart, within 10 degrees, equally deep (typical
values; each plan sets its own).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from guidance.exact import Vector, arccos


@dataclass(frozen=True)
class SpacingLimits:
    """What a group of needles must keep."""

    least_mm: float = 15.0
    most_mm: float = 20.0
    angle_deg: float = 10.0
    depth_mm: float = 5.0


@dataclass(frozen=True)
class Pair:
    """Two needles: distance of their tips across their common direction, angle, difference in depth."""

    first: str
    second: str
    spacing_mm: float
    angle_deg: float
    depth_mm: float

    def faults(self, limits: SpacingLimits, adjacent: bool = True) -> list[str]:
        """What of this pair is out of its limits; only adjacent needles have a largest distance."""
        name = f"{self.first} and {self.second}"
        rows = [
            (self.spacing_mm < limits.least_mm, f"{self.spacing_mm:.1f} mm apart, at least {limits.least_mm:.0f}"),
            (
                adjacent and self.spacing_mm > limits.most_mm,
                f"{self.spacing_mm:.1f} mm apart, at most {limits.most_mm:.0f}",
            ),
            (self.angle_deg > limits.angle_deg, f"{self.angle_deg:.1f} deg apart, at most {limits.angle_deg:.0f}"),
            (
                self.depth_mm > limits.depth_mm,
                f"depths differ by {self.depth_mm:.1f} mm, at most {limits.depth_mm:.0f}",
            ),
        ]
        return [f"{name}: {text}" for failed, text in rows if failed]


def compare_needles(needles: Mapping[str, tuple[Vector, Vector]]) -> list[Pair]:
    """Every pair of needles given as name: (tip (3,) RAS mm, axis (3,) towards the hand)."""
    pairs = []
    for (a, (tip_a, axis_a)), (b, (tip_b, axis_b)) in combinations(needles.items(), 2):
        first, second = _unit(axis_a), _unit(axis_b)
        cosine = _dot(first, second)
        common = _unit(first + (second if cosine >= 0 else -second))
        between = np.asarray(tip_b, np.float64) - np.asarray(tip_a, np.float64)
        depth = _dot(between, common)
        across = between - depth * common
        pairs.append(Pair(a, b, _dot(across, across) ** 0.5, float(np.degrees(arccos(abs(cosine)))), abs(depth)))
    return pairs


def group_faults(needles: Mapping[str, tuple[Vector, Vector]], limits: SpacingLimits) -> list[str]:
    """Every fault of a group. A pair counts as adjacent unless a third needle is nearer to both."""
    pairs = compare_needles(needles)
    spacing = {frozenset((p.first, p.second)): p.spacing_mm for p in pairs}
    faults = []
    for pair in pairs:
        others = [name for name in needles if name not in (pair.first, pair.second)]
        adjacent = not any(
            max(spacing[frozenset((pair.first, o))], spacing[frozenset((pair.second, o))]) < pair.spacing_mm
            for o in others
        )
        faults += pair.faults(limits, adjacent)
    return faults


def _dot(a: Vector, b: Vector) -> float:
    return float(a[0] * b[0] + a[1] * b[1] + a[2] * b[2])


def _unit(axis: Vector) -> Vector:
    given = np.asarray(axis, np.float64)
    length = _dot(given, given) ** 0.5
    if length < 1e-9:
        raise ValueError("a needle without a direction")
    unit: Vector = given / length
    return unit
