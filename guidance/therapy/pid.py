"""Power by a PID law with limits: the integral never winds up, the derivative acts on the measurement."""

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class PidSettings:
    """Gains in W/degC, W/(degC s), W s/degC; power limits in W; largest change of power in W/s.

    `smoothing_s` is the time constant of the derivative's filter.
    """

    proportional: float
    integral: float
    derivative: float = 0.0
    power_max_w: float = 100.0
    power_min_w: float = 0.0
    slew_w_per_s: float = math.inf
    smoothing_s: float = 1.0
    longest_step_s: float = 10.0


class PidController:
    """State of one loop; `update` answers with the power to ask for.

    Anti-windup: the integral is set back to what the limited power means (back-calculation), so it leaves the
    limit at once when the error turns. A temperature that is not finite, a time that does not
    rise, or a gap beyond `longest_step_s` gives the lowest power and starts the loop anew: no
    measurement, no heating.
    """

    def __init__(self, settings: PidSettings) -> None:
        if not settings.power_min_w <= settings.power_max_w:
            raise ValueError(f"power limits {settings.power_min_w}..{settings.power_max_w} W are empty")
        self.settings = settings
        self.power_w = settings.power_min_w
        self._integral_w = 0.0
        self._slope = 0.0
        self._last: tuple[float, float] | None = None

    def update(self, temperature_c: float, target_c: float, time_s: float) -> float:
        """Power in W for the measured `temperature_c` at `time_s`."""
        settings = self.settings
        if not (math.isfinite(temperature_c) and math.isfinite(target_c) and math.isfinite(time_s)):
            return self.reset()
        if self._last is None:
            self._last = (temperature_c, time_s)
            return self.power_w
        step_s = time_s - self._last[1]
        if not 0.0 < step_s <= settings.longest_step_s:
            self.reset()
            self._last = (temperature_c, time_s)
            return self.power_w
        share = step_s / (settings.smoothing_s + step_s)
        self._slope += share * ((temperature_c - self._last[0]) / step_s - self._slope)
        error = target_c - temperature_c
        direct = settings.proportional * error - settings.derivative * self._slope
        wanted = direct + self._integral_w + settings.integral * error * step_s
        reach = settings.slew_w_per_s * step_s
        power = min(max(wanted, self.power_w - reach), self.power_w + reach)
        power = min(max(power, settings.power_min_w), settings.power_max_w)
        limited = power != wanted
        self._integral_w = (
            min(max(power - direct, settings.power_min_w), settings.power_max_w) if limited else wanted - direct
        )
        self.power_w, self._last = power, (temperature_c, time_s)
        return power

    def reset(self) -> float:
        """Lowest power, nothing remembered."""
        self.power_w, self._integral_w, self._slope, self._last = self.settings.power_min_w, 0.0, 0.0, None
        return self.power_w
