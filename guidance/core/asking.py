"""Commands of control to one device: one of a verb is open at a time, and asked again after a second."""

from collections.abc import Iterable

from devices.messages import Acknowledgement, Command
from guidance.events import Send
from guidance.units import NS_PER_S

AGAIN_NS = NS_PER_S


class Asking:
    """What a device was asked for and has acknowledged; numbered from `first_id` on."""

    def __init__(self, link: str, device: str, first_id: int) -> None:
        self._link, self._device, self._number = link, device, first_id
        self._open: dict[str, tuple[int, int]] = {}  # verb -> (id, time) of the command that waits for its answer
        self._told: dict[str, dict[str, float]] = {}
        self.answers: dict[str, int] = {"done": 0, "refused": 0, "repeated": 0}

    def tell(self, verb: str, values: dict[str, float], reason: str, now_ns: int) -> Iterable[Send]:
        """A command, where the device was not told this already."""
        waiting = self._open.get(verb)
        if self._told.get(verb) == values and waiting is None:
            return
        if waiting is not None and now_ns - waiting[1] < AGAIN_NS:
            return
        self.answers["repeated"] += waiting is not None
        self._number += 1
        self._open[verb] = (self._number, now_ns)
        self._told[verb] = values
        command = Command(
            name=self._device, command_id=self._number, verb=verb, values=values, reason=reason, device_time_ns=now_ns
        )
        yield Send(self._link, command, urgent=True)

    def heard(self, answer: Acknowledgement) -> None:
        """An open command is answered; a refused one is asked again."""
        waiting = self._open.get(answer.verb)
        if waiting is None or waiting[0] != answer.command_id:
            return
        del self._open[answer.verb]
        self.answers["done" if answer.done else "refused"] += 1
        if not answer.done:
            self._told.pop(answer.verb, None)

    def forget(self) -> None:
        """Nothing is known of what the device has, e.g. after it was stopped."""
        self._told.clear()
        self._open.clear()
