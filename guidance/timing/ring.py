"""The last poses of one tool, and the pose at a given time: exact, interpolated, or why not.

Nothing is extrapolated, and nothing is interpolated across a sample that the device called
invalid or missing, or across a gap longer than twice the median step.
"""

from enum import StrEnum
from typing import NamedTuple

import numba
import numpy as np
from numpy.typing import NDArray

from devices.quality import Quality
from guidance.exact import Matrix, interpolate_into, kernel
from guidance.units import NS_PER_MS

I8 = numba.int64
_TIMES = numba.types.Array(I8, 1, "C", readonly=True)
_STEPS = 33  # samples that the median step is taken from


class Kind(StrEnum):
    """How a pose at a time is known."""

    EXACT = "exact"
    INTERPOLATED = "interpolated"
    TOO_OLD = "too_old"  # no sample on one side of the time, or a gap around it
    INVALID = "invalid"  # the device called a sample at or beside the time invalid
    EMPTY = "empty"


class Sample(NamedTuple):
    """The answer. `matrix` (4, 4) is None unless `kind` is exact or interpolated.

    `age_ns`: from the nearest usable sample to the time asked for (negative: that sample is
    later). `gap_ns`: between the two samples around it, 0 where there are not two.
    """

    kind: Kind
    matrix: Matrix | None = None
    age_ns: int = 0
    gap_ns: int = 0
    reason: str = ""

    @property
    def usable(self) -> bool:
        """True where there is a matrix."""
        return self.matrix is not None


@kernel(I8(_TIMES, I8, I8, I8))
def _locate(times: NDArray[np.int64], start: int, count: int, time_ns: int) -> int:
    """Number (0 = oldest) of the newest sample not after `time_ns`, -1 when all are after it."""
    low, high = -1, count
    while high - low > 1:
        middle = (low + high) // 2
        if times[(start + middle) % times.shape[0]] <= time_ns:
            low = middle
        else:
            high = middle
    return low


@kernel(I8(_TIMES, I8, I8))
def _median_step(times: NDArray[np.int64], start: int, count: int) -> int:
    """Median of the last steps between samples, 0 with fewer than two samples."""
    steps = min(count, _STEPS) - 1
    if steps < 1:
        return 0
    found = np.empty(steps, np.int64)
    size = times.shape[0]
    for i in range(steps):
        new = (start + count - 1 - i) % size
        value = times[new] - times[(new - 1) % size]
        j = i
        while j > 0 and found[j - 1] > value:
            found[j] = found[j - 1]
            j -= 1
        found[j] = value
    return int(found[steps // 2])


class PoseRing:
    """Poses of one tool by time. `max_gap_ns` caps what twice the median step would allow."""

    def __init__(self, capacity: int = 512, max_gap_ns: int = 250 * NS_PER_MS) -> None:
        if capacity < 2:
            raise ValueError(f"a pose ring needs room for 2 samples, not {capacity}")
        self._times = np.zeros(capacity, np.int64)
        self._matrices = np.zeros((capacity, 4, 4))
        self._usable = np.zeros(capacity, np.bool_)
        self._start = 0
        self._count = 0
        self.max_gap_ns = max_gap_ns

    def __len__(self) -> int:
        return self._count

    @property
    def newest_ns(self) -> int:
        """Time of the newest sample, usable or not; 0 when empty."""
        return int(self._times[self._slot(self._count - 1)]) if self._count else 0

    @property
    def median_step_ns(self) -> int:
        """Median of the last 32 steps, 0 with fewer than two samples."""
        return int(_median_step(self._times, self._start, self._count))

    def append(self, time_ns: int, matrix: Matrix | None, quality: Quality = Quality.OK) -> str:
        """Take in a sample; "" or, for one that is not taken, why: its time is repeated or went back.

        A sample without a matrix or not of quality OK is kept as a marker that nothing is
        interpolated across.
        """
        if self._count and time_ns <= self.newest_ns:
            return "repeated time" if time_ns == self.newest_ns else "time went back"
        if self._count == len(self._times):
            self._start = (self._start + 1) % len(self._times)
        else:
            self._count += 1
        slot = self._slot(self._count - 1)
        self._times[slot] = time_ns
        self._usable[slot] = quality.usable and matrix is not None
        if matrix is not None:
            self._matrices[slot] = matrix
        return ""

    def clear(self) -> None:
        """Forget every sample (the device's clock was stepped, the reference changed)."""
        self._start = self._count = 0

    def at(self, time_ns: int) -> Sample:
        """The pose at `time_ns`; the matrix of an exact answer is a copy."""
        if not self._count:
            return Sample(Kind.EMPTY, reason="no sample yet")
        before = int(_locate(self._times, self._start, self._count, time_ns))
        if before < 0:
            age = time_ns - int(self._times[self._start])
            return Sample(Kind.TOO_OLD, age_ns=age, reason="before the oldest sample")
        first = self._slot(before)
        age = time_ns - int(self._times[first])
        if not self._usable[first]:
            return Sample(Kind.INVALID, age_ns=age, reason="sample at or before the time is invalid")
        if age == 0:
            return Sample(Kind.EXACT, self._matrices[first].copy())
        if before == self._count - 1:
            return Sample(Kind.TOO_OLD, age_ns=age, reason="after the newest sample")
        return self._between(first, self._slot(before + 1), time_ns)

    def _between(self, first: int, second: int, time_ns: int) -> Sample:
        t0, t1 = int(self._times[first]), int(self._times[second])
        gap = t1 - t0
        age = time_ns - t0 if time_ns - t0 <= t1 - time_ns else time_ns - t1
        if not self._usable[second]:
            return Sample(Kind.INVALID, age_ns=time_ns - t0, gap_ns=gap, reason="sample after the time is invalid")
        if gap > min(self.max_gap_ns, 2 * self.median_step_ns):
            return Sample(Kind.TOO_OLD, age_ns=age, gap_ns=gap, reason="gap between samples")
        out = np.empty((4, 4))
        interpolate_into(self._matrices[first], self._matrices[second], (time_ns - t0) / gap, out)
        return Sample(Kind.INTERPOLATED, out, age, gap)

    def newest(self) -> Sample:
        """The newest sample itself, exact or invalid."""
        return self.at(self.newest_ns)

    def _slot(self, number: int) -> int:
        return (self._start + number) % len(self._times)
