"""Treatment: the phase, who may move it, and what energy and motion devices are told in each phase."""

from collections.abc import Iterable, Mapping

import msgspec

from devices.messages import Command
from guidance.safety.alarms import Alarm
from guidance.safety.judge import Judge
from guidance.safety.phases import ENERGY_PERMITTED, Cause, Phase, next_phase
from guidance.safety.rules import Reaction
from guidance.safety.stops import Stops
from guidance.settings import Robot, Therapy
from guidance.units import ms

PERMIT_NS = ms(100)
# What devices are told when the phase moves; STOP goes its own, repeated way.
TOLD: dict[tuple[Phase, Phase], tuple[str, ...]] = {
    (Phase.IDLE, Phase.READY): ("ARM",),
    (Phase.READY, Phase.TREATING): ("POWER", "START"),
    (Phase.READY, Phase.HOLD): ("POWER",),
    (Phase.TREATING, Phase.HOLD): ("HOLD",),
    (Phase.HOLD, Phase.TREATING): ("RESUME",),
    (Phase.READY, Phase.IDLE): ("HOLD",),
    (Phase.TREATING, Phase.IDLE): ("HOLD",),
    (Phase.HOLD, Phase.IDLE): ("HOLD",),
}
ACTS: dict[str, Cause] = {
    cause.name: cause for cause in Cause if cause not in (Cause.AWAIT, Cause.EXPIRE)
}  # the others are no person's act
_ENERGY_ACTS = frozenset({Cause.ARM, Cause.START, Cause.RESUME})
Values = Mapping[str, float | int | str | bool]


class Verdict(msgspec.Struct, frozen=True):
    """Answer to an act: done, or refused with every reason. `shown`: what the second step must repeat."""

    done: bool
    reasons: tuple[str, ...] = ()
    shown: dict[str, float] = {}


class Ticket(msgspec.Struct, frozen=True):
    """The first of two steps: where it was made, what was shown, until when it can be confirmed."""

    console: str
    shown: dict[str, float]
    until_ns: int


