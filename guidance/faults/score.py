"""Scoring: expectations against what was said on the wire, and the table at the end, a row a hazard."""

from bisect import bisect_right
from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import Any

import msgspec
import numpy as np

from guidance.errors import SettingsError
from guidance.faults import oracle, told_oracle, tool_oracle
from guidance.faults.oracle import GRACE_NS, MS, Expectation, Limits, Oracle
from guidance.faults.trace import Sample, Trace
from guidance.safety.rules import RULES, Rule
from guidance.safety.rules.row import NEVER

ORACLES: tuple[Oracle, ...] = (*oracle.ORACLES, *told_oracle.ORACLES, *tool_oracle.ORACLES)
OFF = frozenset({"IDLE", "STOPPED", "HOLD", "READY"})  # phases without energy
LATE_TICKS = 2.5  # a tick that comes later than this cannot keep a bound of 50 ms
SHOWN = ("shown", "not_live", "wrongly_live")  # of poses, and of maps
TOLD = frozenset({"active", "acknowledged", "latched"})
UNTOLD = frozenset({"OFF", "REFUSED"})  # effects that no alarm tells, or not for long


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
    dead: int = 0  # of them older than their limit and 50 ms, or repeated bit by bit for 250 ms
    lied: int = 0  # of these told as live
    maps: int = 0  # pictures and maps that were shown
    dead_maps: int = 0  # of them older than their limit and 50 ms, or of a picture that never came
    false_maps: int = 0  # of these told as live


def judge_trace(trace: Trace, limits: Limits, since_ns: int, until_ns: int, without: str = "") -> Outcome:
    """Every oracle's expectations from `since_ns` on that could be met by `until_ns`.

    Another rule may stop the room in the same moment and so excuse a rule that speaks only while energy flows;
    the rule that is switched off (`without`) is not excused: the table shows what it would have seen.
    """
    expected = [row for asked in ORACLES for row in asked(trace, limits, until_ns)]
    expected = [row for row in expected if trace.phase_at(row.since_ns) in row.phases]
    expected = [_unseen_while_still(trace, row) for row in expected]
    due = [row for row in _first(expected) if since_ns <= row.since_ns and row.since_ns + row.bound_ms * MS <= until_ns]
    findings = [_check(trace, row, without) for row in due if not row.optional]
    shown = (*_shown(trace, limits, since_ns), *_pictures(trace, since_ns))
    return Outcome(findings, _false_stops(trace, expected, since_ns), *shown)


def _shown(trace: Trace, limits: Limits, since_ns: int) -> tuple[int, int, int]:
    """How many poses were shown from `since_ns` on, how many of them were not live, and how many of these told so."""
    count = gone = lied = 0
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
            if old or any(begin < at < end for begin, end in dead):
                gone += 1
                lied += quality == "ok"
    return count, gone, lied


def _pictures(trace: Trace, since_ns: int) -> tuple[int, int, int]:
    """The same of pictures and maps: shown, not live, told as live all the same."""
    rows = [row for row in trace.maps if row.at_ns >= since_ns]
    dead = [
        row for row in rows if row.at_ns > trace.live_until_ns(row) or row.evidence_ns not in trace.arrived[row.stream]
    ]
    return len(rows), len(dead), sum(row.quality == "ok" for row in dead)


def _repeating(samples: list[Sample], limit: float) -> Iterator[tuple[int, int]]:
    """Times during which the newest pose had been repeated bit by bit for longer than 250 ms and ten samples."""
    first = count = ripe = 0
    for before, row in pairwise(samples):
        same = before.usable and row.usable and np.array_equal(before.matrix, row.matrix)
        if same:
            first, count = (first or row.at_ns), count + 1
            ripe = row.at_ns if count <= limit + 1 else ripe
            continue
        if count > limit and row.at_ns > max(first + 250 * MS, ripe):
            yield max(first + 250 * MS, ripe), row.at_ns
        first = count = 0
    if count > limit:
        yield max(first + 250 * MS, ripe), 1 << 62


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
    deadline = _deadline(trace, row)
    if row.effect == "NOT_LIVE":
        lied = [at for at, tool, quality in trace.shown if tool == row.subject and quality == "ok" and at > deadline]
        fresh = [sample.at_ns for sample in trace.poses[row.subject] if sample.at_ns > row.since_ns and sample.usable]
        until = min(fresh, default=trace.now_ns)
        wrong = [at for at in lied if at < until]
        late = (max(wrong) - row.since_ns) / MS if wrong else 0.0
        return Finding(row.hazard, row.rule, row.subject, row.effect, row.bound_ms, late, bool(wrong))
    counts_ns = trace.began_ns if row.rule == without else 0  # what it told before it was switched off is no proof
    told = _alert_ns(trace, f"{row.rule}.{row.subject}", row.since_ns, counts_ns)
    told = row.since_ns if row.effect in UNTOLD else told
    acts = {"STOP": _stop_ns, "HOLD": _off_ns, "OFF": _off_ns}
    acted = acts.get(row.effect, lambda trace, since: since)(trace, row.since_ns)
    armed = (said.at_ns for said in trace.said if said.verb == "ARM")
    if row.effect in ("BLOCK", "REFUSED") and any(deadline < at < (row.ends_ns or trace.now_ns) for at in armed):
        acted = None
    ripe = max(row.since_ns, row.ripe_ns) + (0 if row.rule == without else GRACE_NS)
    excused = trace.phase_at(ripe) not in row.phases
    if told is None and acted is not None and acted <= deadline and excused and row.effect != "ALERT":
        told = acted  # another rule took the room out of the phases in which this one speaks
    if told is None or acted is None:
        return Finding(row.hazard, row.rule, row.subject, row.effect, row.bound_ms, None, True)
    late = (max(told, acted) - row.since_ns) / MS
    return Finding(row.hazard, row.rule, row.subject, row.effect, row.bound_ms, late, max(told, acted) > deadline)


def _unseen_while_still(trace: Trace, row: Expectation) -> Expectation:
    """What ran out while the service stood still is the supervisor's to see; that it stood still is its own."""
    still = any(before < row.since_ns <= at for before, at in trace.standstills())
    return msgspec.structs.replace(row, optional=True) if still and row.rule != "C2" else row


def _deadline(trace: Trace, row: Expectation) -> int:
    """When it must have happened; a service that stood still acts with its first tick, the supervisor before it."""
    deadline = row.since_ns + round(row.bound_ms * MS)
    for before, at in trace.standstills(LATE_TICKS):
        if before < deadline and at > row.since_ns:
            deadline = max(deadline, at + 50 * MS)
    return deadline


def _alert_ns(trace: Trace, name: str, since_ns: int, counts_ns: int) -> int | None:
    """When the alert was first told after `since_ns`; `since_ns` where it already stood."""
    standing = False
    for at, told, state in trace.alerts:
        if told != name or at < counts_ns:
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
        self.cases = 0
        self.shown = {what: dict.fromkeys(SHOWN, 0) for what in ("poses", "maps")}

    def add(self, outcome: Outcome) -> None:
        """Count one case."""
        self.cases += 1
        counts = {
            "poses": (outcome.shown, outcome.dead, outcome.lied),
            "maps": (outcome.maps, outcome.dead_maps, outcome.false_maps),
        }
        for what, seen in self.shown.items():
            seen.update({name: seen[name] + more for name, more in zip(SHOWN, counts[what], strict=True)})
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

    @property
    def shown_in_all(self) -> dict[str, int]:
        """Poses and maps together."""
        return {name: sum(row[name] for row in self.shown.values()) for name in SHOWN}
