"""Temporal calibration: how much later one signal runs than another that shows the same motion."""

import numpy as np
from numpy.typing import NDArray

RATE_HZ = 250.0  # of the common grid
LEAST_CORRELATION = 0.8


class LagError(ValueError):
    """Signals whose lag cannot be told, with the reason."""


def principal_motion(positions: NDArray[np.float64]) -> NDArray[np.float64]:
    """Positions (N, 3) along the direction of their largest spread, (N,); scalars (N,) pass through."""
    values = np.asarray(positions, np.float64)
    if values.ndim == 1:
        return values
    centered = values.reshape(len(values), -1) - values.reshape(len(values), -1).mean(axis=0)
    _, _, axes = np.linalg.svd(centered, full_matrices=False)
    found: NDArray[np.float64] = centered @ axes[0]
    return found


def estimate_lag(
    signal: NDArray[np.float64],
    signal_times_s: NDArray[np.float64],
    reference: NDArray[np.float64],
    reference_times_s: NDArray[np.float64],
    *,
    max_lag_s: float = 0.5,
) -> float:
    """Seconds by which `signal` runs later than `reference` (negative: earlier).

    Both are (N,) or positions (N, 3), of which the principal motion is taken. The magnitude of the
    normalised cross-correlation over lags of +- `max_lag_s` is maximised and refined by a parabola,
    so the sign and the scale of the two need not agree. LagError where they do not resemble each
    other, do not move, or do not overlap.
    """
    for name, times in (("signal", signal_times_s), ("reference", reference_times_s)):
        if len(times) < 8 or not (np.diff(times) > 0).all():
            raise LagError(f"{name}: times do not rise, or are fewer than 8")
    first = max(signal_times_s[0], reference_times_s[0]) - max_lag_s
    last = min(signal_times_s[-1], reference_times_s[-1]) + max_lag_s
    a, ta = _checked(signal, signal_times_s, first, last, "signal")
    b, tb = _checked(reference, reference_times_s, first, last, "reference")
    start, end = max(ta[0], tb[0] + max_lag_s), min(ta[-1], tb[-1] - max_lag_s)
    if end - start < max_lag_s:
        raise LagError(f"the signals overlap for {max(0.0, end - start):.2f} s only")
    step = 1.0 / RATE_HZ
    times = np.arange(start, end, step)
    reach = int(np.ceil(max_lag_s * RATE_HZ))
    wide = np.interp(np.arange(-reach, len(times) + reach) * step + start, tb, b)
    narrow = np.interp(times, ta, a)
    scores = _scores(narrow, wide, reach)
    best = int(np.argmax(np.abs(scores)))
    if abs(scores[best]) < LEAST_CORRELATION:
        raise LagError(f"the signals correlate at best by {abs(scores[best]):.2f}: they do not show the same motion")
    if best in (0, len(scores) - 1):
        raise LagError(f"the lag lies at or beyond +-{max_lag_s} s")
    low, mid, high = np.abs(scores[best - 1 : best + 2])
    part = 0.5 * (low - high) / (low - 2 * mid + high)
    return float((reach - best - part) * step)


def _scores(narrow: NDArray[np.float64], wide: NDArray[np.float64], reach: int) -> NDArray[np.float64]:
    """Normalised correlation of `narrow` with every window of `wide`."""
    centered = narrow - narrow.mean()
    own = np.sqrt((centered**2).sum())
    found = np.empty(2 * reach + 1)
    for n in range(len(found)):
        window = wide[n : n + len(narrow)]
        window = window - window.mean()
        found[n] = (centered * window).sum() / max(own * float(np.sqrt((window**2).sum())), 1e-30)
    return found


def _checked(
    values: NDArray[np.float64], times_s: NDArray[np.float64], first: float, last: float, name: str
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    times = np.asarray(times_s, np.float64)
    if len(values) != len(times):
        raise LagError(f"{name}: {len(values)} values with {len(times)} times")
    within = (times >= first) & (times <= last)
    if within.sum() < 8:
        raise LagError(f"{name}: {within.sum()} samples where both signals run; at least 8 are needed")
    times = times[within]
    motion = principal_motion(np.asarray(values, np.float64)[within])
    if not (np.isfinite(motion).all() and np.isfinite(times).all()):
        raise LagError(f"{name} is not finite")
    if float(motion.max() - motion.min()) <= 1e-9:
        raise LagError(f"{name} does not move")
    return motion, times
