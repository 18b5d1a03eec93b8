"""A peer seen through faults that are switched on later: what it says is spoiled, what it hears may be lost.

A fault acts on messages (`Mutation`), or on the bytes of the link (`guidance.faults.wire`); the peer does not know.
"""

from collections.abc import Callable, Iterable
from typing import Any

import msgspec
import numpy as np

from devices.messages import AnyMessage
from devices.peer import NEVER_NS, Peer
from guidance.events import AnyEvent, Job, JobDone
from guidance.faults.wire import Wire
from guidance.lanes import Workbench

Spoiled = list[tuple[int, AnyMessage]]  # (extra delay in ns, message)
OnLink = Callable[[str, bool, str], None]  # (link, up, reason)


class Moment(msgspec.Struct, frozen=True):
    """What a mutation may look at: when, how long the fault has been on, what came before, and chance."""

    now_ns: int
    since_ns: int
    count: int  # messages that this fault has hit so far
    history: list[AnyMessage]  # sound messages of the same name, newest last
    rng: np.random.Generator


Mutation = Callable[[AnyMessage, Moment], Spoiled]
Answered = Callable[[dict[str, Any]], dict[str, Any]]


class Active(msgspec.Struct):
    """One fault that is on: from `start_ns` to `end_ns`, for messages named `message` ("" = all)."""

    name: str
    start_ns: int
    end_ns: int
    mutate: Mutation | None = None
    message: str = ""
    deaf: bool = False  # what is sent to the peer is lost
    wire: Wire | None = None
    happens: tuple[AnyEvent, ...] = ()  # what the rim tells beside
    lets_go: frozenset[str] = frozenset()  # what the operator's console no longer says
    stands_still: bool = False  # the service's loop is blocked while it lasts
    hangs: str = ""  # lane whose work is not done while it lasts
    answers: tuple[str, Answered] | None = None  # (kind of job, what becomes of what its lane found)
    count: int = 0

    def on(self, now_ns: int) -> bool:
        """True while it lasts."""
        return self.start_ns <= now_ns < self.end_ns


class Spoiler:
    """A `Peer` around a peer. Faults are added while it runs, so that a session can be sound until then."""

    def __init__(self, peer: Peer, rng: np.random.Generator) -> None:
        self.name = peer.name
        self.peer = peer
        self.faults: list[Active] = []
        self.rng = rng
        self.on_link: OnLink = lambda link, up, reason: None
        self._history: dict[str, list[AnyMessage]] = {}
        self._waiting: list[tuple[int, AnyMessage]] = []

    def next_due_ns(self) -> int:
        """The peer's next message or the next that waits."""
        return min(self.peer.next_due_ns(), min((due for due, _ in self._waiting), default=NEVER_NS))

    def advance(self, now_ns: int) -> list[AnyMessage]:
        """What the peer says, spoiled."""
        for message in self.peer.advance(now_ns):
            self._waiting += [(now_ns + extra, said) for extra, said in self._spoil(message, now_ns)]
        due = sorted((row for row in self._waiting if row[0] <= now_ns), key=lambda row: row[0])
        self._waiting = [row for row in self._waiting if row[0] > now_ns]
        return [message for _, message in due]

    def accept(self, message: AnyMessage, now_ns: int) -> None:
        """Passed on, unless a fault makes the peer deaf."""
        if not any(fault.deaf and fault.on(now_ns) for fault in self.faults):
            self.peer.accept(message, now_ns)

    def _spoil(self, message: AnyMessage, now_ns: int) -> Spoiled:
        said: Spoiled = [(0, message)]
        history = self._history.setdefault(message.name, [])
        for fault in self.faults:
            if not fault.on(now_ns) or (fault.message and fault.message != message.name):
                continue
            if fault.mutate is not None:
                moment = Moment(now_ns, fault.start_ns, fault.count, history, self.rng)
                fault.count += 1
                said = [(extra + more, out) for extra, row in said for more, out in fault.mutate(row, moment)]
            if fault.wire is not None:
                said = [(extra, out) for extra, row in said for out in self._pass(fault.wire, row, now_ns)]
        self._history[message.name] = [*history[-40:], message]
        return said

    def _pass(self, wire: Wire, message: AnyMessage, now_ns: int) -> Iterable[AnyMessage]:
        was_up = wire.up(now_ns)
        out = wire.carry(message, now_ns, self.rng)
        if was_up and not wire.up(now_ns):
            self.on_link(self.name, False, wire.reason)
        return out


def replaced(message: AnyMessage, **fields: Any) -> AnyMessage:
    """The message with other fields."""
    return msgspec.structs.replace(message, **fields)


class SpoiledBench(Workbench):
    """The lanes' work, of which a fault may change what was found."""

    faults: list[Active]

    def run(self, job: Job, started_ns: int) -> JobDone:
        """Do one job, and spoil its answer where a fault says so."""
        done = super().run(job, started_ns)
        for fault in self.faults:
            if fault.answers is not None and fault.on(started_ns) and fault.answers[0] == job.kind and not done.failed:
                done = msgspec.structs.replace(done, facts=fault.answers[1](dict(done.facts)))
        return done
