"""Acts of operators: judged by the tables, answered with every reason."""

from devices.messages import Acknowledgement, Command
from guidance.events import Act
from guidance.safety.alarms import Alarm
from guidance.safety.judge import Judge
from guidance.safety.phases import Phase
from guidance.safety.treatment import Treatment, Verdict


class ActDesk:
    """One table from verb to what it does."""

    def __init__(self, judge: Judge, treatment: Treatment) -> None:
        self._judge = judge
        self._treatment = treatment
        self._verbs = {"ACKNOWLEDGE": self._acknowledge, "RESET": self._reset}

    def take(self, act: Act) -> tuple[Verdict, list[Alarm]]:
        """Carry out `act`: its verdict and the alarms that changed."""
        verb = self._verbs.get(act.verb)
        changed = verb(act) if verb else []
        verdict = Verdict(True) if act.verb == "ACKNOWLEDGE" else self._treatment.act(act.verb, act.now_ns)
        if act.verb == "RESET" and changed and self._treatment.phase is not Phase.STOPPED:
            verdict = Verdict(True)
        return verdict, changed

    def _acknowledge(self, act: Act) -> list[Alarm]:
        wanted = str(act.values.get("alarm", ""))
        return [alarm for alarm in self._judge.shown() if wanted in ("", alarm.id) and alarm.acknowledge(act.actor)]

    def _reset(self, act: Act) -> list[Alarm]:
        return [alarm for alarm in self._judge.shown() if alarm.reset()]


def answer(command: Command, verdict: Verdict, now_ns: int) -> Acknowledgement:
    """The reply to a command that a console sent."""
    return Acknowledgement(
        name=command.name,
        command_id=command.command_id,
        verb=command.verb,
        done=verdict.done,
        text="; ".join(verdict.reasons),
        device_time_ns=now_ns,
    )
