"""Campaign A: the whole core in virtual time, thousands of seeded cases from one sound session.

A base session runs without faults to a phase; every case is a fork of it, so that a case costs only the seconds
after its fault. The same seed gives the same case.
"""

import gc
import os
import traceback
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from multiprocessing.connection import Connection, Pipe, wait
from typing import Any

import msgspec
import numpy as np

from guidance.core import Core
from guidance.events import Act, LinkChange, Loss
from guidance.faults.kinds import FAULTS, OF_ROOM
from guidance.faults.oracle import MS, Limits
from guidance.faults.rooms import BY_NAME, CONSOLE, ROOMS, RoomRow, load
from guidance.faults.row import CLOCK_STEP, LINK_DOWN, OPERATOR_STOP, SECOND, FaultRow, Stage
from guidance.faults.score import Finding, Outcome, judge_trace, rules_without
from guidance.faults.spoiler import Active, SpoiledBench, Spoiler
from guidance.faults.trace import Trace
from guidance.faults.wire import RECONNECT_NS
from guidance.safety.phases import Phase
from guidance.trial import EPOCH_NS
from guidance.units import ms
from guidance.virtual import VirtualRoom

CONSOLE_NS = 100_000_000  # how often the operator's console says what it says
START = {"STOPPED": "RESET", "IDLE": "ARM", "READY": "START"}
NEXT_ACT_NS = SECOND
TRIES = 60


class Case(msgspec.Struct, frozen=True):
    """What a seed means."""

    seed: int
    base: int
    place: int  # index into the places of its room
    faults: tuple[int, ...]  # indices into FAULTS, all of one room
    starts_ms: tuple[float, ...]
    without: str = ""  # rule that speaks in no phase

    @property
    def room(self) -> RoomRow:
        """The room of its faults."""
        return BY_NAME[FAULTS[self.faults[0]].room]


