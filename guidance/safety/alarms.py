"""Alarm conditions: present, latched, acknowledged. Acknowledging silences a signal, never clears a condition."""

from enum import StrEnum

import msgspec

from guidance.safety.rules import Rule


class AlarmState(StrEnum):
    """State of one alarm as everybody is told it."""

    ACTIVE = "active"
    ACKNOWLEDGED = "acknowledged"  # condition present, signal silenced by a person
    LATCHED = "latched"  # condition gone, still shown until a person resets it
    CLEARED = "cleared"


class Alarm(msgspec.Struct):
    """One condition of one rule on one subject."""

    rule: Rule
    subject: str
    present: bool = False
    pending_since_ns: int = 0  # violated, waiting for the rule's delay; 0 = not violated
    first_ns: int = 0
    acknowledged_by: str = ""
    shown: bool = False
    value: float | None = None
    limit: float = 0.0

    @property
    def id(self) -> str:
        """Identity within the room."""
        return f"{self.rule.id}.{self.subject}"

    @property
    def state(self) -> AlarmState:
        """What the feeds are told."""
        if not self.shown:
            return AlarmState.CLEARED
        if not self.present:
            return AlarmState.LATCHED
        return AlarmState.ACKNOWLEDGED if self.acknowledged_by else AlarmState.ACTIVE

    def update(self, violated: bool, value: float | None, limit: float, now_ns: int) -> bool:
        """Take one judgement; True when the alarm's state as told to others changed."""
        before = self.state
        if violated:
            self.pending_since_ns = self.pending_since_ns or now_ns
            if not self.present and now_ns - self.pending_since_ns >= self.rule.delay_ms * 1e6:
                self._raise(now_ns)
            if self.present:
                self.value, self.limit = value, limit
        else:
            self.pending_since_ns = 0
            self.present = False
            if not self.rule.latch:
                self.shown = False
        return self.state is not before

    def _raise(self, now_ns: int) -> None:
        self.present = self.shown = True
        self.first_ns = now_ns
        self.acknowledged_by = ""

    def acknowledge(self, actor: str) -> bool:
        """A person has seen it; True when that is news."""
        if not self.shown or self.acknowledged_by:
            return False
        self.acknowledged_by = actor
        return True

    def reset(self) -> bool:
        """Clear a latched alarm whose condition is gone and which a person has acknowledged."""
        if not self.shown or self.present or not self.acknowledged_by:
            return False
        self.shown = False
        return True
