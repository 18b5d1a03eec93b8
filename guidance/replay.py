"""Replay: a recording through the same core. Every output must come out again byte for byte.

Decisions are made on the recorded facts of the lanes, so they are exact on any machine. The lanes'
work is computed again as well: exact on the same processor, within a declared tolerance elsewhere.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from guidance.core import Core
from guidance.errors import RecordingError
from guidance.events import AnyEvent, Arrival, Effect, Job, JobDone
from guidance.lanes import REPLACED, Workbench
from guidance.recording.codec import Packer, fingerprint
from guidance.recording.header import machine
from guidance.recording.plan_copy import restore_plan
from guidance.recording.reader import Recording
from guidance.safety.limits import Limit
from guidance.settings import parse_settings

TOLERANCE = 1e-4  # relative, of a recomputed fact on another processor
TRIVIAL_STEPS = 20  # a session shorter than this proves nothing
SHOWN = 8  # disagreements listed; all are counted


@dataclass
class ReplayReport:
    """What a replay found."""

    steps: int = 0
    outputs: int = 0
    arrivals: int = 0
    computed: int = 0
    compute_exact: int = 0
    cut_bytes: int = 0
    lost_steps: int = 0
    faults: list[str] = field(default_factory=list)
    fault_count: int = 0

    def fault(self, text: str) -> None:
        """Count a disagreement; the first few are kept in words."""
        self.fault_count += 1
        if len(self.faults) < SHOWN:
            self.faults.append(text)

    @property
    def ok(self) -> bool:
        """True when everything agreed and there was something to agree on."""
        return not self.fault_count


class Replayer:
    """Drives a fresh core from a recording; `steps` yields what each step gave, for checks and for reports."""

    def __init__(self, path: Path) -> None:
        self.recording = Recording(path)
        header = self.recording.header
        settings = parse_settings(header["settings"], f"{path}: settings")
        limits = {name: msgspec.convert(row, Limit) for name, row in header["limits"].items()}
        plan = restore_plan(header["plan"]) if header.get("plan") else None
        self.core = Core(settings, plan, limits)
        self.report = ReplayReport(cut_bytes=self.recording.cut_bytes)
        self._workbench = Workbench(settings, plan)
        self._jobs: dict[int, Job] = {}
        self._same_machine = header["machine"]["processor"] == machine()["processor"]

    def steps(self, compute: bool = True) -> Iterator[tuple[AnyEvent, list[Effect], list[bytes]]]:
        """Every step: the event, the effects that the core has now, and the recorded outputs.

        `compute`: the lanes' work is done again and compared; without it, arrays stay digests.
        """
        for event, recorded in self.recording.steps():
            if isinstance(event, JobDone) and event.failed != REPLACED:
                event = self._again(event, compute)
            effects = self.core.accept(event)
            for effect in effects:
                if isinstance(effect, Job):
                    self._jobs[effect.number] = effect
            if isinstance(event, JobDone):
                self._jobs.pop(event.job, None)
            self.report.steps += 1
            self.report.arrivals += isinstance(event, Arrival)
            yield event, effects, recorded
        self.report.lost_steps = self.recording.missing

    def _again(self, event: JobDone, compute: bool) -> JobDone:
        job = self._jobs.get(event.job)
        if job is None:
            self.report.fault(f"job {event.job} ({event.kind}) was recorded as done and never asked for")
            return event
        if not compute:
            return event
        done = self._workbench.run(job, event.started_ns)
        self.report.computed += 1
        if fingerprint(done) == fingerprint(event):
            self.report.compute_exact += 1
        elif self._same_machine:
            self.report.fault(f"job {event.job} ({event.kind}): computed again it differs {_difference(event, done)}")
        elif not _close(event, done):
            self.report.fault(f"job {event.job} ({event.kind}): beyond the tolerance {_difference(event, done)}")
        return msgspec.structs.replace(event, arrays=done.arrays)


def check(path: Path) -> ReplayReport:
    """Replay `path` and compare every output byte for byte; an empty or trivial session fails."""
    replayer = Replayer(path)
    report = replayer.report
    for number, (event, effects, recorded) in enumerate(replayer.steps()):
        packer = Packer()
        now = [packer.effect(effect) for effect in effects]
        report.outputs += len(now)
        if now != recorded:
            report.fault(f"step {number} ({type(event).__name__}): {_which(now, recorded)}")
    if report.lost_steps:
        report.fault(f"{report.lost_steps} steps were lost while recording: what follows cannot be compared")
    if report.steps < TRIVIAL_STEPS or not report.arrivals or not report.outputs:
        seen = f"{report.steps} steps, {report.arrivals} arrivals, {report.outputs} outputs"
        report.fault(f"the session is empty or trivial: {seen}")
    return report


def _which(now: list[bytes], recorded: list[bytes]) -> str:
    if len(now) != len(recorded):
        return f"{len(now)} outputs now, {len(recorded)} recorded"
    index = next(i for i, (a, b) in enumerate(zip(now, recorded, strict=True)) if a != b)
    return f"output {index} differs: now {_words(now[index])}, recorded {_words(recorded[index])}"


def _words(record: bytes) -> str:
    try:
        return str(msgspec.msgpack.decode(record))[:160]
    except msgspec.MsgspecError as fault:
        raise RecordingError(f"an output record is not readable: {fault}") from fault


def _difference(before: JobDone, after: JobDone) -> str:
    names = [
        name for name in before.facts.keys() | after.facts.keys() if before.facts.get(name) != after.facts.get(name)
    ]
    return f"in facts {sorted(names)}" if names else f"in arrays ({sorted(before.arrays)})"


def _close(before: JobDone, after: JobDone) -> bool:
    if before.facts.keys() != after.facts.keys() or before.failed != after.failed:
        return False
    return all(_same(value, after.facts[name]) for name, value in before.facts.items())


def _same(a: Any, b: Any) -> bool:
    if isinstance(a, float) and isinstance(b, float):
        return math.isclose(a, b, rel_tol=TOLERANCE, abs_tol=TOLERANCE)
    return bool(a == b)
