"""Freeze-thaw cycles as they were planned: which step it is, and how much of it has passed.

Only time in which the treatment permits counts: a hold prolongs the freeze. Passive thaw follows every freeze; active
thaw comes after the last cycle and only where it was planned.
"""

from collections.abc import Sequence
from enum import StrEnum


class Step(StrEnum):
    """What the needles do."""

    FREEZE = "freeze"
    REST = "passive thaw"
    THAW = "active thaw"
    DONE = "cycles done"


class Cycles:
    """`plan` holds (freeze, passive thaw) in seconds of each cycle."""

    def __init__(self, plan: Sequence[tuple[float, float]], active_thaw_s: float = 0.0) -> None:
        rows = [(step, s, n) for n, row in enumerate(plan, 1) for step, s in zip(_STEPS, row, strict=True) if s > 0.0]
        self._rows = [*rows, *([(Step.THAW, active_thaw_s, len(plan))] if active_thaw_s > 0.0 else [])]
        self._index = 0
        self._last_s: float | None = None
        self.step_s = 0.0
        self.begun = False

    @property
    def step(self) -> Step:
        """The step that is due now."""
        return self._rows[self._index][0] if self._index < len(self._rows) else Step.DONE

    @property
    def number(self) -> int:
        """Number of the cycle, from 1; 0 before the first."""
        return self._rows[min(self._index, len(self._rows) - 1)][2] if self.begun else 0

    def pass_time(self, now_s: float, permitted: bool) -> None:
        """It is `now_s`; since the last call the treatment was `permitted` to run, or not."""
        last_s, self._last_s = self._last_s, now_s
        if not permitted or self.step is Step.DONE:
            return
        if not self.begun:
            self.begun = True
            return
        self.step_s += now_s - (now_s if last_s is None else last_s)
        if self.step_s >= self._rows[self._index][1]:
            self._index += 1
            self.step_s = 0.0


_STEPS = (Step.FREEZE, Step.REST)
