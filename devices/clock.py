"""Service time: integer nanoseconds on a scale that never steps.

Service time is CLOCK_MONOTONIC plus the wall clock's offset read once at start, so it can be
compared with the absolute times that devices send and yet never jumps when the wall clock does.
"""

import time
from typing import Protocol


class Clock(Protocol):
    """Where time enters. Everything that decides gets its time as data from one of these."""

    def now_ns(self) -> int:
        """Service time, ns since the epoch, never stepping."""
        ...

    def both_ns(self) -> tuple[int, int]:
        """Service time and the wall clock of the same instant; the wall clock may step.

        0 for the wall clock where the two could not be read close enough together.
        """
        ...


class SystemClock:
    """The live clock: CLOCK_MONOTONIC anchored once to the wall clock."""

    def __init__(self) -> None:
        self._offset_ns = time.time_ns() - time.monotonic_ns()

    def now_ns(self) -> int:
        """Service time in ns since the epoch."""
        return time.monotonic_ns() + self._offset_ns

    def both_ns(self) -> tuple[int, int]:
        """Service time and wall clock, read within 1 ms of each other; wall 0 where a busy machine forbade it."""
        for _ in range(3):
            before = time.monotonic_ns()
            wall = time.time_ns()
            after = time.monotonic_ns()
            if after - before < 1_000_000:
                return after + self._offset_ns, wall
        return after + self._offset_ns, 0


class VirtualClock:
    """A clock that moves only when told: simulation and replay."""

    def __init__(self, start_ns: int = 0) -> None:
        self._now_ns = start_ns

    def now_ns(self) -> int:
        """Virtual service time in ns."""
        return self._now_ns

    def both_ns(self) -> tuple[int, int]:
        """Twice `now_ns`: a virtual wall clock does not step."""
        return self._now_ns, self._now_ns

    def advance_to(self, now_ns: int) -> None:
        """Move forward to `now_ns`; going back is a ValueError."""
        if now_ns < self._now_ns:
            raise ValueError(f"virtual time cannot go back from {self._now_ns} to {now_ns} ns")
        self._now_ns = now_ns
