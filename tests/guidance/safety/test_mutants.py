"""What every row of the hazard table does: a reviewed line a row, and mutants of the rows that must be noticed.

`expected.txt` holds for every row its id, fact, side and limit, and what happens while treating (just inside,
just outside, back inside, unknown, old evidence) and while idle. Its lines were read against the hazard table.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from safety_kit import LIMITS, behaviour

from devices.messages import Priority
from guidance.errors import SettingsError
from guidance.safety.alarms import Alarm
from guidance.safety.phases import Phase
from guidance.safety.rules import ALWAYS, ENERGY, RULES, Compare, Reaction, Rule, check_rules
from guidance.safety.rules.row import NEVER

EXPECTED = {line.split(" ", 1)[0]: line for line in (Path(__file__).parent / "expected.txt").read_text().splitlines()}
HAZARDS = "T1 T2 T3 T4 T5 T6 M1 M2 K1 K2 K3 K4 P1 P2 N1 N2 N3 N4 C1 C2 C3 O1 O2 H1 H2 H3 E1 R1 D1"
# Mutants that no judgement can tell apart, by rule and mutation, with the reason.
_AT_REST = "at rest nothing flows that HOLD could hold: it refuses to arm, as BLOCK does"
_STOPS_TOO = "unknown is a STOP by the next row of the same fact, which leaves nothing to hold"
EQUIVALENT: dict[tuple[str, str], str] = {
    ("T1u", "unknown"): _STOPS_TOO,
    ("T2", "unknown"): _STOPS_TOO,
    ("T5", "reaction HOLD"): _AT_REST,
    ("T6", "reaction HOLD"): _AT_REST,
    ("E1", "reaction HOLD"): _AT_REST,
}


def line_of(expected: str, rules: tuple[Rule, ...], limits: Any) -> str:
    """The line of one row as `rules` and `limits` behave."""
    name, fact, compare, limit = expected.split(" | ", 1)[0].split(" ")
    told = behaviour(name, fact, compare, float(limit), rules, limits)
    return f"{name} {fact} {compare} {limit} | {told}"


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.id)
def test_every_row_does_what_was_reviewed(rule: Rule) -> None:
    assert line_of(EXPECTED[rule.id], RULES, LIMITS) == EXPECTED[rule.id]


def test_nothing_is_expected_of_rows_that_are_gone_and_every_hazard_has_rows() -> None:
    assert EXPECTED.keys() == {rule.id for rule in RULES}
    assert {rule.row for rule in RULES} >= set(HAZARDS.split())


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.id)
def test_texts_can_be_filled_in_and_say_what_to_do(rule: Rule) -> None:
    text = Alarm(rule, "rib", value=1.0, limit=2.0).text
    assert text and "{" not in text
    unknown = Alarm(rule, "rib", limit=2.0).text
    assert unknown.startswith("rib: ") and unknown.endswith("unknown")
    assert rule.advice
    assert rule.bound


def test_a_long_time_is_told_in_seconds_and_a_short_one_in_milliseconds() -> None:
    rule = next(rule for rule in RULES if rule.id == "K1")
    assert Alarm(rule, "Needle", value=849.6, limit=200.0).text == "Needle NOT LIVE for 850 ms (limit 200 ms)"
    assert Alarm(rule, "Needle", value=254_090.0, limit=200.0).text == "Needle NOT LIVE for 254 s (limit 200 ms)"


def weaker(rule: Rule) -> Iterator[Reaction]:
    yield from (reaction for reaction in Reaction if reaction is not rule.reaction)


def mutants(rule: Rule) -> Iterator[tuple[str, Rule | None, float]]:
    """(what was changed, the changed row or None where it was removed, factor of its limit)."""

    def changed(**fields: Any) -> Rule:
        return msgspec.structs.replace(rule, **fields)

    flipped = Compare.BELOW if rule.compare is Compare.ABOVE else Compare.ABOVE
    other = Priority.LOW if rule.priority is not Priority.LOW else Priority.HIGH
    yield "removed", None, 1.0
    yield "comparison", changed(compare=flipped), 1.0
    yield "limit up", rule, 1.05
    yield "limit down", rule, 0.95
    yield from ((f"reaction {reaction}", changed(reaction=reaction), 1.0) for reaction in weaker(rule))
    yield "latch", changed(latch=not rule.latch), 1.0
    yield "priority", changed(priority=other), 1.0
    yield "phases", changed(phases=ALWAYS if rule.phases != ALWAYS else ENERGY), 1.0
    yield "unknown", changed(unknown_in=NEVER if rule.unknown_in else ALWAYS), 1.0
    yield "delay", changed(delay_ms=rule.delay_ms + 300.0), 1.0


def survives(rule: Rule, mutant: Rule | None, factor: float) -> bool:
    rules = tuple(row if row is not rule else mutant for row in RULES)
    rows = tuple(row for row in rules if row is not None)
    if mutant is rule:  # its limit alone: a limit of its own name, so that rows that share it stay as they are
        rows = tuple(row if row is not rule else msgspec.structs.replace(rule, limit="mutated") for row in rows)
    old = LIMITS[rule.limit]
    limits = {**LIMITS, "mutated": msgspec.structs.replace(old, value=old.value * factor)}
    try:
        return line_of(EXPECTED[rule.id], rows, limits) == EXPECTED[rule.id]
    except (AssertionError, KeyError):
        return False


def test_at_least_95_of_100_mutants_of_the_rows_are_noticed() -> None:
    tried, survivors = 0, []
    for rule in RULES:
        for what, mutant, factor in mutants(rule):
            tried += 1
            if survives(rule, mutant, factor):
                survivors.append((rule.id, what))
    print(f"{tried} mutants, {len(survivors)} survived: {survivors}")
    assert tried >= 12 * len(RULES)
    assert set(survivors) == set(EQUIVALENT)
    assert len(survivors) <= 0.05 * tried


def test_a_rule_without_a_limit_a_limit_without_a_rule_and_an_id_used_twice_are_errors() -> None:
    check_rules(LIMITS)
    first = RULES[0]
    with pytest.raises(SettingsError, match="T1d: there is no limit 'guard_dose_cem43_min'"):
        check_rules({name: row for name, row in LIMITS.items() if name != "guard_dose_cem43_min"})
    with pytest.raises(SettingsError, match="more: no rule uses this limit"):
        check_rules({**LIMITS, "more": LIMITS[first.limit]})
    with pytest.raises(SettingsError, match="rule T1: is defined 2 times"):
        check_rules(LIMITS, (*RULES, first))


def test_what_only_gates_the_beam_is_never_stop_and_resumes() -> None:
    for rule in RULES:
        assert not rule.gate or (rule.auto_resume and rule.reaction is Reaction.HOLD and not rule.latch)
        assert not rule.auto_resume or rule.reaction is Reaction.HOLD
        assert rule.reaction is not Reaction.STOP or rule.latch
        assert Phase.TREATING in rule.phases or rule.reaction in (Reaction.BLOCK, Reaction.WARN)