class Treatment:
    """The phase machine with its preconditions; the only place that changes the phase.

    `therapy` and `robot` are the energy and the motion device, None in a room without.
    """

    def __init__(
        self, judge: Judge, stops: Stops, therapy: Therapy | None, robot: Robot | None = None, expires_s: float = 10.0
    ) -> None:
        self.phase = Phase.STOPPED
        self.phase_since_ns = 0
        self.permit_ended_ns = 0  # the last time that energy was permitted no longer; 0 = it never was permitted
        self.ticket: Ticket | None = None
        self._judge = judge
        self._stops = stops
        self._devices = [(device.link, device.device) for device in (therapy, robot) if device is not None]
        self._power = {therapy.device: therapy.power_w} if therapy else {}
        self._shown = {"power_w": therapy.power_w} if therapy else {}
        self._most_w = therapy.power_w if therapy else 0.0
        self._expires_ns = ms(expires_s * 1000)
        self._to_tell: list[str] = []
        self._next_permit_ns = 0
        self._commands = 0
        self._resumes_by_rule = False
        self._begun = False  # the devices were told to START since they were armed

    def shown(self) -> dict[str, float]:
        """The values that a person confirms with the second step."""
        return dict(self._shown)

    def act(self, verb: str, now_ns: int, console: str = "", values: Values | None = None) -> Verdict:
        """Judge an operator's act against the table and its preconditions, and carry it out."""
        cause = ACTS.get(verb)
        if cause is None:
            return Verdict(False, (f"unknown act {verb!r} (have {sorted(ACTS)})",))
        refusals = self._refusals(cause, now_ns, console, values or {})
        if refusals:
            return Verdict(False, tuple(refusals))
        if cause is Cause.STOP:
            self._stops.request("operator", now_ns)
        if cause is Cause.RESET:
            self._stops.clear()
        self._resumes_by_rule = False
        if cause is Cause.ARM:
            self.ticket = Ticket(console, self.shown(), now_ns + self._expires_ns)
            self._begun = False
        if cause is Cause.START and any(rule.gate for rule, _ in self._judge.would(now_ns, Phase.TREATING)):
            cause, self._resumes_by_rule = Cause.AWAIT, True
        self._move(cause, now_ns)
        return Verdict(True, shown=self.shown() if cause is Cause.ARM else {})

    def _refusals(self, cause: Cause, now_ns: int, console: str, values: Values) -> list[str]:
        if next_phase(self.phase, cause) is None:
            return [f"{cause.name} is not possible in phase {self.phase}"]
        if cause is Cause.RESET:
            latched = [alarm for alarm in self._judge.shown() if alarm.rule.reaction is Reaction.STOP]
            open_stop = [] if self._stops.all_confirmed else ["a STOP request is not confirmed"]
            return [f"{alarm.id} is {alarm.state}" for alarm in latched] + open_stop
        if cause not in _ENERGY_ACTS:
            return []
        confirmed = self._step_faults(console, values) if cause is Cause.START else []
        return confirmed + self.blocked(now_ns)

    def blocked(self, now_ns: int) -> list[str]:
        """Why no energy may be armed, started or resumed now; empty where it may."""
        unknown = [f"{name} is unknown" for name in self._judge.unknown(now_ns)]
        standing = self._judge.refusing()
        told = {alarm.id: f"{alarm.id} is {'present' if alarm.present else 'latched: reset it'}" for alarm in standing}
        would = (f"{rule.id}.{s}" for rule, s in self._judge.would(now_ns, Phase.TREATING) if not rule.gate)
        told |= {name: f"{name} is present" for name in would if name not in told}
        return unknown + list(told.values())

    def _step_faults(self, console: str, values: Values) -> list[str]:
        ticket = self.ticket
        if ticket is None:
            return ["nothing was armed: begin again"]
        if console != ticket.console:
            return [f"it was armed at console {ticket.console!r}; confirm it there or begin again"]
        return [
            f"{name} {shown:g} was shown, {values.get(name, 'nothing')} confirmed: begin again"
            for name, shown in ticket.shown.items()
            if values.get(name) != shown
        ]

    def react(self, now_ns: int, changed: Iterable[Alarm] = ()) -> None:
        """Bring the phase into line with the alarms that are present now; `changed` were just raised or lowered."""
        stopping = self._judge.present(Reaction.STOP)
        holding = self._judge.present(Reaction.HOLD)
        raised = [alarm for alarm in changed if alarm.present and alarm.rule.reaction is Reaction.STOP]
        if stopping:
            if self.phase is not Phase.STOPPED or raised:
                self._stops.request((raised or stopping)[0].id, now_ns)
                self._move(Cause.STOP, now_ns)
        elif holding:
            self._resumes_by_rule &= all(alarm.rule.auto_resume for alarm in holding)
            if next_phase(self.phase, Cause.HOLD) is not None:
                self._resumes_by_rule = all(alarm.rule.auto_resume for alarm in holding)
                self._move(Cause.HOLD, now_ns)
        elif self.phase is Phase.HOLD and self._resumes_by_rule:
            self._move(Cause.RESUME, now_ns)
        if self.phase is Phase.READY and self.ticket is not None and now_ns > self.ticket.until_ns:
            self._move(Cause.EXPIRE, now_ns)

    def set_power(self, power_w: float) -> str:
        """Use another power from now on; the reason why not, or "".

        It is never more than the room's, and never more than what was confirmed while the devices are armed.
        """
        now_w = self._shown.get("power_w")
        if now_w is None or not 0.0 < power_w <= self._most_w:
            return f"power_w must be above 0 and at most {self._most_w:g}, not {power_w:g}"
        if self.phase is Phase.READY:
            return f"it is armed with {now_w:g} W: finish, then set the power"
        if self.phase in (Phase.TREATING, Phase.HOLD):
            if power_w > now_w:
                return f"{now_w:g} W were confirmed; more needs a new arming"
            self._to_tell.append("POWER")
        self._shown["power_w"] = power_w
        self._power = dict.fromkeys(self._power, power_w)
        return ""

    def link_up(self, link: str, now_ns: int) -> None:
        """A device that comes back, or is first met, while the room is stopped must be stopped."""
        if self.phase is Phase.STOPPED:
            self._stops.request("the room is stopped", now_ns, link)

    def _move(self, cause: Cause, now_ns: int) -> None:
        phase = next_phase(self.phase, cause)
        if phase is not None and phase is not self.phase:
            told = TOLD.get((self.phase, phase), ())
            if "RESUME" in told and not self._begun:
                told = ("START",)
            self._begun |= "START" in told
            self._to_tell += told
            if self.phase in ENERGY_PERMITTED:
                self.permit_ended_ns = now_ns
            self.phase = phase
            self.phase_since_ns = now_ns
            self._next_permit_ns = now_ns

    def commands_due(self, now_ns: int) -> list[tuple[str, Command]]:
        """(link, command) for the devices: the 10 Hz permit, and what the last move of the phase means.

        The permit (1 = energy may flow, 0 = it may not) leaves at once when the phase changes and
        ahead of the rest, so that gating never waits for a beat.
        """
        verbs, self._to_tell = self._to_tell, []
        if now_ns >= self._next_permit_ns:
            self._next_permit_ns = now_ns + PERMIT_NS
            verbs = ["PERMIT", *verbs]
        permit = {"permit": float(self.phase in ENERGY_PERMITTED)}
        out = []
        for verb in verbs:
            for link, device in self._devices:
                power_w = self._power.get(device)
                if verb == "POWER" and power_w is None:
                    continue
                values = {"PERMIT": permit, "POWER": {"power_w": power_w or 0.0}}.get(verb, {})
                out.append((link, self._command(device, verb, values, now_ns)))
        return out

    def _command(self, device: str, verb: str, values: dict[str, float], now_ns: int) -> Command:
        self._commands += 1
        return Command(
            name=device,
            command_id=self._commands,
            verb=verb,
            values=values,
            reason=self.phase.value,
            device_time_ns=now_ns,
        )
