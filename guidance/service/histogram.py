"""Latency histogram: constant memory, two per cent resolution, no allocation a sample."""

import math

_PER_OCTAVE = 32
_LOWEST_NS = 1_000
_BINS = _PER_OCTAVE * 27  # 1 us .. 134 s


class Histogram:
    """Counts durations in logarithmic bins; percentiles are exact to about 2 %."""

    def __init__(self) -> None:
        self._bins = [0] * (_BINS + 1)
        self.count = 0
        self.max_ns = 0
        self._worst_ns = -1

    def add(self, duration_ns: int) -> None:
        """Count one duration; negative ones count as the lowest bin."""
        self.count += 1
        if duration_ns > self._worst_ns:
            self._worst_ns = duration_ns
            self.max_ns = max(self.max_ns, duration_ns)
        index = 0
        if duration_ns > _LOWEST_NS:
            index = min(int(math.log2(duration_ns / _LOWEST_NS) * _PER_OCTAVE) + 1, _BINS)
        self._bins[index] += 1

    def take_worst_ms(self) -> float | None:
        """The longest in ms since this was last asked; None where nothing was added. One reader at a time."""
        worst_ns, self._worst_ns = self._worst_ns, -1
        return worst_ns / 1e6 if worst_ns >= 0 else None

    def percentile_ms(self, share: float) -> float | None:
        """The duration in ms that `share` (0..1) of the samples do not exceed; None without samples."""
        if not self.count:
            return None
        wanted = share * self.count
        seen = 0
        for index, number in enumerate(self._bins):
            seen += number
            if seen >= wanted and number:
                upper_ns = _LOWEST_NS * math.pow(2.0, index / _PER_OCTAVE)
                return min(upper_ns, self.max_ns) / 1e6
        return self.max_ns / 1e6

    def summary(self) -> dict[str, float | int | None]:
        """n, p50, p99 and max in ms."""
        return {
            "n": self.count,
            "p50": _rounded(self.percentile_ms(0.50)),
            "p99": _rounded(self.percentile_ms(0.99)),
            "max": _rounded(self.max_ns / 1e6 if self.count else None),
        }


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)
