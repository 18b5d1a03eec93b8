"""Treatment: the phase, who may move it, and what the energy device is told in each phase."""

import msgspec

from devices.messages import Command
from guidance.safety.judge import Judge
from guidance.safety.phases import ENERGY_PERMITTED, Cause, Phase, next_phase
from guidance.safety.rules import Reaction
from guidance.safety.stops import Stops
from guidance.settings import Therapy
from guidance.units import ms

PERMIT_NS = ms(100)
# What the energy device is told when the phase moves; STOP goes its own, repeated way.
TOLD: dict[tuple[Phase, Phase], tuple[str, ...]] = {
    (Phase.IDLE, Phase.READY): ("ARM",),
    (Phase.READY, Phase.TREATING): ("POWER", "START"),
    (Phase.TREATING, Phase.HOLD): ("HOLD",),
    (Phase.HOLD, Phase.TREATING): ("RESUME",),
    (Phase.READY, Phase.IDLE): ("HOLD",),
    (Phase.TREATING, Phase.IDLE): ("HOLD",),
    (Phase.HOLD, Phase.IDLE): ("HOLD",),
}
ACTS: dict[str, Cause] = {cause.name: cause for cause in Cause}
_ENERGY_ACTS = frozenset({Cause.ARM, Cause.START, Cause.RESUME})
_BLOCKING = (Reaction.BLOCK, Reaction.HOLD, Reaction.STOP)


class Verdict(msgspec.Struct, frozen=True):
    """Answer to an act: done, or refused with every reason."""

    done: bool
    reasons: tuple[str, ...] = ()


class Treatment:
    """The phase machine with its preconditions; the only place that changes the phase.

    `therapy` is the energy device, or None in a room without one.
    """

    def __init__(self, judge: Judge, stops: Stops, therapy: Therapy | None) -> None:
        self.phase = Phase.STOPPED
        self.phase_since_ns = 0
        self._judge = judge
        self._stops = stops
        self._therapy = therapy
        self._to_tell: list[str] = []
        self._next_permit_ns = 0
        self._commands = 0
        self._resumes_by_rule = False

    def act(self, verb: str, now_ns: int) -> Verdict:
        """Judge an operator's act against the table and its preconditions, and carry it out."""
        cause = ACTS.get(verb)
        if cause is None:
            return Verdict(False, (f"unknown act {verb!r} (have {sorted(ACTS)})",))
        refusals = self._refusals(cause, now_ns)
        if refusals:
            return Verdict(False, tuple(refusals))
        if cause is Cause.STOP:
            self._stops.request("operator", now_ns)
        if cause is Cause.RESET:
            self._stops.clear()
        self._resumes_by_rule = False
        self._move(cause, now_ns)
        return Verdict(True)

    def _refusals(self, cause: Cause, now_ns: int) -> list[str]:
        if next_phase(self.phase, cause) is None:
            return [f"{cause.name} is not possible in phase {self.phase}"]
        if cause is Cause.RESET:
            latched = [alarm for alarm in self._judge.shown() if alarm.rule.reaction is Reaction.STOP]
            open_stop = [] if self._stops.all_confirmed else ["a STOP request is not confirmed"]
            return [f"{alarm.id} is {alarm.state}" for alarm in latched] + open_stop
        if cause in _ENERGY_ACTS:
            unknown = [f"{name} is unknown" for name in self._judge.unknown(now_ns)]
            present = [alarm for reaction in _BLOCKING for alarm in self._judge.present(reaction)]
            return unknown + [f"{alarm.id} is present" for alarm in present]
        return []

    def react(self, now_ns: int) -> None:
        """Bring the phase into line with the alarms that are present now."""
        stopping = self._judge.present(Reaction.STOP)
        holding = self._judge.present(Reaction.HOLD)
        if stopping:
            if self.phase is not Phase.STOPPED:
                self._stops.request(stopping[0].id, now_ns)
                self._move(Cause.STOP, now_ns)
        elif holding:
            self._resumes_by_rule &= all(alarm.rule.auto_resume for alarm in holding)
            if next_phase(self.phase, Cause.HOLD) is not None:
                self._resumes_by_rule = all(alarm.rule.auto_resume for alarm in holding)
                self._move(Cause.HOLD, now_ns)
        elif self.phase is Phase.HOLD and self._resumes_by_rule:
            self._move(Cause.RESUME, now_ns)

    def _move(self, cause: Cause, now_ns: int) -> None:
        phase = next_phase(self.phase, cause)
        if phase is not None and phase is not self.phase:
            self._to_tell += TOLD.get((self.phase, phase), ())
            self.phase = phase
            self.phase_since_ns = now_ns
            self._next_permit_ns = now_ns

    def commands_due(self, now_ns: int) -> list[tuple[str, Command]]:
        """(link, command) for the energy device: the 10 Hz permit, and what the last move of the phase means.

        The permit (1 = energy may flow, 0 = it may not) leaves at once when the phase changes and
        ahead of the rest, so that gating never waits for a beat.
        """
        therapy = self._therapy
        if therapy is None:
            return []
        verbs, self._to_tell = self._to_tell, []
        if now_ns >= self._next_permit_ns:
            self._next_permit_ns = now_ns + PERMIT_NS
            verbs = ["PERMIT", *verbs]
        values = {"PERMIT": {"permit": float(self.phase in ENERGY_PERMITTED)}, "POWER": {"power_w": therapy.power_w}}
        out = []
        for verb in verbs:
            self._commands += 1
            command = Command(
                name=therapy.device,
                command_id=self._commands,
                verb=verb,
                values=values.get(verb, {}),
                reason=self.phase.value,
                device_time_ns=now_ns,
            )
            out.append((therapy.link, command))
        return out