def draw(seed: int) -> Case:
    """The case of a seed: every kind in turn, alone in every fourth round, else with the next other one of its room."""
    rng = np.random.default_rng([seed, 7])
    turn, kind = divmod(seed, len(FAULTS))
    mates = OF_ROOM[FAULTS[kind].room]
    room = BY_NAME[FAULTS[kind].room]
    rounds = turn - turn // 4 - 1  # rounds of pairs before this one
    other = mates[(mates.index(kind) + rounds + 1) % len(mates)]
    faults = (kind,) if turn % 4 == 0 or other == kind else (kind, other)
    place = int(rng.choice(len(room.places), p=[often for _, _, often in room.places]))
    starts = tuple(float(rng.uniform(10, 700)) for _ in faults)
    return Case(seed, turn // 2 % room.bases, place, faults, starts)


class Session:
    """One room with its spoilers, its trace and an operator who starts the treatment."""

    def __init__(self, base: int, row: RoomRow = ROOMS[0]) -> None:
        settings, plan, limits, simulated = load(row, base)
        self.row = row
        self.core = Core(settings, plan, limits)
        self.limits: Limits = {name: limit.value for name, limit in limits.items()}
        self.spoilers = [Spoiler(peer, np.random.default_rng([base, 3])) for peer in simulated.peers]
        self.bench = SpoiledBench(settings, plan)
        self.active: list[Active] = []
        self.bench.faults = self.active
        self.room = VirtualRoom(self.core, self.spoilers, EPOCH_NS, workbench=self.bench)
        self.trace = Trace(settings, plan)
        self.room.watchers.append(self.trace)
        for spoiler in self.spoilers:
            spoiler.on_link = self._link
        mask = np.zeros((1, 1, 1), bool)
        if plan is not None and settings.guards:
            scanner: Any = next(row.peer for row in self.spoilers if row.name == "mr")
            mask = plan.structure(settings.guards[0].structure).mask(scanner.geometry, scanner.signal.shape)
        way = None
        if plan is not None and settings.robot is not None and settings.robot.trajectory:
            line = plan.trajectory(settings.robot.trajectory)
            way = line.target_mm - line.entry_mm
        self.stage = Stage(settings, self.trace.period_ns, mask, way)
        if row.hand:
            self._say()

    def _say(self) -> None:
        """What the operator's console keeps saying, unless a fault keeps it from it."""
        now_ns = self.room.now_ns
        kept = {verb for fault in self.active if fault.on(now_ns) for verb in fault.lets_go}
        for verb in sorted(self.row.hand - kept):
            self.room.take(self._act(verb, now_ns))
        self.room.call(now_ns + CONSOLE_NS, self._say)

    def _link(self, link: str, up: bool, reason: str) -> None:
        now_ns = self.room.now_ns
        if not up:
            self.room.take(Loss(now_ns=now_ns, link=link, stream="peer", count=1, reason=reason))
        self.room.take(LinkChange(now_ns=now_ns, link=link, up=up, reason=reason))
        if not up:
            back = now_ns + RECONNECT_NS
            self.room.at(back, LinkChange(now_ns=back, link=link, up=True, reason="connected"))

    def run_to(self, phase: str, seconds: float) -> None:
        """Act until the phase is reached, then let so much time pass. RuntimeError where it is never reached."""
        for _ in range(TRIES):
            if self.core.treatment.phase.value == phase:
                self.room.run_until(self.room.now_ns + round(seconds * SECOND))
                return
            verb = START.get(self.core.treatment.phase.value)
            if verb is not None:
                self.room.take(self._act("ACKNOWLEDGE", self.room.now_ns))
                self.room.take(self._act(verb, self.room.now_ns))
            if self.core.treatment.phase.value != phase:
                self.room.run_until(self.room.now_ns + NEXT_ACT_NS)
        reasons = self.core.last_verdict.reasons
        raise RuntimeError(f"the room {self.row.name} does not reach {phase}: {reasons}")

    def _act(self, verb: str, at_ns: int) -> Act:
        values = self.core.treatment.shown() if verb == "START" else {}
        return Act(now_ns=at_ns, verb=verb, actor="operator", values={**values}, console=CONSOLE)

    def inject(self, row: FaultRow, start_ns: int, rng: np.random.Generator) -> Active:
        """Switch a fault on at `start_ns`."""
        fault = row.make(self.stage, rng, start_ns)
        if fault.name == CLOCK_STEP:
            step_ns = ms(float(fault.message))
            self.room.call(start_ns, lambda: self.room.step_wall(step_ns))
            return fault
        if fault.name == LINK_DOWN:
            for at_ns, up in ((start_ns, False), (fault.end_ns, True)):
                self.room.at(at_ns, LinkChange(now_ns=at_ns, link=row.link, up=up, reason="fault"))
        if fault.name == OPERATOR_STOP:
            at_ns = start_ns + ms(50)
            self.room.at(at_ns, Act(now_ns=at_ns, verb="STOP", actor="operator"))
        for event in fault.happens:
            self.room.at(event.now_ns, event)
        if fault.stands_still:
            self.room.call(start_ns, lambda: self.room.stall(fault.end_ns))
        if fault.hangs:
            self.room.call(start_ns, lambda: self.room.hang(fault.hangs, fault.end_ns))
        self.active.append(fault)
        if row.link:
            next(spoiler for spoiler in self.spoilers if spoiler.name == row.link).faults.append(fault)
        return fault

    def run_case(self, case: Case) -> Outcome:
        """The faults of the case from here on, and what the oracles say."""
        rng = np.random.default_rng([case.seed, 11])
        began = self.trace.began_ns = self.room.now_ns
        for spoiler in self.spoilers:
            spoiler.rng = rng
        if case.without:
            silence(self.core, case.without)
        active = [
            self.inject(FAULTS[index], began + round(start * MS), rng)
            for index, start in zip(case.faults, case.starts_ms, strict=True)
        ]
        until = began + round(max(FAULTS[index].seconds for index in case.faults) * SECOND)
        self._try(began)
        self.room.run_until(until)
        outcome = judge_trace(self.trace, self.limits, began, until, case.without)
        for fault in active:
            if fault.wire is not None and fault.wire.spoiled:
                wrong = fault.wire.wrongly_accepted > 0
                outcome.findings.append(Finding("N3", "refused", fault.name, "REFUSED", 0.0, 0.0, wrong))
        return outcome

    def _try(self, began: int) -> None:
        """The operator goes on with the treatment during the case: a START where it is armed, else attempts to arm."""
        phase = self.core.treatment.phase
        if phase is Phase.READY:
            self.room.at(began + SECOND, self._act("START", began + SECOND))
        if phase in (Phase.IDLE, Phase.STOPPED):
            for n, verb in enumerate(("ACKNOWLEDGE", "RESET", "ARM", "ACKNOWLEDGE", "RESET", "ARM")):
                at = began + SECOND + n * SECOND // 2
                self.room.at(at, self._act(verb, at))


def silence(core: Core, rule: str) -> None:
    """Let one row of a running core speak in no phase; only a campaign's fork does so, and no other code can."""
    judge = core.judge
    judge._rules = rules_without(rule)
    rows = {row.id: row for row in judge._rules}
    judge._by_fact = {name: [rows[row.id] for row in old] for name, old in judge._by_fact.items()}
    for alarm in judge._of_rule[rule].values():
        alarm.rule, alarm.present, alarm.shown = rows[rule], False, False


def run_cases(cases: Iterable[Case], without: str = "", workers: int = 2) -> Iterator[tuple[Case, Outcome]]:
    """Every case and its outcome; each runs in a fork of a base session."""
    rules_without(without)
    groups: dict[tuple[str, int, int], list[Case]] = {}
    for case in cases:
        case = msgspec.structs.replace(case, without=without) if without else case
        groups.setdefault((case.room.name, case.base, case.place), []).append(case)
    key, session = ("", -1), None
    for (room, base, place), group in sorted(groups.items()):
        if key != (room, base) or session is None:
            key, session = (room, base), Session(base, BY_NAME[room])
        phase, seconds, _ = session.row.places[place]
        session.run_to(phase, seconds)
        yield from _forked(session, group, workers)


def _forked(session: Session, cases: list[Case], workers: int) -> Iterator[tuple[Case, Outcome]]:
    gc.collect()
    gc.freeze()  # what a fork does not touch, it does not copy
    running: dict[Connection, tuple[Case, int]] = {}
    waiting = list(reversed(cases))
    while waiting or running:
        while waiting and len(running) < workers:
            case = waiting.pop()
            ours, theirs = Pipe(duplex=False)
            child = os.fork()
            if not child:
                _child(theirs, partial(session.run_case, case))
            theirs.close()
            running[ours] = (case, child)
        for ready in wait(list(running)):
            assert isinstance(ready, Connection)
            case, child = running.pop(ready)
            try:
                outcome = msgspec.msgpack.decode(ready.recv_bytes(), type=Outcome)
            except EOFError:
                outcome = Outcome([Finding("core", "core", "fell over", "RUN", 0.0, None, True)], [])
            ready.close()
            os.waitpid(child, 0)
            yield case, outcome


def _child(out: Connection, work: Callable[[], Outcome]) -> None:
    """Work and leave without the parent's clean-up; a fault is told on stderr and by the missing answer."""
    code = 1
    gc.disable()
    try:
        out.send_bytes(msgspec.msgpack.encode(work()))
        code = 0
    except Exception:
        traceback.print_exc()
        raise
    finally:
        os._exit(code)
