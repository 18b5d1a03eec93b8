"""`guidance faults`: which campaign, over which seeds, and the table at the end."""

import signal
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table as RichTable

from guidance.errors import GuidanceError
from guidance.faults.kinds import FAULTS
from guidance.faults.process_run import run_process_cases
from guidance.faults.score import SHOWN, Finding, Outcome, Table
from guidance.faults.socket_run import run_socket_cases
from guidance.faults.virtual_run import Case, draw, run_cases

MANY, PARTS = 100, 20  # a campaign of so many cases tells so often how it goes
TOLD = 20  # failing seeds that are told one by one
Named = tuple[int, str, Outcome]  # (seed, what it was, outcome)


class FaultError(GuidanceError):
    """A campaign that cannot be run as asked."""


def describe(case: Case) -> str:
    """A case in words."""
    phase, after_s, _ = case.room.places[case.place]
    faults = ", ".join(
        f"{FAULTS[index].name} at {start:.0f} ms" for index, start in zip(case.faults, case.starts_ms, strict=True)
    )
    return f"{case.room.name}, {phase} + {after_s:g} s: {faults}"


def _virtual(seeds: Iterable[int], without: str) -> Iterable[Named]:
    for case, outcome in run_cases(map(draw, seeds), without):
        yield case.seed, describe(case), outcome


CAMPAIGNS: dict[str, Callable[[Iterable[int], str], Iterable[Named]]] = {
    "A": _virtual,
    "B": run_socket_cases,
    "C": run_process_cases,
}


def run_campaign(which: str, seeds: Sequence[int], without: str, out: Console) -> dict[str, Any]:
    """Run it; `rows` for the JSON file, `ok` when nothing was missed and nothing stopped without reason."""
    if which not in CAMPAIGNS:
        raise FaultError(f"there is no campaign {which!r} (have {sorted(CAMPAIGNS)})")
    table = Table()
    failing: list[int] = []
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        for seed, words, outcome in CAMPAIGNS[which](seeds, without):
            _take(table, failing, which, without, (seed, words, outcome), out)
            if table.cases % max(len(seeds) // PARTS, 1) == 0 and len(seeds) >= MANY:
                told = f"{table.missed} missed, {table.false_stops} false STOP"
                out.print(f"{table.cases} of {len(seeds)} cases: {told}", highlight=False)
        cut = False
    except KeyboardInterrupt:
        cut = True
        out.print("cut short: the table has what was run until then")
    _show(table, which, without, out)
    return {
        "campaign": which,
        "cases": table.cases,
        "cut_short": cut,
        "without": without,
        "missed": table.missed,
        "false_stops": table.false_stops,
        "shown": {**table.shown, "all": table.shown_in_all},
        "failing_seeds": sorted(failing),
        "rows": sorted(table.rows.values(), key=lambda row: str(row["id"])),
        "ok": not (cut or table.missed or table.false_stops or table.shown_in_all["wrongly_live"]),
    }


def _take(table: Table, failing: list[int], which: str, without: str, row: Named, out: Console) -> None:
    """Count one case, and tell it where it failed."""
    seed, words, outcome = row
    table.add(outcome)
    wrong = [*map(_words, (row for row in outcome.findings if row.missed)), *_false(outcome)]
    wrong += [f"{outcome.lied} poses shown as live that were not"] if outcome.lied else []
    wrong += [f"{outcome.false_maps} maps shown as live that were not"] if outcome.false_maps else []
    if wrong:
        failing.append(seed)
    if wrong and len(failing) <= TOLD:
        out.print(f"seed {seed} ({words}): {'; '.join(wrong)}", highlight=False)
        again = f"guidance faults {which} --seed {seed}" + (f" --without {without}" if without else "")
        out.print(f"  again: {again}", highlight=False)


def _words(finding: Finding) -> str:
    late = "never" if finding.late_ms is None else f"after {finding.late_ms:.0f} ms"
    return f"{finding.rule} {finding.subject} {finding.effect} {late} (bound {finding.bound_ms:.0f} ms)"


def _false(outcome: Outcome) -> list[str]:
    return [f"false STOP by {reason}" for reason in outcome.false_stops]


def _show(table: Table, which: str, without: str, out: Console) -> None:
    shown = RichTable(title=f"campaign {which}, {table.cases} cases" + (f", without {without}" if without else ""))
    for name in ("id", "injected", "missed", "false_stops", "worst_ms", "bound_ms"):
        shown.add_column(name, justify="left" if name == "id" else "right")
    for row in sorted(table.rows.values(), key=lambda row: str(row["id"])):
        shown.add_row(*(str(value) for value in row.values()))
    out.print(shown)
    told = RichTable(title="what was shown")
    for name in ("what", *SHOWN):
        told.add_column(name, justify="left" if name == "what" else "right")
    for what, counts in {**table.shown, "all": table.shown_in_all}.items():
        told.add_row(what, *map(str, counts.values()))
    out.print(told)


def seeds_of(seeds: int, seed: int | None, first: int = 0) -> Sequence[int]:
    """The one that was asked for, or so many from `first` on."""
    return range(first, first + seeds) if seed is None else (seed,)


__all__ = ["CAMPAIGNS", "FaultError", "describe", "draw", "run_campaign", "seeds_of"]
