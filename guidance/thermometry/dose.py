"""Thermal dose as cumulative equivalent minutes at 43 degC (CEM43).

Source: Sapareto & Dewey, Int J Radiat Oncol Biol Phys 1984;10:787. R = 0.5 at and above 43 degC,
0.25 below. Temperature is linear between samples and that integral is exact: with
e = 2^(T - 43), the antiderivative over T is (max(e, 1) - 1) / ln 2 + min(e, 1)^2 / ln 4.
"""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from guidance.thermometry.prf import real_dtype

BREAK_C = 43.0
MAX_EXPONENT = 25.0  # 2^25 per minute and more means the same: dead
COLDEST = -200.0  # degrees below 43 under which the rate is zero for any purpose
LN2 = math.log(2.0)
Array = NDArray[np.float64]


def _rate(temperature_c: Array) -> Array:
    """Equivalent minutes per minute."""
    over = np.minimum(temperature_c - BREAK_C, MAX_EXPONENT)
    return np.where(over >= 0.0, np.exp2(over), np.exp2(2.0 * np.minimum(over, 0.0)))


def _mean_exp2(low: Array, high: Array, slope: float) -> Array:
    """Mean of 2^(slope x) for x running from `low` to `high`, without cancellation for equal ends."""
    half = 0.5 * slope * LN2 * (high - low)
    small = np.abs(half) < 0.02
    safe = np.where(small, 1.0, half)
    sinhc = np.where(small, 1.0 + half * half / 6.0 * (1.0 + half * half / 20.0), np.sinh(safe) / safe)
    return np.asarray(np.exp2(0.5 * slope * (low + high)) * sinhc)


def mean_rate(start_c: Array, end_c: Array) -> Array:
    """Mean of R^(43 - T) for T linear from `start_c` to `end_c`, split at 43 degC and at the clamp."""
    below, at_clamp = mean_rates(start_c, end_c)
    return below + at_clamp


def mean_rates(start_c: Array, end_c: Array) -> tuple[Array, Array]:
    """What `mean_rate` adds up: the part below the clamp, which noise raises, and the part at the clamp.

    That part noise cannot raise. Only the first must be corrected for noise, and only it has a variance from it.
    """
    a, b = start_c - BREAK_C, end_c - BREAK_C
    span = b - a
    flat = np.abs(span) < 1e-9
    width = np.where(flat, 1.0, span)
    total = np.zeros(np.broadcast(a, b).shape)
    for slope, bottom, top in ((2.0, COLDEST, 0.0), (1.0, 0.0, MAX_EXPONENT)):
        low, high = np.clip(a, bottom, top), np.clip(b, bottom, top)
        total += (high - low) / width * _mean_exp2(low, high, slope)
    above = np.maximum(b, MAX_EXPONENT) - np.maximum(a, MAX_EXPONENT)
    middle = 0.5 * (a + b)
    share = np.where(flat, middle >= MAX_EXPONENT, above / width)
    below = np.where(flat, np.where(share > 0.0, 0.0, _rate(middle + BREAK_C)), total)
    return below, share * 2.0**MAX_EXPONENT


def cem43(temperature_c: NDArray[np.floating[Any]], times_s: NDArray[np.floating[Any]]) -> NDArray[np.floating[Any]]:
    """CEM43 in minutes of a history: `temperature_c` (T, ...) in degC at `times_s` (T,), rising.

    Returns an array of shape (...), float32 for float32 input. A history with a missing sample
    (NaN) has no known dose and gives NaN. Raises ValueError for times that do not rise or shapes
    that do not match.
    """
    history, times = np.asarray(temperature_c), np.asarray(times_s, dtype=np.float64)
    check_times(history, times)
    dose = np.zeros(history.shape[1:])
    for index, step_s in enumerate(np.diff(times)):
        start, end = history[index].astype(np.float64), history[index + 1].astype(np.float64)
        dose += mean_rate(start, end) * (step_s / 60.0)
    return dose.astype(real_dtype(history))


def check_times(history: NDArray[Any], times: Array) -> None:
    """ValueError unless `history` (T, ...) and `times` (T,) belong together and times rise."""
    if times.ndim != 1 or history.ndim == 0 or history.shape[0] != times.shape[0] or not times.size:
        raise ValueError(f"temperatures {history.shape} and times {times.shape} must share their first axis (T,)")
    if not (np.isfinite(times).all() and (np.diff(times) > 0).all()):
        raise ValueError("times_s must be finite and strictly rising: sort them and drop repeated frames")


def noise_gain(sigma_c: float | Array, *, above_break: bool = True) -> Array:
    """Expected factor by which noise of `sigma_c` inflates the dose of this linear integrator.

    For independent noise at both ends, the mean over s of exp(v/2 ((1-s)^2 + s^2)) with
    v = (ln(1/R) sigma)^2; its logarithm is v/3 + v^2/360 to the second cumulant. At and above
    43 degC this is 1.17 at 1 degC and 1.92 at 2 degC.
    """
    v = ((1.0 if above_break else 2.0) * LN2 * np.asarray(sigma_c, dtype=np.float64)) ** 2
    return np.asarray(np.exp(v / 3.0 + v * v / 360.0))


class DoseAccumulator:
    """CEM43 that grows with each map: temperature is linear between the last two maps.

    A voxel whose temperature is missing (NaN) at either end of a step gains nothing in that step
    and its `unmonitored_s` grows, so that a lower bound is never mistaken for the dose.
    """

    def __init__(self, shape: tuple[int, ...], dtype: type[np.floating[Any]] = np.float32) -> None:
        self.dose_min = np.zeros(shape, dtype)
        self.unmonitored_s = np.zeros(shape, np.float32)
        self._last: tuple[Array, float] | None = None

    def add(self, temperature_c: NDArray[np.floating[Any]], time_s: float) -> NDArray[np.floating[Any]]:
        """Take the map at `time_s` (rising) and return the dose in minutes (a new array)."""
        now = np.asarray(temperature_c, dtype=np.float64)
        if now.shape != self.dose_min.shape:
            raise ValueError(f"temperature map has shape {now.shape}, the dose {self.dose_min.shape}")
        if self._last is not None:
            before, before_s = self._last
            if not time_s > before_s:
                raise ValueError(f"time {time_s} s does not follow {before_s} s: a repeated frame adds no dose")
            gain = mean_rate(before, now) * ((time_s - before_s) / 60.0)
            known = np.isfinite(gain)
            self.dose_min = (self.dose_min + np.where(known, gain, 0.0)).astype(self.dose_min.dtype)
            self.unmonitored_s = self.unmonitored_s + np.where(known, 0.0, time_s - before_s).astype(np.float32)
        self._last = (now, time_s)
        return self.dose_min

    def restart(self) -> None:
        """Forget the last map but keep the dose: after a pause or a re-zero the next map opens a new step."""
        self._last = None
