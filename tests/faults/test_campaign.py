"""The campaign in small: no miss, no false stop, seeds replay, and a rule that is switched off is missed."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from past import PAST

from guidance.errors import SettingsError
from guidance.faults.nominal import run_nominal
from guidance.faults.score import Outcome, Table
from guidance.faults.table import FAULTS
from guidance.faults.virtual_run import Case, Session, draw, run_cases

EACH_FAULT = range(len(FAULTS))
# A fault whose oracle speaks of the rule, for every rule that campaign A covers.
COVERED = {
    "T1": "guard hot",
    "T1v": "guard hot",
    "T1x": "guard hot",
    "T1d": "guard warms",
    "T1u": "no signal in the guard's slices",
    "T1us": "pixels not finite",
    "T2": "pause of 1.6 periods and more",
    "T2s": "pause of 3 periods and more",
    "T3": "stamps of an hour ago",
    "T3p": "frozen picture",
    "T4": "phase noise",
    "T4r": "guard warms",
    "T6s": "other size",
    "H2v": "no signal",
    "K1": "silent",
    "K2": "hidden tool repeats its pose",
    "K2i": "invalid",
    "K3": "sheared",
    "N1": "link down",
    "N1d": "link down",
    "N2": "STOP unanswered",
    "N3": "noise on the tracker's wire",
    "C1": "clock step",
}


def scored(cases: "list[tuple[Case, Outcome]]") -> Table:
    table = Table()
    for _, outcome in cases:
        table.add(outcome)
    return table


def test_every_kind_of_fault_is_seen_in_time_and_nothing_stops_without_reason() -> None:
    cases = list(run_cases([*map(draw, EACH_FAULT), *PAST]))
    wrong = [(case.seed, row) for case, outcome in cases for row in outcome.findings if row.missed]
    assert not wrong
    table = scored(cases)
    assert table.false_stops == 0
    assert sum(row["injected"] for row in table.rows.values()) > 150
    assert {"T2", "T3", "K1", "K2", "K3", "N1", "N2", "C1", "refused"} <= set(table.rows)


def test_ten_thousand_seeds_have_every_kind_alone_and_with_every_other() -> None:
    drawn = [frozenset(draw(seed).faults) for seed in range(10_000)]
    kinds = range(len(FAULTS))
    assert {frozenset((a, b)) for a in kinds for b in kinds} <= set(drawn)


def test_a_seed_gives_the_same_case_and_the_same_outcome() -> None:
    first, second = (list(run_cases(map(draw, [20, 33, 51]))) for _ in range(2))
    assert [str(row) for row in first] == [str(row) for row in second]


@pytest.mark.parametrize("rule", sorted(COVERED))
def test_the_campaign_reports_what_a_rule_that_is_switched_off_would_have_seen(rule: str) -> None:
    index = [row.name for row in FAULTS].index(COVERED[rule])
    cases = map(draw, range(index, 40 * len(FAULTS), len(FAULTS)))
    single = [case for case in cases if len(case.faults) == 1 and case.place > 0 and case.base == 0][:4]
    table = scored(list(run_cases(single, without=rule)))
    assert table.rows[rule]["missed"] > 0


def test_an_unknown_rule_cannot_be_switched_off() -> None:
    with pytest.raises(SettingsError, match="there is no rule"):
        Session(0, without="T99")


def test_nominal_treatment_is_quiet() -> None:
    row = run_nominal("campaign", 0.1, 1)
    assert row["treated_h"] > 0.02
    assert row["stops"] == row["holds"] == {}
    assert row["ok"]


def test_the_command_writes_its_rows(tmp_path: Path) -> None:
    out = tmp_path / "rows.json"
    words = [sys.executable, "-m", "guidance", "faults", "A", "--seed", "20", "--json", str(out)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    rows = json.loads(out.read_text())["rows"]
    assert rows
    assert set(rows[0]) == {"id", "injected", "missed", "false_stops", "worst_ms", "bound_ms"}
