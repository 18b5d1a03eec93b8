"""Drug set free by heat: what a stated model of heat-triggered carriers predicts from the temperature history.

A carrier that enters warm tissue with the blood opens at the rate k(T) = k_max / (1 + exp(-(T - T_half) / width)) and
stays for one transit, so that the share 1 - exp(-k(T) transit) of what it carries is set free there: first-order
release, the simplest of the compartment models in use. What is still in the blood falls with the carrier's half-life
in plasma. The answer is the share of all that passed a voxel since the infusion, up to now, that was set free in it.
The numbers are those of the carrier in use: they stand in the room's file.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Map = NDArray[np.float32]
LN2 = float(np.log(2.0))


@dataclass(frozen=True)
class Carrier:
    """`half_c` (degC) opens half as fast as `most_per_s`; times in s."""

    half_c: float
    width_c: float
    most_per_s: float
    transit_s: float
    plasma_half_s: float

    def released(self, temperature_c: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
        """Share of what passes that is set free at this temperature."""
        above = np.clip((np.asarray(temperature_c, np.float64) - self.half_c) / self.width_c, -60.0, 60.0)
        rate = self.most_per_s / (1.0 + np.exp(-above))
        return np.asarray(-np.expm1(-rate * self.transit_s))


class ReleaseCount:
    """Sums over time for every voxel: what passed, what was set free, how long it was in the window."""

    def __init__(self, carrier: Carrier, shape: tuple[int, ...], window_c: tuple[float, float] = (40.0, 43.0)) -> None:
        self.carrier, self.window_c = carrier, window_c
        self._free = np.zeros(shape)
        self._passed = 0.0
        self._seconds = 0.0
        self.window_s = np.zeros(shape)

    def add(self, temperature_c: Map, step_s: float) -> None:
        """The temperature that was there for the last `step_s`."""
        decay = LN2 / self.carrier.plasma_half_s
        present = float(np.exp(-decay * (self._seconds + 0.5 * step_s))) * step_s
        self._free += present * self.carrier.released(temperature_c)
        self._passed += present
        self._seconds += step_s
        low, high = self.window_c
        self.window_s += np.where((temperature_c >= low) & (temperature_c <= high), step_s, 0.0)

    @property
    def seconds(self) -> float:
        """Time counted."""
        return self._seconds

    @property
    def share(self) -> Map:
        """Of what passed each voxel so far, the share that was set free in it."""
        return np.asarray(self._free / max(self._passed, 1e-12), np.float32)
