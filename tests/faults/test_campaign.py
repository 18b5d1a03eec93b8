"""The campaign in small: no miss, no false stop, seeds replay, and a rule that is switched off is missed."""

import json
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import pytest
from past import PAST

from guidance.errors import SettingsError
from guidance.faults.kinds import FAULTS, INDEX, OF_ROOM
from guidance.faults.nominal import run_nominal
from guidance.faults.rooms import BY_NAME
from guidance.faults.score import Table
from guidance.faults.virtual_run import Case, draw, run_cases
from guidance.safety.rules import RULES

# A fault whose oracle speaks of the rule, for every rule, by the room of the fault.
COVERED: dict[str, dict[str, str]] = {
    "campaign": {
        "T1": "guard hot", "T1v": "guard hot", "T1x": "guard hot", "T1d": "guard warms",
        "T1u": "no signal in the guard's slices", "T1us": "pixels not finite", "T2": "pause of 1.6 periods and more",
        "T2s": "pause of 3 periods and more", "T3": "stamps of an hour ago", "T3p": "frozen picture",
        "T4": "phase noise", "T4r": "guard warms", "T6s": "other size", "H2v": "no signal", "K1": "silent",
        "K2": "hidden tool repeats its pose", "K2i": "invalid", "K3": "sheared", "N1": "link down", "N1d": "link down",
        "N2": "STOP unanswered", "N3": "noise on the tracker's wire", "C1": "clock step",
    },
    "thermal": {
        "H2": "device tells a fault", "H2c": "coolant lost", "H2w": "coupling lost", "H2k": "cavitation heard",
        "H2b": "target about to boil", "N2e": "device emits after STOP", "T4d": "unheated tissue reads wrong",
        "H1": "near field has its dose", "T5": "target stays hot", "T6": "another echo time",
        "T2l": "last picture is never computed", "P1i": "images of another patient",
    },
    "robot": {
        "R1": "robot's tip jumps aside", "R1p": "robot past its target", "R1h": "robot rushes aside",
        "R2": "following error", "K1r": "robot's pose silent", "D1k": "kerma", "D1K": "kerma, substantial",
        "D1a": "kerma-area product", "D1A": "kerma-area product, substantial", "D1t": "fluoroscopy time",
        "D1T": "fluoroscopy time, substantial", "D1l": "dose no longer told", "C3": "disk nearly full",
        "C3s": "disk syncs slowly", "C3l": "records lost", "C2": "loop blocked",
        "C2p": "supervisor stopped the devices", "C2w": "supervisor dead", "P1e": "plan edited after loading",
        "N4": "slow reader", "N4a": "broker gone", "N3m": "hostile peer", "N1c": "console's heart stops",
        "O1": "nobody looks", "O1l": "console covered", "O1n": "console covered", "O2": "pedal released",
    },
    "motion": {
        "M1": "shifted for long", "M1c": "shifted for long", "M2": "pictures of noise",
        "M2p": "pictures of another plane",
        "M3": "shifted for long", "M4": "mean place drifts", "M5": "marker falls off the chest",
    },
    "needles": {"G2": "electrode aside", "G3": "electrode too deep", "G1": "electrode drifts to the vein",
        "G1s": "electrode drifts to the vein", "E1": "R-wave lost", "E1h": "R-wave lost"},
    "brain": {"K4": "reference pushed"},
    "picture": {"K5": "depth changed"},
    "seeds": {"K7": "needle bends"},
    "cryo": {
        "T1g": "ice comes near", "T1gs": "ice reaches the organ", "T1k": "organ grows cold", "T1i": "iceball unseen",
    },
    "laser": {"T4w": "frames too slow for the heat", "T5f": "forecast beyond the plan"},
    "drug": {"T7": "target not seen"},
    "landmarks too coarse": {"K4t": "landmarks too coarse"},
    "other patient": {"P1": "other patient"},
    "LPS for RAS": {"P2": "LPS for RAS"},
    "coarse registration": {"K4f": "coarse registration"},
    "calibration of yesterday": {"K6": "calibration of yesterday"},
    "body too cold": {"H3": "body too cold"},
    "body too hot": {"H3h": "body too hot"},
    "guard on bone": {"H3g": "guard on bone"},
}  # fmt: skip
AT_REST = frozenset({"E1", "T5", "T6"})  # rules that speak while nothing is armed


def test_every_rule_is_reached() -> None:
    reached = [rule for rules in COVERED.values() for rule in rules]
    assert len(reached) == len(set(reached))
    assert set(reached) == {row.id for row in RULES}


def alone(room: str) -> list[Case]:
    """Every kind of the room, alone, where most cases of it begin."""
    place = len(BY_NAME[room].places) - 1
    return [Case(kind, 0, place, (kind,), (100.0 + 7 * kind % 500,)) for kind in OF_ROOM[room]]


def without(room: str, rules: Iterable[str], seed: int) -> list[Case]:
    """For each of these rules of the room a case that it alone sees, judged without it."""
    places = len(BY_NAME[room].places)
    return [
        Case(
            seed, 0, 0 if rule in AT_REST else places - 1, (INDEX[COVERED[room][rule]],), (100.0 + 150.0 * seed,), rule
        )
        for rule in rules
    ]


@pytest.mark.slow
@pytest.mark.parametrize("room", sorted(OF_ROOM))
def test_every_kind_of_fault_is_seen_in_time_and_a_rule_that_is_off_is_missed(room: str) -> None:
    sound = Table()
    blind = set(COVERED.get(room, ()))
    first = [*alone(room), *without(room, sorted(blind), 0), *(PAST if room == "campaign" else ())]
    for case, outcome in run_cases(first):
        wrong = [row for row in outcome.findings if row.missed]
        if case.without:
            blind -= {row.rule for row in wrong} & {case.without}
            continue
        assert not wrong, (FAULTS[case.faults[0]].name, wrong)
        assert not outcome.false_stops, (FAULTS[case.faults[0]].name, outcome.false_stops)
        sound.add(outcome)
    for case, outcome in run_cases(without(room, sorted(blind), 1)):  # the other rules of the room may have come first
        blind -= {row.rule for row in outcome.findings if row.missed} & {case.without}
    assert not blind
    assert sound.shown_in_all["wrongly_live"] == 0
    assert sum(row["injected"] for row in sound.rows.values()) > 0


def test_ten_thousand_seeds_have_every_kind_alone_and_with_every_other_of_its_room() -> None:
    drawn = [frozenset(draw(seed).faults) for seed in range(10_000)]
    pairs = {frozenset((a, b)) for kinds in OF_ROOM.values() for a in kinds for b in kinds}
    assert pairs <= set(drawn)


def test_a_seed_gives_the_same_case_and_the_same_outcome() -> None:
    first, second = (list(run_cases(map(draw, [20, 33, 51]))) for _ in range(2))
    assert sorted(map(str, first)) == sorted(map(str, second))  # they come as they are done


def test_an_unknown_rule_cannot_be_switched_off() -> None:
    with pytest.raises(SettingsError, match="there is no rule"):
        next(iter(run_cases([draw(0)], without="T99")))


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
