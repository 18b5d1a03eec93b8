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

    def wall_ns(self) -> int:
        """The wall clock, ns since the epoch; it may step."""
        ...


class SystemClock:
    """The live clock: CLOCK_MONOTONIC anchored once to the wall clock."""

    def __init__(self) -> None:
        self._offset_ns = time.time_ns() - time.monotonic_ns()

    def now_ns(self) -> int:
        """Service time in ns since the epoch."""
        return time.monotonic_ns() + self._offset_ns

    def wall_ns(self) -> int:
        """Wall clock in ns since the epoch."""
        return time.time_ns()


class VirtualClock:
    """A clock that moves only when told: simulation and replay."""

    def __init__(self, start_ns: int = 0) -> None:
        self._now_ns = start_ns

    def now_ns(self) -> int:
        """Virtual service time in ns."""
        return self._now_ns

    def wall_ns(self) -> int:
        """Equal to `now_ns`: a virtual wall clock does not step."""
        return self._now_ns

    def advance_to(self, now_ns: int) -> None:
        """Move forward to `now_ns`; going back is a ValueError."""
        if now_ns < self._now_ns:
            raise ValueError(f"virtual time cannot go back from {self._now_ns} to {now_ns} ns")
        self._now_ns = now_ns
