"""Acts of operators: who may do what is a table; what is possible is the treatment's; every refusal has reasons."""

from collections.abc import Callable
from typing import NamedTuple

from devices.messages import Acknowledgement, Command
from guidance.events import Act
from guidance.safety.alarms import Alarm
from guidance.safety.consoles import Consoles
from guidance.safety.judge import Judge
from guidance.safety.phases import Phase
from guidance.safety.signals import Signals
from guidance.safety.treatment import Treatment, Verdict

_OPERATOR = frozenset({"operator"})
_STAFF = frozenset({"operator", "assistant"})


class Right(NamedTuple):
    """Who may do it, and whether the console must hold control."""

    roles: frozenset[str]
    control: bool = False


RIGHTS: dict[str, Right] = {
    "STOP": Right(_STAFF),
    "HOLD": Right(_STAFF),
    "ACKNOWLEDGE": Right(_STAFF),
    "AUDIO_PAUSE": Right(_STAFF),
    "LEASE": Right(_STAFF),
    "LEAVE": Right(_STAFF),
    "TAKE_CONTROL": Right(_OPERATOR),
    "HAND_OVER": Right(_OPERATOR),
    "BEAT": Right(_OPERATOR),
    "HELD": Right(_OPERATOR, control=True),
    "RESET": Right(_OPERATOR, control=True),
    "ARM": Right(_OPERATOR, control=True),
    "START": Right(_OPERATOR, control=True),
    "RESUME": Right(_OPERATOR, control=True),
    "FINISH": Right(_OPERATOR, control=True),
}
DONE = Verdict(True)
Changed = list[Alarm]


class ActDesk:
    """One table from verb to what it does; what is no verb of its own is the treatment's."""

    def __init__(self, judge: Judge, treatment: Treatment, consoles: Consoles, signals: Signals) -> None:
        self._judge, self._treatment, self._consoles, self._signals = judge, treatment, consoles, signals
        self._verbs: dict[str, Callable[[Act, str], tuple[Verdict, Changed]]] = {
            "ACKNOWLEDGE": self._acknowledge,
            "RESET": self._reset,
            "AUDIO_PAUSE": self._pause,
            "LEASE": self._mark("lease_ns"),
            "BEAT": self._mark("beat_ns"),
            "HELD": self._held,
            "LEAVE": self._leave,
            "TAKE_CONTROL": lambda act, console: (_verdict(self._consoles.take(console, act.now_ns)), []),
            "HAND_OVER": self._hand_over,
        }

    def take(self, act: Act) -> tuple[Verdict, Changed]:
        """Carry out `act`: its verdict and the alarms that changed."""
        if act.verb not in RIGHTS:
            return Verdict(False, (f"unknown act {act.verb!r} (have {sorted(RIGHTS)})",)), []
        refusal = self.refusal(act)
        if refusal:
            return Verdict(False, (refusal,)), []
        console = act.console or act.actor
        verb = self._verbs.get(act.verb)
        if verb is not None:
            return verb(act, console)
        return self._treatment.act(act.verb, act.now_ns, console, act.values), []

    def refusal(self, act: Act) -> str:
        """Why this person may not do this at this console, or "". What no row names is an operator's in control."""
        right = RIGHTS.get(act.verb, Right(_OPERATOR, control=True))
        if act.role not in right.roles:
            return f"role {act.role!r} may not {act.verb}"
        console = act.console or act.actor
        self._consoles.meet(console, act.actor)
        return self._consoles.take(console, act.now_ns) if right.control else ""

    def _acknowledge(self, act: Act, console: str) -> tuple[Verdict, Changed]:
        wanted = str(act.values.get("alarm", ""))
        shown = self._judge.shown()
        seen = [a for a in shown if wanted in ("", a.id) and a.acknowledge(act.actor, act.now_ns)]
        return DONE, seen

    def _reset(self, act: Act, console: str) -> tuple[Verdict, Changed]:
        gone = [a for a in self._judge.shown() if a.rule.fact == "console_lease_ms" and a.present and not a.unseen]
        changed: Changed = []
        if gone:
            self._consoles.forget_lapsed(act.now_ns)
            changed = self._judge.judge(act.now_ns, self._treatment.phase, ("console_lease_ms",))
        changed += [alarm for alarm in self._judge.shown() if alarm.reset()]
        verdict = self._treatment.act(act.verb, act.now_ns, console)
        return (DONE if changed and self._treatment.phase is not Phase.STOPPED else verdict), changed

    def _pause(self, act: Act, console: str) -> tuple[Verdict, Changed]:
        seconds = act.values.get("seconds", 120.0)
        if not isinstance(seconds, (int, float)):
            return Verdict(False, (f"seconds must be a number, not {seconds!r}",)), []
        return _verdict(self._signals.pause(act.actor, float(seconds), act.now_ns)), []

    def _mark(self, what: str) -> Callable[[Act, str], tuple[Verdict, Changed]]:
        def mark(act: Act, console: str) -> tuple[Verdict, Changed]:
            setattr(self._consoles.known[console], what, act.now_ns)
            return DONE, []

        return mark

    def _held(self, act: Act, console: str) -> tuple[Verdict, Changed]:
        held = bool(act.values.get("held", True))
        self._consoles.known[console].held_ns = act.now_ns if held else 0
        return DONE, []

    def _leave(self, act: Act, console: str) -> tuple[Verdict, Changed]:
        self._consoles.leave(console)
        return DONE, []

    def _hand_over(self, act: Act, console: str) -> tuple[Verdict, Changed]:
        return _verdict(self._consoles.hand_over(console, str(act.values.get("to", "")))), []


def _verdict(refusal: str) -> Verdict:
    return Verdict(False, (refusal,)) if refusal else DONE


def answer(command: Command, verdict: Verdict, now_ns: int) -> Acknowledgement:
    """The reply to a command that a console sent; a first step says what the second must repeat."""
    return Acknowledgement(
        name=command.name,
        command_id=command.command_id,
        verb=command.verb,
        done=verdict.done,
        text="; ".join(verdict.reasons or [f"{name}={value:g}" for name, value in verdict.shown.items()]),
        device_time_ns=now_ns,
    )
