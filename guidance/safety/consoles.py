"""Consoles: who shows alarms (a lease), who holds control, and whose foot is on the pedal."""

import msgspec

from guidance.safety.facts import Fact, Facts
from guidance.settings import Control

HELD_MS = {"pedal": 250.0, "browser": 1000.0}


class Console(msgspec.Struct):
    """One console. Times in service ns; 0 = never."""

    id: str
    actor: str
    lease_ns: int = 0  # last proof that it shows and sounds its alarms
    beat_ns: int = 0  # last beat of its own 10 Hz heart, where it has one
    held_ns: int = 0  # last time its held control was held; 0 = released


class Consoles:
    """Every console that was heard of. Control belongs to one, is handed over, or taken once its lease lapsed."""

    def __init__(self, facts: Facts, control: Control, lease_ms: float = 2000.0) -> None:
        self._facts = facts
        self._lease_ms = lease_ms
        self._settings = control
        self.known: dict[str, Console] = {}
        self.holder = ""
        if control.consoles:
            facts.declare("annunciating_consoles", "room")
        if control.held != "none":
            facts.declare("held_control_ms", "control")

    def meet(self, console: str, actor: str) -> Console:
        """The console of that id."""
        return self.known.setdefault(console, Console(console, actor))

    def is_live(self, console: str, now_ns: int) -> bool:
        """True while it proves that it shows its alarms."""
        row = self.known.get(console)
        return row is not None and row.lease_ns > 0 and now_ns - row.lease_ns <= self._lease_ms * 1e6

    def live(self, now_ns: int) -> list[str]:
        """Consoles that show alarms now: the one in control first, then in the order in which they came."""
        rows = [name for name in self.known if self.is_live(name, now_ns)]
        return sorted(rows, key=lambda name: name != self.holder)

    def take(self, console: str, now_ns: int) -> str:
        """Take control where it is free, one's own or lapsed; the reason for a refusal, or ""."""
        if self.holder not in ("", console) and self.is_live(self.holder, now_ns):
            return f"console {self.holder!r} holds control; it must hand over, or its lease must lapse"
        self.holder = console
        return ""

    def hand_over(self, console: str, to: str) -> str:
        """Give control to another console that is known ("" = to whoever takes it)."""
        if self.holder != console:
            return "this console does not hold control"
        if to and to not in self.known:
            return f"there is no console {to!r} (have {sorted(self.known)})"
        self.holder = to
        return ""

    def leave(self, console: str) -> None:
        """It signed off: nothing more is expected of it."""
        self.known.pop(console, None)
        self._facts.forget("console_lease_ms", console)
        self._facts.forget("console_beat_ms", console)
        if self.holder == console:
            self.holder = ""

    def forget_lapsed(self, now_ns: int) -> None:
        """After a person acknowledged that they are gone: consoles whose lease lapsed are expected no more."""
        for name, row in list(self.known.items()):
            if row.lease_ns and not self.is_live(name, now_ns):
                self.leave(name)

    def measure(self, now_ns: int) -> None:
        """Facts of leases, beats and the held control."""
        for name, row in self.known.items():
            if row.lease_ns:
                self._facts.set("console_lease_ms", name, Fact((now_ns - row.lease_ns) / 1e6, now_ns))
            if row.beat_ns:
                silent_ms = (now_ns - row.beat_ns) / 1e6 if name == self.holder else 0.0
                self._facts.set("console_beat_ms", name, Fact(silent_ms, now_ns))
        if self._settings.consoles:
            wanted = self._settings.consoles - 0.5
            fact = Fact(float(len(self.live(now_ns))), now_ns, limit=wanted)
            self._facts.set("annunciating_consoles", "room", fact)
        if self._settings.held != "none":
            holder = self.known.get(self.holder)
            held = holder is not None and holder.held_ns > 0
            since = holder.held_ns if holder is not None else 0
            limit = HELD_MS[self._settings.held]
            fact = Fact((now_ns - since) / 1e6 if held else 2 * limit, now_ns, limit=limit)
            self._facts.set("held_control_ms", "control", fact)
