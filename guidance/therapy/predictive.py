"""Model-predictive control of one steered beam: how much of its power each focus gets until the horizon.

The plant is linear: what every point will be at the horizon without power, plus `response` (degC per W held until
then) times the powers of the foci. Asked points are pulled to their temperature, every point is kept below
its ceiling by a steep one-sided penalty, powers are not negative and their sum is what one beam has. The quadratic
programme is solved by accelerated projected gradients (Nesterov) on its small normal matrix, a few times over, each
time with the ceilings that the last answer would break. Planned anew with every map: only the first part is ever
carried out.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Aim:
    """Per point: `want_c` where `weight` is above 0, `ceiling_c` (inf: none)."""

    want_c: Vector
    weight: Vector
    ceiling_c: Vector


@dataclass(frozen=True)
class PredictiveSettings:
    """`limit_cost`: a degree above a ceiling against one from what is wanted; `effort` of power, degC^2/W^2."""

    power_max_w: float
    limit_cost: float = 20.0
    effort: float = 1e-5
    rounds: int = 4
    iterations: int = 120


class PredictiveController:
    """State of the loop: the powers of the last plan, where the next one begins."""

    def __init__(self, sources: int, settings: PredictiveSettings) -> None:
        if sources < 1 or settings.power_max_w < 0.0:
            raise ValueError(f"{sources} foci and at most {settings.power_max_w} W cannot be planned")
        self.settings = settings
        self.power_w: Vector = np.zeros(sources)

    def update(self, free_c: Vector, response: Vector, aim: Aim, power_max_w: float | None = None) -> Vector:
        """Power in W of each focus, from `free_c` (points,) and `response` (points, foci).

        A point that is not finite turns everything off: no measurement, no heating. `power_max_w` is a lower limit
        than the settings', for this plan.
        """
        if response.shape != (free_c.size, self.power_w.size):
            raise ValueError(f"response {response.shape} does not fit {free_c.size} points, {self.power_w.size} foci")
        most = self.settings.power_max_w if power_max_w is None else min(power_max_w, self.settings.power_max_w)
        if not np.isfinite(free_c).all() or most <= 0.0:
            self.power_w = np.zeros_like(self.power_w)
            return self.power_w
        scale = 1.0 / max(float(aim.weight.sum()), 1.0)
        asked = aim.weight > 0.0
        reach, weight = response[asked], aim.weight[asked] * scale
        normal = reach.T @ (weight[:, None] * reach) + self.settings.effort * np.eye(self.power_w.size)
        pull = reach.T @ (weight * (aim.want_c - free_c)[asked])
        room = aim.ceiling_c - free_c
        broken = np.zeros(free_c.size, np.bool_)
        power = self.power_w
        for _ in range(self.settings.rounds):
            over = broken | (response @ power > room)
            steep, spare = response[over], room[over]
            cost = self.settings.limit_cost * scale
            power = self._solve(normal + cost * steep.T @ steep, pull + cost * steep.T @ spare, power, most)
            if (over == broken).all():
                break
            broken = over & (response @ power > room - 0.5)
        self.power_w = power
        return power

    def _solve(self, normal: Vector, pull: Vector, start: Vector, most: float) -> Vector:
        longest = float(np.linalg.norm(normal, 2))
        power = ahead = within(start, most)
        momentum = 1.0
        for _ in range(self.settings.iterations):
            new = within(ahead - (normal @ ahead - pull) / longest, most)
            next_momentum = 0.5 * (1.0 + math.sqrt(1.0 + 4.0 * momentum**2))
            ahead, power = new + (momentum - 1.0) / next_momentum * (new - power), new
            momentum = next_momentum
        return power


def within(power_w: Vector, most_w: float) -> Vector:
    """The nearest powers that are not negative and add up to at most `most_w` (Duchi et al., ICML 2008)."""
    clipped = np.maximum(power_w, 0.0)
    if clipped.sum() <= most_w:
        return clipped
    falling = np.sort(power_w)[::-1]
    surplus = (np.cumsum(falling) - most_w) / np.arange(1, falling.size + 1)
    last = int(np.flatnonzero(falling > surplus)[-1])
    return np.asarray(np.maximum(power_w - surplus[last], 0.0))
