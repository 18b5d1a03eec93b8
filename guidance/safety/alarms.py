"""Alarm conditions: present, latched, acknowledged. Acknowledging silences a signal, never clears a condition."""

from enum import StrEnum

import msgspec

from devices.messages import Priority
from guidance.safety.phases import Phase
from guidance.safety.rules.row import ENERGY, Rule
from guidance.units import ms

# An acknowledged condition that is still present asks again after this long.
REMINDS_NS: dict[Priority, int] = {Priority.HIGH: ms(120_000), Priority.MEDIUM: ms(300_000)}

_MOST_STEPS = 10**9  # of a value without bound


class AlarmState(StrEnum):
    """State of one alarm as everybody is told it."""

    ACTIVE = "active"
    ACKNOWLEDGED = "acknowledged"  # condition present, signal silenced by a person
    LATCHED = "latched"  # condition gone, still shown until a person resets it
    CLEARED = "cleared"


class _Told(float):
    """A number as an alarm tells it: the format `span` is a time in ms, from 10 s on in seconds."""

    def __format__(self, spec: str) -> str:
        if spec != "span":
            return super().__format__(spec)
        return f"{self:.0f} ms" if abs(self) < 10_000.0 else f"{self / 1000.0:.0f} s"


class Alarm(msgspec.Struct, eq=False):
    """One condition of one rule on one subject."""

    rule: Rule
    subject: str
    present: bool = False
    pending_since_ns: int = 0  # violated, waiting for the rule's delay; 0 = not violated
    gone_since_ns: int = 0  # no longer violated, waiting for the rule's hold; 0 = violated
    first_ns: int = 0
    acknowledged_by: str = ""
    acknowledged_ns: int = 0
    shown: bool = False
    value: float | None = None
    limit: float = 0.0
    steps: int = 0  # whole steps of the rule beyond its limit at which it was told
    priority: Priority = Priority.LOW

    @property
    def id(self) -> str:
        """Identity within the room."""
        return f"{self.rule.id}.{self.subject}"

    @property
    def text(self) -> str:
        """What, where, how much."""
        if self.value is None:
            return f"{self.subject}: {self.rule.hazard}, value unknown"
        return self.rule.text.format(subject=self.subject, value=_Told(self.value), limit=_Told(self.limit))

    @property
    def state(self) -> AlarmState:
        """What the feeds are told."""
        if not self.shown:
            return AlarmState.CLEARED
        if not self.present:
            return AlarmState.LATCHED
        return AlarmState.ACKNOWLEDGED if self.acknowledged_by else AlarmState.ACTIVE

    @property
    def unseen(self) -> bool:
        """Shown, and nobody has acknowledged it."""
        return self.shown and not self.acknowledged_by

    def update(
        self, violated: bool, value: float | None, limit: float, now_ns: int, phase: Phase, step: float = 0.0
    ) -> bool:
        """Take one judgement; True when the alarm's state as told to others changed, or it is to be told again.

        `step`: told again each so much beyond the limit; 0 = once.
        """
        before, first, again = self.state, self.first_ns, False
        if violated:
            self.gone_since_ns = 0
            self.pending_since_ns = self.pending_since_ns or now_ns
            if not self.present and now_ns - self.pending_since_ns >= ms(self.rule.delay_ms):
                self._raise(now_ns, phase)
            if self.present:
                self.value, self.limit = value, limit
                quiet_ms = self.rule.quiet_ms if phase in self.rule.quiet_in else 0.0
                self.shown = self.shown or now_ns - self.first_ns >= ms(quiet_ms)
                again = step > 0.0 and value is not None and self._rises(abs(value - limit) / step)
        else:
            self.pending_since_ns = 0
            self._lower(now_ns)
        return self.state is not before or (self.shown and (again or self.first_ns != first))

    def _rises(self, steps: float) -> bool:
        """True at a step that it was not told at yet; nobody has seen that one."""
        whole = int(min(steps, _MOST_STEPS))
        if whole <= self.steps:
            return False
        self.steps, self.acknowledged_by = whole, ""
        return True

    def _raise(self, now_ns: int, phase: Phase) -> None:
        self.present, self.shown = True, False
        self.first_ns, self.steps = now_ns, 0
        self.acknowledged_by = ""
        calm = self.rule.calm if phase not in ENERGY else None
        self.priority = calm or self.rule.priority

    def _lower(self, now_ns: int) -> None:
        self.gone_since_ns = self.gone_since_ns or now_ns
        if self.present and now_ns - self.gone_since_ns >= ms(self.rule.hold_ms):
            self.present = False
            self.shown = self.rule.latch and self.shown

    def acknowledge(self, actor: str, now_ns: int = 0) -> bool:
        """A person has seen it; True when that is news."""
        if not self.unseen:
            return False
        self.acknowledged_by, self.acknowledged_ns = actor, now_ns
        return True

    def remind(self, now_ns: int) -> bool:
        """Ask again where an acknowledged condition has lasted; True when it does."""
        after_ns = REMINDS_NS.get(self.priority)
        if not self.present or not self.acknowledged_by or after_ns is None or now_ns - self.acknowledged_ns < after_ns:
            return False
        self.acknowledged_by = ""
        return True

    def reset(self) -> bool:
        """Clear a latched alarm whose condition is gone and which a person has acknowledged."""
        if not self.shown or self.present or not self.acknowledged_by:
            return False
        self.shown = False
        return True
