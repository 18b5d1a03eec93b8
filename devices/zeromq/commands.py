"""The acknowledged command channel as state machines without sockets.

The issuer asks until the device says `done`, or until time is up; the executor hears each command
once, however often it is asked, and answers every repetition with its latest acknowledgement.
"""

from collections import OrderedDict
from dataclasses import dataclass

from devices.messages import Acknowledgement, Command

REMEMBERED = 256  # commands whose answer is kept

MS = 1_000_000


@dataclass
class _Asked:
    command: Command
    due_ns: int
    give_up_ns: int
    answered: bool = False


class Issuer:
    """Commands on their way to one device. Times are service time in ns."""

    def __init__(self, ask_again_ms: int, give_up_ms: int) -> None:
        self._again_ns, self._give_up_ns = ask_again_ms * MS, give_up_ms * MS
        self._asked: dict[int, _Asked] = {}
        self._heard: OrderedDict[int, tuple[bool, str]] = OrderedDict()

    def ask(self, command: Command, now_ns: int) -> None:
        """Take a command on; a newer one with the same id replaces it."""
        self._heard.pop(command.command_id, None)
        self._asked[command.command_id] = _Asked(command, now_ns, now_ns + self._give_up_ns)

    def due(self, now_ns: int) -> tuple[list[Command], list[Command]]:
        """(to send now, given up without any answer)."""
        over = [asked for asked in self._asked.values() if now_ns >= asked.give_up_ns]
        for asked in over:
            del self._asked[asked.command.command_id]
        due = [asked for asked in self._asked.values() if now_ns >= asked.due_ns]
        for asked in due:
            asked.due_ns = now_ns + self._again_ns
        return [asked.command for asked in due], [asked.command for asked in over if not asked.answered]

    @property
    def waiting(self) -> bool:
        """True while some command is asked again."""
        return bool(self._asked)

    def hear(self, answer: Acknowledgement) -> bool:
        """True where this says something new; a repetition of the last answer does not."""
        said = (answer.done, answer.text)
        new = self._heard.get(answer.command_id) != said
        _remember(self._heard, answer.command_id, said)
        asked = self._asked.get(answer.command_id)
        if asked is not None and asked.command.verb == answer.verb:
            asked.answered = True
            if answer.done:
                del self._asked[answer.command_id]
        return new


class Executor:
    """Commands heard from issuers. An issuer is known by the `source` of its run."""

    def __init__(self) -> None:
        self._answers: OrderedDict[tuple[str, int], Acknowledgement | None] = OrderedDict()
        self._askers: OrderedDict[int, tuple[str, bytes]] = OrderedDict()

    def hear(self, source: str, route: bytes, command: Command) -> tuple[bool, Acknowledgement | None]:
        """(is it new, the answer to repeat). `route` is where answers to it go from now on."""
        key = (source, command.command_id)
        new = key not in self._answers
        answer = self._answers.get(key)
        _remember(self._answers, key, answer)
        _remember(self._askers, command.command_id, (source, route))
        return new, answer

    def answer(self, answer: Acknowledgement) -> bytes | None:
        """Remember an answer; the route to send it on, None where nobody asked."""
        asker = self._askers.get(answer.command_id)
        if asker is None:
            return None
        source, route = asker
        _remember(self._answers, (source, answer.command_id), answer)
        return route


def _remember(memory: OrderedDict, key: object, value: object) -> None:  # type: ignore[type-arg]
    memory[key] = value
    memory.move_to_end(key)
    if len(memory) > REMEMBERED:
        memory.popitem(last=False)
