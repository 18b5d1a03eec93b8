"""Numbers gathered along a session, kept small."""

from array import array
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

MAX_POINTS = 1500


class Samples:
    """Durations in ns, told as milliseconds."""

    def __init__(self) -> None:
        self._ns = array("q")

    def add(self, ns: int) -> None:
        """One more."""
        self._ns.append(ns)

    def table(self) -> dict[str, float | int]:
        """{n, p50, p99, max} in ms; only n where there is nothing."""
        if not self._ns:
            return {"n": 0}
        p50, p99 = np.percentile(self._ns, [50, 99])
        return {
            "n": len(self._ns),
            "p50": round(float(p50) / 1e6, 3),
            "p99": round(float(p99) / 1e6, 3),
            "max": round(max(self._ns) / 1e6, 3),
        }


class Curve:
    """A value along time."""

    def __init__(self) -> None:
        self._time_ns = array("q")
        self._value = array("d")

    def add(self, time_ns: int, value: float) -> None:
        """One more point, in the order of time."""
        self._time_ns.append(time_ns)
        self._value.append(value)

    @property
    def values(self) -> NDArray[np.float64]:
        """Every value (N,)."""
        return np.array(self._value, dtype=np.float64)

    def thinned(self, start_ns: int) -> tuple[NDArray[Any], NDArray[Any]]:
        """Seconds since `start_ns` and values: at most `MAX_POINTS`, keeping the extremes of every stretch."""
        seconds = (np.array(self._time_ns, dtype=np.int64) - start_ns) / 1e9
        values = self.values
        if len(values) <= MAX_POINTS:
            return seconds, values
        edges = np.linspace(0, len(values), MAX_POINTS // 2 + 1).astype(int)
        keep = {a + int(f(values[a:b])) for a, b in pairwise(edges) for f in (np.argmin, np.argmax)}
        index = np.array(sorted(keep))
        return seconds[index], values[index]
