"""Scoring: expectations against what was said on the wire, and the table at the end, a row a hazard."""

from bisect import bisect_right
from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import Any

import msgspec
import numpy as np

from guidance.errors import SettingsError
from guidance.faults.oracle import GRACE_NS, MS, ORACLES, Expectation, Limits
from guidance.faults.trace import Sample, Trace
from guidance.safety.rules import RULES, Rule
from guidance.safety.rules.row import NEVER

OFF = frozenset({"IDLE", "STOPPED", "HOLD", "READY"})  # phases without energy
TOLD = frozenset({"active", "acknowledged", "latched"})


class Finding(msgspec.Struct, frozen=True):
    """One expectation and what became of it: `late_ms` from its evidence to what was asked; negative = before."""

    hazard: str
    rule: str
    subject: str
    effect: str
    bound_ms: float
    late_ms: float | None  # None = never
    missed: bool


class Outcome(msgspec.Struct):
    """One case: its findings, and STOPs that nothing asked for."""

    findings: list[Finding]
    false_stops: list[str]  # reasons
    shown: int = 0  # poses that were shown
    lied: int = 0  # of them as live though older than their limit and 50 ms, or repeated bit by bit for 250 ms


def judge_trace(trace: Trace, limits: Limits, since_ns: int, until_ns: int, without: str = "") -> Outcome:
    """Every oracle's expectations from `since_ns` on that could be met by `until_ns`.

    Another rule may stop the room in the same moment and so excuse a rule that speaks only while energy flows;
    the rule that is switched off (`without`) is not excused: the table shows what it would have seen.
    """
    expected = [row for oracle in ORACLES for row in oracle(trace, limits, until_ns)]
    expected = [row for row in expected if trace.phase_at(row.since_ns) in row.phases]
    due = [row for row in _first(expected) if since_ns <= row.since_ns and row.since_ns + row.bound_ms * MS <= until_ns]
    shown, lied = _shown(trace, limits, since_ns)
    findings = [_check(trace, row, without) for row in due if not row.optional]
    return Outcome(findings, _false_stops(trace, expected, since_ns), shown, lied)


def _shown(trace: Trace, limits: Limits, since_ns: int) -> tuple[int, int]:
    """How many poses were shown from `since_ns` on, and how many of them as live that were not."""
    count = lied = 0
    for stream, samples in trace.poses.items():
        lively = [row.at_ns for row in samples if row.usable]
        dead = list(_repeating(samples, limits["pose_repeats"]))
        last = trace.limits_ns[stream] + 50 * MS
        for at, tool, quality in trace.shown:
            if tool != stream or at < since_ns:
                continue
            count += 1
            newest = bisect_right(lively, at)
            old = not newest or at - lively[newest - 1] > last
            lied += quality == "ok" and (old or any(begin < at < end for begin, end in dead))
    return count, lied


def _repeating(samples: list[Sample], limit: float) -> Iterator[tuple[int, int]]:
    """Times during which the newest pose had been repeated bit by bit for longer than 250 ms and ten samples."""
    first = count = 0
    for before, row in pairwise(samples):
        same = before.usable and row.usable and np.array_equal(before.matrix, row.matrix)
        if same:
            first, count = (first or row.at_ns), count + 1
            continue
        if count > limit and row.at_ns > first + 250 * MS:
            yield first + 250 * MS, row.at_ns
        first = count = 0
    if count > limit:
        yield first + 250 * MS, 1 << 62


def _first(expected: Iterable[Expectation]) -> list[Expectation]:
    """Of a condition that lasts, the first evidence: the same rule, subject and effect within a second is one."""
    kept: dict[tuple[str, str, str, bool], int] = {}
    out = []
    for row in sorted(expected, key=lambda row: row.since_ns):
        key = (row.rule, row.subject, row.effect, row.optional)
        if row.since_ns - kept.get(key, -(10**18)) > 1000 * MS:
            out.append(row)
        kept[key] = row.since_ns
    return out


