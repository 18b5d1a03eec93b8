"""A simulated energy device: obeys commands, acknowledges them, and guards itself with a dead-man.

States and what leads where are the table `MOVES`. Emission needs a live permit: every PERMIT
counts as one beat of the service's 10 Hz heartbeat; three missed beats switch the emission off.
Verbs: POWER {power_w}, FOCUS {x_mm, y_mm, z_mm} (RAS), START, STOP, HOLD, RESUME, ARM, PERMIT; with needles also
NEEDLES {needle_1, needle_2, ...}: 1 = freezes in full, 0 = off, -1 = thaws.
STOP latches until ARM. PERMIT {permit: 0} withdraws the permit at once; PERMIT is not acknowledged.
"""

from collections.abc import Sequence
from enum import StrEnum
from typing import Any

import msgspec
import numpy as np

from devices.messages import Acknowledgement, AnyMessage, Command, Reading, Status
from devices.peer import NEVER_NS
from sim.phantom.world import World
from sim.space import Vector
from sim.tools import ToolMotion


class State(StrEnum):
    """What the device is doing."""

    READY = "ready"
    ON = "on"
    HELD = "held"  # off for now, by HOLD or by the dead-man
    STOPPED = "stopped"  # off, latched


# (verb, state) -> next state; a verb that is missing for a state is refused
MOVES: dict[tuple[str, State], State] = {
    **{("STOP", state): State.STOPPED for state in State},
    ("START", State.READY): State.ON,
    ("START", State.ON): State.ON,
    ("HOLD", State.ON): State.HELD,
    ("HOLD", State.HELD): State.HELD,
    ("HOLD", State.READY): State.READY,
    ("HOLD", State.STOPPED): State.STOPPED,
    ("RESUME", State.HELD): State.ON,
    ("RESUME", State.ON): State.ON,
    ("ARM", State.STOPPED): State.READY,
    ("ARM", State.HELD): State.READY,
    ("ARM", State.READY): State.READY,
}
NEEDS_PERMIT = frozenset({"START", "RESUME"})
CODES = {State.READY: 0.0, State.ON: 1.0, State.HELD: 2.0, State.STOPPED: 3.0}


