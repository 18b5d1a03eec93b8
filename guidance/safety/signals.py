"""Signals: who is called about an alarm, and how loudly. Silence is for a while, and never for a new high alarm."""

from collections.abc import Iterable

from devices.messages import Priority
from guidance.safety.alarms import Alarm, AlarmState
from guidance.safety.facts import Fact, Facts
from guidance.units import ms

LONGEST_PAUSE_S = 120.0


class Signals:
    """Audio pause and escalation of one room. It never touches a condition."""

    def __init__(self, facts: Facts, escalates_ms: float) -> None:
        self._facts = facts
        self._escalates_ns = ms(escalates_ms)
        self.paused_until_ns = 0
        self.paused_by = ""
        self.calling: str = ""  # the console that is called because nobody answered; "" = nobody is

    def pause(self, actor: str, seconds: float, now_ns: int) -> str:
        """Silence the tones for a while; the reason why not, or ""."""
        if not 0 < seconds <= LONGEST_PAUSE_S:
            return f"tones can be paused for up to {LONGEST_PAUSE_S:.0f} s, not {seconds:g} s"
        self.paused_until_ns, self.paused_by = now_ns + ms(seconds * 1000), actor
        return ""

    def is_paused(self, now_ns: int) -> bool:
        """True while tones are silent."""
        return now_ns < self.paused_until_ns

    def heard(self, changed: Iterable[Alarm]) -> None:
        """A new high alarm breaks the pause."""
        if any(alarm.priority is Priority.HIGH and alarm.state is AlarmState.ACTIVE for alarm in changed):
            self.paused_until_ns, self.paused_by = 0, ""

    def measure(self, shown: Iterable[Alarm], consoles: list[str], now_ns: int) -> None:
        """How long the oldest high alarm is unseen; after every limit the next of `consoles` is called."""
        since = [a.first_ns for a in shown if a.unseen and a.priority is Priority.HIGH and a.rule.escalates]
        unseen_ns = now_ns - min(since) if since else 0
        self._facts.set("alarm_unseen_ms", "alarms", Fact(unseen_ns / 1e6, now_ns))
        step = unseen_ns // self._escalates_ns
        self.calling = consoles[step % len(consoles)] if step and consoles else ""
