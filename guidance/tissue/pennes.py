"""Heat in perfused tissue: the Pennes equation on the voxel grid.

rho c dT/dt = div(k grad T) - w_b c_b (T - T_a) + Q (Pennes, J Appl Physiol 1948;1:93). Explicit finite
differences with as many sub-steps as stability asks for; no heat passes the border of the grid.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import njit, types
from numpy.typing import NDArray

Map = NDArray[np.float32]
STABLE_SHARE = 0.5  # of the largest stable sub-step


@dataclass(frozen=True)
class Tissue:
    """Thermal properties: W/m/K, J/kg/K, kg/m3, perfusion in kg/m3/s, blood J/kg/K, arterial degC. Defaults: liver."""

    conductivity: float = 0.51
    heat_capacity: float = 3630.0
    density: float = 1040.0
    perfusion: float = 16.0
    blood_heat_capacity: float = 3617.0
    arterial_c: float = 37.0

    @property
    def diffusivity(self) -> float:
        """m2/s."""
        return self.conductivity / (self.density * self.heat_capacity)

    @property
    def perfusion_rate(self) -> float:
        """1/s: the share of the excess temperature that blood carries away each second."""
        return self.perfusion * self.blood_heat_capacity / (self.density * self.heat_capacity)


class BioheatModel:
    """The equation on one grid: `shape` [slice, row, column], `spacing_mm` in the same order.

    A single slice knows nothing of the tissue above and below: its model has no through-plane
    diffusion and cools too slowly, which errs to the warm side. `perfusion_scale` is an optional
    map that multiplies the perfusion (0 in a bone, large beside a vessel), `perfusion_factor` one number
    that may change from step to step.
    """

    def __init__(
        self,
        shape: tuple[int, int, int],
        spacing_mm: tuple[float, float, float],
        tissue: Tissue | None = None,
        perfusion_scale: NDArray[np.floating[Any]] | None = None,
    ) -> None:
        if min(spacing_mm) <= 0.0:
            raise ValueError(f"voxel spacing {spacing_mm} mm must be above 0")
        self.shape, self.tissue = shape, tissue or Tissue()
        scale = np.ones((1, 1, 1)) if perfusion_scale is None else np.asarray(perfusion_scale)
        self._loss = np.ascontiguousarray(np.broadcast_to(self.tissue.perfusion_rate * scale, shape), dtype=np.float32)
        self.perfusion_factor = 1.0
        self._pull = tuple(
            self.tissue.diffusivity / (1e-3 * step) ** 2 if count > 1 else 0.0
            for step, count in zip(spacing_mm, shape, strict=True)
        )
        self.longest_step_s = STABLE_SHARE / (2.0 * sum(self._pull) + 0.5 * float(self._loss.max()) + 1e-12)

    @property
    def spreading_rate(self) -> float:
        """1/s: how fast conduction moves a voxel towards the mean of its neighbours."""
        return 2.0 * sum(self._pull)

    def advance(self, temperature_c: Map, seconds: float, heating_c_per_s: Map | float = 0.0) -> Map:
        """Temperature (degC, a new array) after `seconds` with the source `heating_c_per_s` (Q / rho c) held."""
        if temperature_c.shape != self.shape:
            raise ValueError(f"temperature has shape {temperature_c.shape}, the model {self.shape}")
        heating = np.ascontiguousarray(np.broadcast_to(np.float32(heating_c_per_s), self.shape), dtype=np.float32)
        steps = max(1, math.ceil(seconds / self.longest_step_s))
        now = np.array(temperature_c, dtype=np.float32, order="C")
        spare = np.empty_like(now)
        arterial, step_s = np.float32(self.tissue.arterial_c), seconds / steps
        carried = -np.expm1(
            -self._loss * np.float32(step_s * self.perfusion_factor)
        )  # exact share that blood takes in a sub-step
        for _ in range(steps):
            _step(now, heating, carried, arterial, *self._pull, step_s, spare)
            now, spare = spare, now
        return now


_IN = types.Array(types.float32, 3, "C", readonly=True)
_F8 = types.float64
_ONE, _HALF = np.float32(1.0), np.float32(0.5)


@njit(
    types.void(_IN, _IN, _IN, types.float32, _F8, _F8, _F8, _F8, types.float32[:, :, ::1]),
    nogil=True,
    cache=True,
    fastmath={"contract"},
)
def _step(now, heating, carried, arterial, pull_k, pull_j, pull_i, seconds, out):  # type: ignore[no-untyped-def]
    planes, rows, columns = now.shape
    fk, fj, fi = np.float32(pull_k * seconds), np.float32(pull_j * seconds), np.float32(pull_i * seconds)
    dt, two = np.float32(seconds), np.float32(2.0)
    for k in range(planes):
        below, above = max(k - 1, 0), min(k + 1, planes - 1)
        for j in range(rows):
            left, right = max(j - 1, 0), min(j + 1, rows - 1)
            for i in range(columns):
                t = now[k, j, i]
                change = fk * (now[below, j, i] + now[above, j, i] - two * t)
                change += fj * (now[k, left, i] + now[k, right, i] - two * t)
                change += fi * (now[k, j, max(i - 1, 0)] + now[k, j, min(i + 1, columns - 1)] - two * t)
                out[k, j, i] = (
                    t
                    + change
                    + dt * heating[k, j, i] * (_ONE - _HALF * carried[k, j, i])
                    - carried[k, j, i] * (t - arterial)
                )
