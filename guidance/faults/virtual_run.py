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
from guidance.faults.oracle import MS, Limits
from guidance.faults.score import Finding, Outcome, judge_trace, rules_without
from guidance.faults.spoiler import Active, Spoiler
from guidance.faults.table import CLOCK_STEP, FAULTS, LINK_DOWN, OPERATOR_STOP, SECOND, FaultRow, Stage
from guidance.faults.trace import Trace
from guidance.faults.wire import RECONNECT_NS
from guidance.load import config_file, load_room
from guidance.safety.phases import Phase
from guidance.trial import EPOCH_NS, build_peers
from guidance.units import ms
from guidance.virtual import VirtualRoom

ROOM = "campaign"
BASES = 4  # patients: how the room is seeded
CASE_S = 4.0
PHASES = (("READY", 0.3), ("TREATING", 0.5), ("TREATING", 4.0))  # (phase, seconds after its begin) where faults start
START = {"STOPPED": "RESET", "IDLE": "ARM", "READY": "START"}
NEXT_ACT_NS = SECOND


class Case(msgspec.Struct, frozen=True):
    """What a seed means."""

    seed: int
    base: int
    place: int  # index into PHASES
    faults: tuple[int, ...]  # indices into FAULTS
    starts_ms: tuple[float, ...]


def draw(seed: int) -> Case:
    """The case of a seed: every kind in turn, alone and then with every other one, in half as many rounds as kinds."""
    rng = np.random.default_rng([seed, 7])
    turn, kind = divmod(seed, len(FAULTS))
    faults = (kind, (kind + turn // 2 + 1) % len(FAULTS)) if turn % 2 else (kind,)
    place = int(rng.choice(len(PHASES), p=(0.15, 0.35, 0.5)))
    starts = tuple(float(rng.uniform(10, 700)) for _ in faults)
    return Case(seed, turn // 2 % BASES, place, faults, starts)


class Session:
    """One room with its spoilers, its trace and an operator who starts the treatment."""

    def __init__(self, base: int, without: str = "") -> None:
        settings, plan, limits = load_room(config_file("procedures", ROOM))
        simulated = build_peers(ROOM, 1 + base, EPOCH_NS)
        self.core = Core(settings, plan, limits, rules_without(without))
        self.limits: Limits = {name: limit.value for name, limit in limits.items()}
        self.without = without
        self.spoilers = [Spoiler(peer, np.random.default_rng([base, 3])) for peer in simulated.peers]
        self.room = VirtualRoom(self.core, self.spoilers, EPOCH_NS)
        self.trace = Trace(settings)
        self.room.watchers.append(self.trace)
        for spoiler in self.spoilers:
            spoiler.on_link = self._link
        scanner = next(row.peer for row in self.spoilers if row.name == "mr")
        geometry: Any = scanner
        mask = np.zeros((1, 1, 1), bool)
        if plan is not None:
            guard = settings.guards[0].structure
            mask = plan.structure(guard).mask(geometry.geometry, geometry.signal.shape)
        self.stage = Stage(settings, self.trace.period_ns, mask)

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
        for _ in range(60):
            if self.core.treatment.phase.value == phase:
                self.room.run_until(self.room.now_ns + round(seconds * SECOND))
                return
            verb = START.get(self.core.treatment.phase.value)
            if verb is not None:
                self.room.take(self._act(verb, self.room.now_ns))
            if self.core.treatment.phase.value != phase:
                self.room.run_until(self.room.now_ns + NEXT_ACT_NS)
        reasons = self.core.last_verdict.reasons
        raise RuntimeError(f"the campaign's room does not reach {phase}: {reasons}")

    def _act(self, verb: str, at_ns: int) -> Act:
        values = self.core.treatment.shown() if verb == "START" else {}
        return Act(now_ns=at_ns, verb=verb, actor="operator", values={**values})

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
        next(spoiler for spoiler in self.spoilers if spoiler.name == row.link).faults.append(fault)
        return fault

    def run_case(self, case: Case) -> Outcome:
        """The faults of the case from here on, and what the oracles say."""
        rng = np.random.default_rng([case.seed, 11])
        began = self.room.now_ns
        for spoiler in self.spoilers:
            spoiler.rng = rng
        active = [
            self.inject(FAULTS[index], began + round(start * MS), rng)
            for index, start in zip(case.faults, case.starts_ms, strict=True)
        ]
        until = began + round(CASE_S * SECOND)
        if self.core.treatment.phase is Phase.READY:
            at = began + SECOND
            self.room.at(at, self._act("START", at))
        self.room.run_until(until)
        outcome = judge_trace(self.trace, self.limits, began, until, self.without)
        for fault in active:
            if fault.wire is not None and fault.wire.spoiled:
                wrong = fault.wire.wrongly_accepted > 0
                outcome.findings.append(Finding("N3", "refused", fault.name, "REFUSED", 0.0, 0.0, wrong))
        return outcome


def run_cases(cases: Iterable[Case], without: str = "", workers: int = 2) -> Iterator[tuple[Case, Outcome]]:
    """Every case and its outcome; each runs in a fork of a base session."""
    groups: dict[tuple[int, int], list[Case]] = {}
    for case in cases:
        groups.setdefault((case.base, case.place), []).append(case)
    base, session = -1, None
    for (wanted, place), group in sorted(groups.items()):
        if wanted != base or session is None:
            base, session = wanted, Session(wanted, without)
        session.run_to(*PHASES[place])
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
