"""How the patient breathes: irregular cycles, drift, hysteresis and breath-holds, as a pure function of time.

Waveform sin^4 of half the cycle's phase (Lujan et al. 1999, Med Phys 26:715): long rest in exhale.
"""

import msgspec
import numpy as np

from sim.space import Vector, cross, unit, vector

_CYCLES = 8192  # about nine hours; the pattern then repeats


class BreathingSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Defaults: adult at rest, liver moving 12 mm towards the feet and a little forwards."""

    amplitude_mm: float = 12.0
    period_s: float = 4.0
    direction: tuple[float, float, float] = (0.0, 0.2, -1.0)
    irregularity: float = 0.08  # relative SD of period and amplitude from cycle to cycle
    hysteresis_mm: float = 1.0  # how far the way back differs from the way out, at right angles
    drift_mm_per_min: float = 0.1
    holds_s: tuple[tuple[float, float], ...] = ()  # (from, to): breath held
    coughs_s: tuple[tuple[float, float], ...] = ()  # (at, mm along the direction): up and back within half a second


def _jerk(since_s: float) -> float:
    """A cough from 0 to 1 and back with one rebound, over 0.8 s."""
    if not 0 <= since_s < 0.8:
        return 0.0
    return float(np.sin(2 * np.pi * since_s / 0.5) * np.exp(-since_s / 0.25) / 0.58)


class Breathing:
    """Displacement of the organ against its reference position (full exhale), mm RAS."""

    def __init__(self, settings: BreathingSettings, seed: int) -> None:
        rng = np.random.default_rng([seed, 1])
        spread = settings.irregularity
        lengths = settings.period_s * np.clip(1 + spread * rng.standard_normal(_CYCLES), 0.5, 2.0)
        self._starts = np.concatenate(([0.0], np.cumsum(lengths)))
        self._depths = np.clip(1 + spread * rng.standard_normal(_CYCLES), 0.3, 2.0)
        self._settings = settings
        self._along = unit(vector(settings.direction))
        self._across = unit(cross(self._along, np.array([1.0, 0.0, 0.0])))

    def _phase(self, t_s: float) -> tuple[float, float]:
        for begin, end in self._settings.holds_s:
            if begin <= t_s < end:
                t_s = begin
        t_s = t_s % float(self._starts[-1])
        cycle = int(np.searchsorted(self._starts, t_s, side="right")) - 1
        begin, end = self._starts[cycle], self._starts[cycle + 1]
        return float((t_s - begin) / (end - begin)), float(self._depths[cycle])

    def fraction(self, t_s: float) -> float:
        """0 at exhale, about 1 at inhale."""
        phase, depth = self._phase(t_s)
        return depth * float(np.sin(np.pi * phase)) ** 4

    def displacement_mm(self, t_s: float) -> Vector:
        """(3,) mm RAS of the liver's centre at `t_s` seconds."""
        phase, depth = self._phase(t_s)
        set_ = self._settings
        along = set_.amplitude_mm * depth * np.sin(np.pi * phase) ** 4 + set_.drift_mm_per_min * t_s / 60
        along += sum(mm * _jerk(t_s - at_s) for at_s, mm in set_.coughs_s)
        across = set_.hysteresis_mm * depth * np.sin(np.pi * phase) ** 2 * np.sin(2 * np.pi * phase)
        moved: Vector = along * self._along + across * self._across
        return moved