def _check(trace: Trace, row: Expectation, without: str) -> Finding:
    deadline = row.since_ns + round(row.bound_ms * MS)
    if row.effect == "NOT_LIVE":
        lied = [at for at, tool, quality in trace.shown if tool == row.subject and quality == "ok" and at > deadline]
        fresh = [sample.at_ns for sample in trace.poses[row.subject] if sample.at_ns > row.since_ns and sample.usable]
        until = min(fresh, default=trace.now_ns)
        wrong = [at for at in lied if at < until]
        late = (max(wrong) - row.since_ns) / MS if wrong else 0.0
        return Finding(row.hazard, row.rule, row.subject, row.effect, row.bound_ms, late, bool(wrong))
    told = _alert_ns(trace, f"{row.rule}.{row.subject}", row.since_ns)
    acted = {"STOP": _stop_ns, "HOLD": _off_ns}.get(row.effect, lambda trace, since: since)(trace, row.since_ns)
    ripe = max(row.since_ns, row.ripe_ns) + (0 if row.rule == without else GRACE_NS)
    excused = trace.phase_at(ripe) not in row.phases
    if told is None and acted is not None and acted <= deadline and excused and row.effect != "ALERT":
        told = acted  # another rule took the room out of the phases in which this one speaks
    if told is None or acted is None:
        return Finding(row.hazard, row.rule, row.subject, row.effect, row.bound_ms, None, True)
    late = (max(told, acted) - row.since_ns) / MS
    return Finding(row.hazard, row.rule, row.subject, row.effect, row.bound_ms, late, max(told, acted) > deadline)


def _alert_ns(trace: Trace, name: str, since_ns: int) -> int | None:
    """When the alert was first told after `since_ns`; `since_ns` where it already stood."""
    standing = False
    for at, told, state in trace.alerts:
        if told != name:
            continue
        if at < since_ns:
            standing = state in TOLD
        elif state in TOLD:
            return since_ns if standing else at
    return since_ns if standing else None


def _stop_ns(trace: Trace, since_ns: int) -> int | None:
    if trace.phase_at(since_ns) == "STOPPED":
        return since_ns
    return next((said.at_ns for said in trace.said if said.at_ns >= since_ns and said.verb == "STOP"), None)


def _off_ns(trace: Trace, since_ns: int) -> int | None:
    if trace.phase_at(since_ns) in OFF:
        return since_ns
    stops = (
        said.at_ns
        for said in trace.said
        if said.at_ns >= since_ns and (said.verb in ("STOP", "HOLD") or (said.verb == "PERMIT" and not said.permit))
    )
    return next(stops, None)


def _false_stops(trace: Trace, expected: list[Expectation], since_ns: int) -> list[str]:
    """First sendings of STOP that no expectation stands before."""
    seen: set[int] = set()
    out = []
    for said in trace.said:
        if said.verb != "STOP" or said.command_id in seen:
            continue
        seen.add(said.command_id)
        asked = any(row.effect == "STOP" and row.since_ns <= said.at_ns for row in expected)
        stopped = trace.phase_at(said.at_ns) == "STOPPED"  # a stopped room stops what comes back to it
        if not asked and not stopped and said.at_ns >= since_ns and said.phase != "operator":
            out.append(said.phase)
    return out


def rules_without(rule: str) -> tuple[Rule, ...]:
    """The hazard table with one row that judges in no phase ("" = none); SettingsError where there is no such row."""
    if rule and rule not in {row.id for row in RULES}:
        raise SettingsError("--without", [f"there is no rule {rule!r} (have {[row.id for row in RULES]})"])
    off = {"phases": NEVER, "unknown_in": NEVER}
    return tuple(msgspec.structs.replace(row, **off) if row.id == rule else row for row in RULES)


class Table:
    """The rows of the report, filled case by case."""

    def __init__(self) -> None:
        self.rows: dict[str, dict[str, Any]] = {}
        self.missed_rules: dict[str, int] = {}
        self.cases = self.shown = self.lied = 0

    def add(self, outcome: Outcome) -> None:
        """Count one case."""
        self.cases += 1
        self.shown += outcome.shown
        self.lied += outcome.lied
        for finding in outcome.findings:
            row = self._row(finding.rule)
            row["injected"] += 1
            row["missed"] += finding.missed
            row["bound_ms"] = max(row["bound_ms"], finding.bound_ms)
            if finding.late_ms is not None:
                row["worst_ms"] = round(max(row["worst_ms"], finding.late_ms), 1)
        for reason in outcome.false_stops:
            self._row(reason.partition(".")[0] or "unknown")["false_stops"] += 1

    def _row(self, rule: str) -> dict[str, Any]:
        empty = {"id": rule, "injected": 0, "missed": 0, "false_stops": 0, "worst_ms": 0.0, "bound_ms": 0.0}
        return self.rows.setdefault(rule, empty)

    @property
    def missed(self) -> int:
        """Of all rows."""
        return sum(row["missed"] for row in self.rows.values())

    @property
    def false_stops(self) -> int:
        """Of all rows."""
        return sum(row["false_stops"] for row in self.rows.values())
