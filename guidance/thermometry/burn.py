"""Damage of every voxel of a box, frame by frame, with what noise may have done to it, and what comes after power-off.

Arrhenius damage rises so steeply with temperature that noise inflates it: with v = (d ln k / dT * sigma)^2 the linear
integrator's mean is exp(v/3) too high, which is taken out (the same derivation as for CEM43 in `dose.py`).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from guidance.thermometry.damage import ArrheniusParameters, damage_step, log_slope_per_c
from guidance.thermometry.frame import Z_95
from guidance.tissue import BioheatModel, Tissue

Map = NDArray[np.float32]
COLD_C = 40.0  # below this nothing burns within a session
LOW_C = 47.0  # cooling is followed down to here: what comes below adds less than 1 % of damage 1 in a minute
STEP_S = 0.5
LONGEST_S = 120.0
NEVER_SEEN = 1e6
SPARE_SLICES = 2  # added on either side of the box: heat leaves through them


@dataclass(frozen=True, eq=False)
class Look:
    """One map: degC, its standard deviation and that part of it which all frames share, and where it is known."""

    temperature_c: NDArray[np.float64]
    sigma_c: NDArray[np.float64]
    shared_sigma_c: NDArray[np.float64]
    known: NDArray[np.bool_]
    time_s: float


class DamageMap:
    """Omega of every voxel. `missed` counts the steps in which a voxel was not seen: its damage is a lower bound."""

    def __init__(self, shape: tuple[int, ...], parameters: ArrheniusParameters, longest_gap_s: float) -> None:
        self.omega = np.zeros(shape)
        self.missed = np.zeros(shape, np.int64)
        self._parameters, self._longest_gap_s = parameters, longest_gap_s
        self._variance = np.zeros(shape)  # of omega, from noise that is new in every frame
        self._shared = np.zeros(shape)  # largest ln error that all frames share
        self._last: Look | None = None

    def add(self, look: Look) -> None:
        """Take the next map; a gap that is too long adds nothing and counts as missed."""
        last, self._last = self._last, look
        if last is None:
            return
        step_s = look.time_s - last.time_s
        seen = look.known & last.known & (step_s <= self._longest_gap_s)
        self.missed += ~seen
        warm = seen & (np.maximum(look.temperature_c, last.temperature_c) > COLD_C)
        if not warm.any():
            return
        start, end = last.temperature_c[warm], look.temperature_c[warm]
        slope = log_slope_per_c(0.5 * (start + end), self._parameters)
        own = np.maximum(look.sigma_c[warm] ** 2 - look.shared_sigma_c[warm] ** 2, 0.0) * slope**2
        gain = damage_step(start, end, step_s, self._parameters) * np.exp(-own / 3.0)
        self.omega[warm] += gain
        self._variance[warm] += np.expm1(np.minimum(own, 4.0)) * gain * gain
        self._shared[warm] = np.maximum(self._shared[warm], slope * look.shared_sigma_c[warm])

    def carried(self, from_new: Callable[[NDArray[Any], float], NDArray[Any]]) -> "DamageMap":
        """This map on another grid: `from_new` samples an array there, with a value for where this one saw nothing.

        What was not seen here is missed there; the next look begins a new step.
        """
        omega = from_new(self.omega, 0.0)
        moved = DamageMap(omega.shape, self._parameters, self._longest_gap_s)
        moved.omega, moved._variance = omega, from_new(self._variance, 0.0)
        moved._shared = from_new(self._shared, 0.0)
        moved.missed = np.rint(from_new(self.missed.astype(np.float64), NEVER_SEEN)).astype(np.int64)
        return moved

    @property
    def sure(self) -> NDArray[np.float64]:
        """Lower 95 % bound of omega: what is dead for sure."""
        with np.errstate(divide="ignore", invalid="ignore"):
            spread = np.where(self.omega > 0.0, self._variance / self.omega**2, 0.0) + self._shared**2
        log_variance = np.log1p(spread)
        return np.asarray(self.omega * np.exp(-Z_95 * np.sqrt(log_variance) - 0.5 * log_variance))


def spread_after_power_off(
    temperature_c: NDArray[np.float64],
    omega: NDArray[np.float64],
    spacing_mm: tuple[float, float, float],
    tissue: Tissue,
    parameters: ArrheniusParameters,
) -> tuple[NDArray[np.float64], float]:
    """Omega when the tissue has cooled, if power goes off now, and how long that takes, s.

    `temperature_c` [slice, row, column] has a value everywhere. The stack is continued by SPARE_SLICES on either side,
    in which the rise falls on as it falls towards the outermost slice.
    """
    rise = temperature_c - tissue.arterial_c
    wide = _continued(rise, SPARE_SLICES)
    shape = (wide.shape[0], wide.shape[1], wide.shape[2])
    model = BioheatModel(shape, spacing_mm, tissue)
    now = (wide + tissue.arterial_c).astype(np.float32)
    inner = slice(SPARE_SLICES, SPARE_SLICES + rise.shape[0])
    total, seconds = omega.copy(), 0.0
    while seconds < LONGEST_S and float(now.max()) > LOW_C:
        after = model.advance(now, STEP_S)
        hot = now[inner] > COLD_C
        start, end = now[inner][hot].astype(np.float64), after[inner][hot].astype(np.float64)
        total[hot] += damage_step(start, end, STEP_S, parameters)
        now, seconds = after, seconds + STEP_S
    return total, seconds


def _continued(rise: NDArray[np.float64], count: int) -> NDArray[np.float64]:
    slices = [*rise]
    for edge, inside in ((0, 1), (-1, -2)):
        share = 0.5
        if len(rise) > 1:
            heat, before = (float(np.maximum(rise[at], 0.0).sum()) for at in (edge, inside))
            share = min(max(heat / before, 0.0), 1.0) if before > 0.0 else 0.0
        beyond = [rise[edge] * share ** (step + 1) for step in range(count)]
        slices = [*beyond[::-1], *slices] if edge == 0 else [*slices, *beyond]
    return np.stack(slices)
