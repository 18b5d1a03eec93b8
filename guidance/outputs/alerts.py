"""Alerts: the state of an alarm in the words that people and feeds read."""

from collections.abc import Callable

from devices.messages import Alert
from guidance.safety.alarms import Alarm, AlarmState
from guidance.safety.rules import Reaction, Rule

_DONE = {
    Reaction.WARN: "told",
    Reaction.BLOCK: "arming blocked",
    Reaction.HOLD: "energy held off",
    Reaction.STOP: "STOP sent",
}


class AlertWriter:
    """Numbers every change of any alert of the room, so that a feed can tell what it missed."""

    def __init__(self, room: str, unit_of: Callable[[Rule], str]) -> None:
        self._room = room
        self._unit_of = unit_of
        self._sequence = 0

    def write(self, alarm: Alarm, now_ns: int) -> Alert:
        """The alert message for the state in which `alarm` is now."""
        self._sequence += 1
        rule = alarm.rule
        return Alert(
            name=alarm.id,
            device_time_ns=now_ns,
            room=self._room,
            priority=alarm.priority,
            kind=rule.kind,
            state=alarm.state.value,
            text=alarm.text,
            reaction=_DONE[rule.reaction] if alarm.state is not AlarmState.CLEARED else "",
            advice=rule.advice,
            first_ns=alarm.first_ns,
            value=alarm.value,
            limit=alarm.limit,
            unit=self._unit_of(rule),
            sequence=self._sequence,
        )