class Sonication(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A treatment started at the device's own console: wanted from `at_s` for `duration_s`."""

    at_s: float
    duration_s: float
    power_w: float
    focus_mm: tuple[float, float, float] | None = None


class TherapyDevice:
    """Heats the patient of `world`, at its focus or at the tip of the tracked `applicator`.

    With `heats` False it is a beam that warms nothing (a linac): only when it was on is noted. `needles` is how
    many it freezes with. `reports` are further values of its readings, e.g. coolant_ok.

    `faults`: `ignores_stop`, `late_ack_ms`, `no_dead_man`, `power_scale`, `coolant_lost_s` (time after the start).
    """

    def __init__(
        self,
        *,
        name: str,
        world: World,
        rng: np.random.Generator,
        start_ns: int,
        device: str = "Therapy",
        power_w: float = 50.0,
        max_power_w: float = 200.0,
        beat_ms: float = 100.0,
        missed_beats: int = 3,
        reading_hz: float = 10.0,
        program: Sequence[dict[str, Any]] = (),
        follow_target: bool = False,
        applicator: str = "",
        heats: bool = True,
        needles: int = 0,
        reports: dict[str, float] | None = None,
        tracked: dict[str, ToolMotion] | None = None,
        faults: dict[str, float] | None = None,
    ) -> None:
        self.name = name
        self.state = State.READY
        self.stopped_at_ns: list[int] = []
        self.switched: list[tuple[int, float]] = []  # (ns, power in W) at every change of emission
        self._world, self._rng, self._device = world, rng, device
        self._power_w, self._max_power_w = power_w, max_power_w
        self._focus: tuple[float, float, float] = world.body.target_mm
        self._permit_ns = -NEVER_NS
        self._permit_for_ns = round(beat_ms * missed_beats * 1e6)
        self._period_ns = round(1e9 / reading_hz)
        self._reading_ns = start_ns
        self._program = [msgspec.convert(row, Sonication) for row in program]
        self._running: Sonication | None = None
        self._follow, self.heats = follow_target, heats
        self._shares = (1.0,) * needles
        self._reports = dict(reports or {})
        if applicator and applicator not in (tracked or {}):
            raise ValueError(f"applicator {applicator!r} is not among the tracked {sorted(tracked or {})}")
        self._applicator = (tracked or {})[applicator] if applicator else None
        self._faults = faults or {}
        self._answers: list[tuple[int, AnyMessage]] = []
        self._emitted_w = 0.0
        self._energy_j = 0.0
        self._accounted_ns = start_ns

    # --- time -------------------------------------------------------------------------------

    def next_due_ns(self) -> int:
        """The next reading, answer or dead-man deadline; the program is looked at with every reading."""
        due = [self._reading_ns, *(when for when, _ in self._answers)]
        if self.state is State.ON and "no_dead_man" not in self._faults:
            due.append(self._permit_ns + self._permit_for_ns)
        return min(due)

    def advance(self, now_ns: int) -> list[AnyMessage]:
        """Readings and answers due by `now_ns`."""
        said: list[AnyMessage] = []
        self._run_program(now_ns)
        if self.state is State.ON and not self._permitted(now_ns):
            self._enter(State.HELD, self._permit_ns + self._permit_for_ns)
            said.append(self._status(now_ns, "dead-man: the permit's heartbeat is missing"))
        while self._reading_ns <= now_ns:
            self._emit(self._reading_ns)
            said.append(self._reading(self._reading_ns))
            self._reading_ns += self._period_ns
        said += [answer for when, answer in self._answers if when <= now_ns]
        self._answers = [row for row in self._answers if row[0] > now_ns]
        return said

    def accept(self, message: AnyMessage, now_ns: int) -> None:
        """Obey a command; the acknowledgement comes with the next `advance`."""
        if not isinstance(message, Command):
            return
        if message.verb == "PERMIT":
            self._permit_ns = now_ns if message.values.get("permit", 1.0) > 0 else -NEVER_NS
            if self.state is State.ON and not self._permitted(now_ns):
                self._enter(State.HELD, now_ns)
            return
        done, text = self._obey(message, now_ns)
        answer = Acknowledgement(
            name=self._device,
            device_time_ns=now_ns,
            command_id=message.command_id,
            verb=message.verb,
            done=done,
            text=text,
        )
        self._answers.append((now_ns + round(self._faults.get("late_ack_ms", 0.0) * 1e6), answer))

    # --- obeying ----------------------------------------------------------------------------

    def _obey(self, command: Command, now_ns: int) -> tuple[bool, str]:
        if command.verb == "POWER":
            return self._set_power(command.values.get("power_w"), now_ns)
        if command.verb == "FOCUS":
            return self._set_focus(command.values, now_ns)
        if command.verb == "NEEDLES":
            return self._set_needles(command.values, now_ns)
        if command.verb == "STOP" and "ignores_stop" in self._faults:
            return False, f"still {self.state}"
        target = MOVES.get((command.verb, self.state))
        if target is None:
            return False, f"{command.verb} is not possible while {self.state}"
        if command.verb in NEEDS_PERMIT and not self._permitted(now_ns):
            return False, f"{command.verb} needs a live permit"
        self._enter(target, now_ns)
        return True, str(self.state)

    def _set_power(self, power_w: float | None, now_ns: int) -> tuple[bool, str]:
        if power_w is None or not 0 <= power_w <= self._max_power_w:
            return False, f"power_w {power_w} is not in 0..{self._max_power_w:g} W"
        self._power_w = power_w
        self._emit(now_ns)
        return True, f"{power_w:g} W"

    def _set_focus(self, values: dict[str, float], now_ns: int) -> tuple[bool, str]:
        wanted = [values.get(key) for key in ("x_mm", "y_mm", "z_mm")]
        reach = self._world.settings.heat.reach_mm
        if any(w is None or abs(w - t) > reach for w, t in zip(wanted, self._world.target_mm, strict=True)):
            return False, f"FOCUS needs x_mm, y_mm, z_mm within {reach:g} mm of the target, got {values}"
        self._focus = (float(wanted[0] or 0), float(wanted[1] or 0), float(wanted[2] or 0))
        self._emit(now_ns)
        return True, "focus set"

    def _set_needles(self, values: dict[str, float], now_ns: int) -> tuple[bool, str]:
        wanted = tuple(values.get(f"needle_{n + 1}", float("nan")) for n in range(len(self._shares)))
        if not wanted or not all(-1.0 <= share <= 1.0 for share in wanted):
            return False, f"NEEDLES needs needle_1 to needle_{len(self._shares)} in -1..1, got {values}"
        self._shares = wanted
        self._emit(now_ns)
        return True, "needles set"

    def _enter(self, state: State, now_ns: int) -> None:
        if state is State.STOPPED and self.state is not State.STOPPED:
            self.stopped_at_ns.append(now_ns)
        self.state = state
        self._emit(now_ns)

    def _permitted(self, now_ns: int) -> bool:
        return "no_dead_man" in self._faults or now_ns < self._permit_ns + self._permit_for_ns

    # --- emission ---------------------------------------------------------------------------

    def _emit(self, now_ns: int) -> None:
        """Account for the energy so far and tell the world what is emitted from `now_ns` on."""
        self._energy_j += self._emitted_w * max(now_ns - self._accounted_ns, 0) / 1e9
        self._accounted_ns = max(now_ns, self._accounted_ns)
        power_w = self._power_w * self._faults.get("power_scale", 1.0) if self.state is State.ON else 0.0
        shares = self._shares if power_w else (0.0,) * len(self._shares)
        power_w *= sum(map(abs, shares)) / len(shares) if shares else 1.0
        if power_w != self._emitted_w:
            self.switched.append((now_ns, power_w))
        if self.heats and (power_w or self._emitted_w):
            self._world.drive(now_ns, power_w, self._heated_mm(now_ns), shares)
        self._emitted_w = power_w

    def _run_program(self, now_ns: int) -> None:
        t_s = self._world.seconds(now_ns)
        if self._running is not None and t_s >= self._running.at_s + self._running.duration_s:
            self._running = None
            if self.state in (State.ON, State.HELD):
                self._enter(State.READY, now_ns)
        wanted = next((row for row in self._program if row.at_s <= t_s < row.at_s + row.duration_s), None)
        if wanted is not None and self.state is State.READY and self._permitted(now_ns):
            self._program.remove(wanted)
            self._running = wanted
            self._power_w = wanted.power_w
            self._focus = wanted.focus_mm or self._focus
            self._enter(State.ON, now_ns)

    def _heated_mm(self, now_ns: int) -> Vector:
        """Where the energy goes: the applicator's tip, the focus carried with the organ, or the focus as set."""
        if self._applicator is not None:
            return self._applicator.tip_mm(now_ns)
        focus = np.asarray(self._focus)
        return self._world.moved_mm(focus, now_ns) if self._follow else focus

    # --- telling ----------------------------------------------------------------------------

    def _reading(self, now_ns: int) -> Reading:
        age_ms = (now_ns - self._permit_ns) / 1e6 if self._permit_ns > 0 else 1e9
        values = {
            "power_w": self._emitted_w,
            "set_power_w": self._power_w,
            "energy_j": self._energy_j,
            "state": CODES[self.state],
            "permit_age_ms": min(age_ms, 1e9),
        }
        if self._world.seconds(now_ns) >= self._faults.get("coolant_lost_s", float("inf")):
            self._reports["coolant_ok"] = 0.0
        return Reading(name=self._device, device_time_ns=now_ns, values=values | self._reports)

    def _status(self, now_ns: int, text: str) -> Status:
        return Status(name=self._device, device_time_ns=now_ns, code=13, error_name=str(self.state), text=text)
