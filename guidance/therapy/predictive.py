"""Model-predictive control: power for the next steps that brings the target to its temperature and spares the organs.

Linear plant about body temperature: x' = decay * x + gain * p for each measured point, all of one power
p per source. The quadratic programme with box limits on power and upper limits on organ points is solved
by an accelerated projected gradient (Nesterov), organ limits as a steep one-sided penalty.
Offset-free: the last error of prediction is carried as a constant heating.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Plant:
    """`gain` (points, sources) in degC/s per W, `decay_per_s` (points,), temperatures relative to `rest_c`."""

    gain: Vector
    decay_per_s: Vector
    rest_c: float = 37.0


@dataclass(frozen=True, eq=False)
class PredictiveSettings:
    """`target_c` (points,) with NaN where nothing is asked, `limit_c` (points,) with inf where nothing limits.

    `change_cost` weighs a change of power (degC^2/W^2), `limit_cost` a degree over a limit.
    """

    target_c: Vector
    limit_c: Vector
    power_max_w: Vector
    step_s: float = 1.0
    horizon: int = 12
    change_cost: float = 1e-3
    limit_cost: float = 200.0
    limit_reserve_c: float = 0.3
    iterations: int = 200


class PredictiveController:
    """State of the loop; `update` answers with the power of each source for the next step."""

    def __init__(self, plant: Plant, settings: PredictiveSettings) -> None:
        points, sources = plant.gain.shape
        for name, array, size in (
            ("decay_per_s", plant.decay_per_s, points),
            ("target_c", settings.target_c, points),
            ("limit_c", settings.limit_c, points),
            ("power_max_w", settings.power_max_w, sources),
        ):
            if array.shape != (size,):
                raise ValueError(f"{name} has shape {array.shape}, needed ({size},)")
        self.plant, self.settings = plant, settings
        self.power_w = np.zeros(sources)
        self._offset = np.zeros(points)
        self._expected: Vector | None = None
        keep = np.exp(-plant.decay_per_s * settings.step_s)
        self._keep = keep
        drive = plant.gain * ((1.0 - keep) / np.maximum(plant.decay_per_s, 1e-9))[:, None]
        self._drive = drive
        # Response of every point at every step to power at every step: rows (step, point), columns (step, source).
        steps = settings.horizon
        self._response = np.zeros((steps, points, steps, sources))
        for late in range(steps):
            for early in range(late + 1):
                self._response[late, :, early] = drive * (keep ** (late - early))[:, None]
        self._matrix = self._response.reshape(steps * points, steps * sources)

    def update(self, temperature_c: Vector) -> Vector:
        """Power in W of each source for the next step, from the temperatures of all points.

        A point that is not finite turns everything off: no measurement, no heating.
        """
        if temperature_c.shape != self._offset.shape:
            raise ValueError(f"temperatures have shape {temperature_c.shape}, needed {self._offset.shape}")
        if not np.isfinite(temperature_c).all():
            self.power_w, self._expected = np.zeros_like(self.power_w), None
            return self.power_w
        state = temperature_c - self.plant.rest_c
        if self._expected is not None:
            self._offset += 0.3 * (state - self._expected)
        self.power_w = self._solve(state)[: self.power_w.size]
        self._expected = self._keep * state + self._drive @ self.power_w + self._offset
        return self.power_w

    def _solve(self, state: Vector) -> Vector:
        settings, steps, sources = self.settings, self.settings.horizon, self.power_w.size
        free = np.empty((steps, state.size))
        now = state
        for step in range(steps):
            now = self._keep * now + self._offset
            free[step] = now
        asked = np.isfinite(settings.target_c)
        want = np.where(asked, settings.target_c - self.plant.rest_c, 0.0) - free
        room = settings.limit_c - settings.limit_reserve_c - self.plant.rest_c - free
        weight = np.tile(asked / max(np.count_nonzero(asked), 1), steps)
        change = np.eye(steps * sources) - np.eye(steps * sources, k=-sources)
        first = np.zeros(steps * sources)
        first[:sources] = self.power_w
        matrix, want, room = self._matrix, want.ravel(), room.ravel()
        limited = np.isfinite(room)
        tight, steep = matrix[limited], settings.limit_cost
        curvature = matrix.T @ (weight[:, None] * matrix) + settings.change_cost * change.T @ change
        longest = np.linalg.norm(curvature + steep * tight.T @ tight, 2)
        box = np.tile(settings.power_max_w, steps)
        power = np.clip(np.tile(self.power_w, steps), 0.0, box)
        ahead, momentum = power, 1.0
        pull = matrix.T @ (weight * want) + settings.change_cost * change.T @ first
        for _ in range(settings.iterations):
            over = np.maximum(tight @ ahead - room[limited], 0.0)
            slope = curvature @ ahead - pull + steep * tight.T @ over
            new = np.clip(ahead - slope / longest, 0.0, box)
            next_momentum = 0.5 * (1.0 + math.sqrt(1.0 + 4.0 * momentum**2))
            ahead, power = new + (momentum - 1.0) / next_momentum * (new - power), new
            momentum = next_momentum
        return power
