"""Watches for what quietly spoils guidance: a registration that moved, a distorted field, a bent needle."""

import math
from dataclasses import dataclass

import numpy as np

from guidance.exact import Matrix, Vector, angle_between, compose, invert


@dataclass(frozen=True)
class Moved:
    """How far two things that should keep still against each other have come apart."""

    shift_mm: float
    turn_deg: float

    def fault(self, limit_mm: float = 1.0, limit_deg: float = 1.0) -> str:
        """ "" within the limits, otherwise what is out of them."""
        if self.shift_mm <= limit_mm and self.turn_deg <= limit_deg:
            return ""
        allowed = f"{limit_mm} mm and {limit_deg} deg are allowed"
        return f"moved by {self.shift_mm:.1f} mm and {self.turn_deg:.1f} deg, {allowed}"


class PairWatch:
    """Two trackers' bodies on one rigid thing: two references on a patient, or two sensors on a probe.

    Their pose against each other must not change. It changes when one of them was pushed, and when
    metal distorts an electromagnetic field at one of them.
    """

    def __init__(self) -> None:
        self._first_from_second: Matrix | None = None

    def check(self, fixed_from_first: Matrix, fixed_from_second: Matrix) -> Moved:
        """Compare with the pose of the first call."""
        now = compose(invert(fixed_from_first), fixed_from_second)
        if self._first_from_second is None:
            self._first_from_second = now
        step = now[:3, 3] - self._first_from_second[:3, 3]
        shift = float(step[0] * step[0] + step[1] * step[1] + step[2] * step[2]) ** 0.5
        return Moved(shift, float(np.degrees(angle_between(now, self._first_from_second))))


def needle_bend_mm(ras_from_hub: Matrix, straight_tip_mm: Vector, seen_tip_ras_mm: Vector) -> float:
    """How far a needle's tip, seen by its own sensor or in the picture, lies beside the straight needle's.

    `straight_tip_mm` (3,) is the tip in the hub's frame as calibrated, `seen_tip_ras_mm` (3,) where it
    is. Only the deviation across the needle counts as bending.
    """
    tip = np.append(np.asarray(straight_tip_mm, np.float64), 1.0)
    straight = (ras_from_hub * tip).sum(axis=1)[:3]
    along = straight - ras_from_hub[:3, 3]
    off = np.asarray(seen_tip_ras_mm, np.float64) - straight
    share = float((off * along).sum() / (along * along).sum())
    aside = off - share * along
    return math.sqrt(float((aside * aside).sum()))
