"""When a recorded moment is said again: the time table of a recording, and the peer that follows it."""

from collections.abc import Callable, Sequence

import numpy as np

from devices.messages import Acknowledgement, AnyMessage, Command
from devices.peer import NEVER_NS

_NS = 1_000_000_000


class Schedule:
    """Turns the n-th saying (n counts on through the laps of a loop) into the time that it is due.

    `times_s` are the recording's own, never falling. `timing`:
    - "original": the original gaps; messages carry the recording's own device time.
    - "shifted": the original gaps; messages carry the time at which they are due.
    - a number: one moment every so many seconds; messages carry the time at which they are due.

    A lap lasts from the first moment to the last and one typical gap more, and device time goes on
    from lap to lap, so time never runs back.
    """

    def __init__(
        self,
        times_s: Sequence[float],
        *,
        start_ns: int,
        timing: str | float,
        loop: bool,
        first_device_ns: int | None,
    ) -> None:
        self._start_ns = start_ns
        self._loop = loop
        self._count = len(times_s)
        if self._count == 0:
            raise ValueError("a recording without a moment cannot be played")
        period_ns = _period_ns(timing)
        first_s = times_s[0]
        if period_ns:
            self._offsets_ns = [index * period_ns for index in range(self._count)]
        else:
            self._offsets_ns = [round((time_s - first_s) * _NS) for time_s in times_s]
        gaps = np.diff(self._offsets_ns)
        typical_ns = period_ns or (round(float(np.median(gaps))) if len(gaps) else 0)
        self._lap_ns = self._offsets_ns[-1] + typical_ns
        if loop and self._lap_ns <= 0:
            raise ValueError("one moment has no period to loop with: give timing as a number of seconds")
        if timing == "original" and first_device_ns is None:
            raise ValueError("the recording has no absolute times: use timing 'shifted' or a period in seconds")
        self._device_ns = first_device_ns if timing == "original" and first_device_ns is not None else start_ns

    def index(self, saying: int) -> int:
        """Which moment of the recording the n-th saying is."""
        return saying % self._count

    def offset_ns(self, saying: int) -> int:
        """Time since the first saying, ns; never falls as `saying` grows."""
        lap, index = divmod(saying, self._count)
        return lap * self._lap_ns + self._offsets_ns[index]

    def due_ns(self, saying: int) -> int:
        """Service time at which the n-th saying is due; NEVER_NS after the end."""
        if not self._loop and saying >= self._count:
            return NEVER_NS
        return self._start_ns + self.offset_ns(saying)

    def device_ns(self, saying: int) -> int:
        """The device time that the n-th saying carries."""
        return self._device_ns + self.offset_ns(saying)


def _period_ns(timing: str | float) -> int:
    """The fixed period, or 0 for the two named timings; ValueError for anything else."""
    if timing in ("original", "shifted"):
        return 0
    if isinstance(timing, bool) or not isinstance(timing, int | float) or not timing > 0:
        raise ValueError(f"timing is 'original', 'shifted' or a period in seconds, not {timing!r}")
    return round(timing * _NS)


class RecordedPeer:
    """A peer (`devices/peer.py`) that says what a recording holds, and can be asked for nothing else.

    `say(index, saying, device_time_ns)` makes the messages of one moment. A command is answered with
    an acknowledgement that says no, as a recording obeys none; other messages are heard and ignored.
    """

    def __init__(self, name: str, schedule: Schedule, say: Callable[[int, int, int], list[AnyMessage]]) -> None:
        self.name = name
        self._schedule = schedule
        self._say = say
        self._saying = 0
        self._answers: list[AnyMessage] = []
        self._answer_due_ns = NEVER_NS

    def next_due_ns(self) -> int:
        """Service time of the next message; NEVER_NS after the last."""
        return min(self._answer_due_ns, self._schedule.due_ns(self._saying))

    def advance(self, now_ns: int) -> list[AnyMessage]:
        """Everything due up to `now_ns`, oldest first."""
        messages, self._answers, self._answer_due_ns = self._answers, [], NEVER_NS
        while self._schedule.due_ns(self._saying) <= now_ns:
            device_ns = self._schedule.device_ns(self._saying)
            messages += self._say(self._schedule.index(self._saying), self._saying, device_ns)
            self._saying += 1
        return messages

    def accept(self, message: AnyMessage, now_ns: int) -> None:
        """Hear a message; only a command has an answer."""
        if isinstance(message, Command):
            self._answers.append(
                Acknowledgement(
                    name=self.name,
                    device_time_ns=now_ns,
                    command_id=message.command_id,
                    verb=message.verb,
                    done=False,
                    text="a recording obeys no command",
                )
            )
            self._answer_due_ns = min(self._answer_due_ns, now_ns)
