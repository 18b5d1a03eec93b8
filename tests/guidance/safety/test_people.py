"""Alarms, signals and consoles: who is told, who has seen it, who holds control."""

import math

import msgspec
import pytest
from safety_kit import LIMITS, World

from devices.messages import Priority
from guidance.errors import SettingsError
from guidance.load import config_file
from guidance.safety.alarms import REMINDS_NS, AlarmState
from guidance.safety.consoles import Consoles
from guidance.safety.facts import Fact, Facts, is_known
from guidance.safety.limits import load_limits
from guidance.safety.phases import Phase
from guidance.safety.rules import RULES
from guidance.safety.signals import Signals
from guidance.settings import Control
from guidance.units import ms

NOW = 1_000_000_000_000


def raised(world: World, fact: str, rule: str):
    world.set(fact, 1e6)
    world.tick()
    return world.judge.alarms[rule, "it"]


def test_acknowledging_silences_and_clears_nothing(world: World) -> None:
    alarm = raised(world, "pose_repeats", "K2")
    assert alarm.state is AlarmState.ACTIVE
    assert alarm.unseen
    assert alarm.acknowledge("anna", world.now_ns)
    assert not alarm.acknowledge("bob", world.now_ns)
    assert (alarm.state, alarm.acknowledged_by) == (AlarmState.ACKNOWLEDGED, "anna")
    assert not alarm.reset()
    world.tick()
    assert alarm.state is AlarmState.ACKNOWLEDGED


def test_a_latched_alarm_is_shown_until_seen_and_reset(world: World) -> None:
    alarm = raised(world, "hot_region_c", "T1")
    world.set("hot_region_c", 37.0)
    world.tick()
    assert alarm.state is AlarmState.LATCHED
    assert not alarm.reset()
    alarm.acknowledge("anna")
    assert alarm.reset()
    assert alarm.state is AlarmState.CLEARED
    assert not alarm.reset()


@pytest.mark.parametrize(
    ("fact", "rule", "first", "step"),
    [("kerma_mgy", "D1k", 3000.0, 1000.0), ("kap_gycm2", "D1a", 300.0, 100.0), ("fluoroscopy_min", "D1t", 30.0, 15.0)],
)
def test_dose_is_told_at_its_first_level_and_again_at_each_further_step(
    world: World, fact: str, rule: str, first: float, step: float
) -> None:
    alarm = None
    told: list[float] = []
    for share in (0.5, 1.0, 1.001, 1.5, 1.99, 2.0, 2.5, 2.999, 3.0, 5.2, 5.9, 6.0, math.inf, math.inf):
        value = first + (share - 1.0) * step
        world.set(fact, value)
        world.now_ns += ms(20)
        new = any(row.rule.id == rule for row in world.judge.judge(world.now_ns, world.phase))
        told += [share] * new
        alarm = world.judge.alarms[rule, "it"]
        assert alarm.unseen == new, "each level is seen anew"
        alarm.acknowledge("anna", world.now_ns)
    assert told == [1.001, 2.0, 3.0, 5.2, 6.0, math.inf]
    assert alarm is not None and alarm.state is AlarmState.ACKNOWLEDGED


def test_a_step_that_nobody_acknowledged_is_told_with_its_new_value(world: World) -> None:
    alarm = raised(world, "kerma_mgy", "D1k")
    world.set("kerma_mgy", 1e6 + 1500.0)
    world.now_ns += ms(20)
    assert alarm in world.judge.judge(world.now_ns, world.phase)
    assert alarm.text == "kerma 1001500 mGy"
    world.tick()
    assert alarm not in world.judge.judge(world.now_ns, world.phase)


def test_a_condition_that_comes_again_is_a_new_alarm(world: World) -> None:
    alarm = raised(world, "hot_region_c", "T1")
    first = alarm.first_ns
    alarm.acknowledge("anna")
    world.set("hot_region_c", 37.0)
    world.tick()
    world.set("hot_region_c", 60.0)
    world.tick()
    assert alarm.unseen
    assert alarm.first_ns > first


@pytest.mark.parametrize(("fact", "rule"), [("hot_region_c", "T1"), ("pose_repeats", "K2")])
def test_an_acknowledged_alarm_that_lasts_asks_again(world: World, fact: str, rule: str) -> None:
    alarm = raised(world, fact, rule)
    assert world.judge.remind(world.now_ns) == []
    alarm.acknowledge("anna", world.now_ns)
    assert not alarm.remind(world.now_ns + REMINDS_NS[alarm.priority] - 1)
    assert world.judge.remind(world.now_ns + REMINDS_NS[alarm.priority]) == [alarm]
    assert alarm.unseen


def test_a_low_alarm_never_asks_again(world: World) -> None:
    alarm = raised(world, "bad_messages", "N3")
    alarm.acknowledge("anna", world.now_ns)
    assert not alarm.remind(world.now_ns + ms(10_000_000))


def test_a_row_may_be_calmer_while_no_energy_can_flow(world: World) -> None:
    world.act("RESET")
    world.act("ARM")
    world.set("thermometry_valid_share", 0.1)
    world.tick()
    assert world.judge.alarms["T4", "it"].priority is Priority.MEDIUM


def test_shown_alarms_are_ordered_and_those_who_signed_off_are_not_missed(world: World) -> None:
    raised(world, "pose_repeats", "K2")
    raised(world, "clock_step_ms", "C1")
    raised(world, "stop_unconfirmed_ms", "N2")
    assert [alarm.rule.id for alarm in world.judge.shown()] == ["N2", "C1", "K2"]
    world.set("console_lease_ms", 1e6, "wall")
    world.tick()
    world.facts.forget("console_lease_ms", "wall")
    changed = world.judge.judge(world.now_ns, world.phase, ("console_lease_ms",))
    assert [alarm.id for alarm in changed] == ["O1l.wall"]
    assert world.judge.judge(world.now_ns, world.phase, ("console_lease_ms",)) == []
    assert world.judge.unit_of(RULES[0]) == "degC"


def test_a_subjects_own_limit_goes_before_the_table(world: World) -> None:
    world.facts.set("hot_region_c", "skin", Fact(44.0, world.now_ns, limit=43.0))
    world.tick()
    assert world.judge.alarms["T1", "skin"].present


def test_only_proven_finite_fresh_facts_are_known() -> None:
    assert not is_known(None, NOW, 0)
    assert not is_known(Fact(1.0, NOW, proven=False), NOW, 0)
    assert not is_known(Fact(float("nan"), NOW), NOW, 0)
    assert not is_known(Fact(1.0, NOW - ms(1001)), NOW, 1000)
    assert is_known(Fact(1.0, NOW - ms(1000)), NOW, 1000)
    assert is_known(Fact(1.0, 0), NOW, 0)
    facts = Facts()
    facts.set("a", "b", Fact(1.0, NOW))
    assert facts.get("a", "b") is not None
    assert facts.get("a", "c") is None
    facts.forget("x", "y")


def test_limits_are_read_whole_and_overridden_by_name(tmp_path) -> None:
    path = config_file("safety", "limits")
    assert load_limits(path, {"pose_age_ms": 50})["pose_age_ms"].value == 50.0
    with pytest.raises(SettingsError, match="there is no such limit"):
        load_limits(path, {"nothing": 1.0})
    bad = tmp_path / "limits.toml"
    bad.write_text('[a]\nvalue = "x"\nunit = "mm"\nsource = "s"\nrationale = "r"\n')
    with pytest.raises(SettingsError, match=r"a: Expected"):
        load_limits(bad)
    assert all(row.unit and row.source and row.rationale for row in LIMITS.values())


# --- signals ----------------------------------------------------------------------------------


def test_a_pause_is_short_and_a_new_high_alarm_breaks_it(world: World) -> None:
    signals = Signals(world.facts, 10_000)
    assert "up to 120 s" in signals.pause("anna", 121, world.now_ns)
    assert "up to 120 s" in signals.pause("anna", 0, world.now_ns)
    assert signals.pause("anna", 120, world.now_ns) == ""
    signals.heard([raised(world, "pose_repeats", "K2")])
    assert signals.is_paused(world.now_ns)
    high = raised(world, "hot_region_c", "T1")
    high.acknowledge("anna")
    signals.heard([high])
    assert signals.is_paused(world.now_ns)
    high.acknowledged_by = ""
    signals.heard([high])
    assert not signals.is_paused(world.now_ns)


def test_nobody_answers_and_the_next_console_is_called(world: World) -> None:
    signals = Signals(world.facts, 10_000)
    alarm = raised(world, "hot_region_c", "T1")
    medium = raised(world, "pose_repeats", "K2")
    consoles = ["a", "b"]
    signals.measure([alarm, medium], consoles, world.now_ns + ms(5_000))
    assert signals.calling == ""
    signals.measure([alarm, medium], consoles, alarm.first_ns + ms(10_000))
    assert signals.calling == "b"
    signals.measure([alarm, medium], consoles, alarm.first_ns + ms(20_000))
    assert signals.calling == "a"
    signals.measure([alarm], [], alarm.first_ns + ms(20_000))
    assert signals.calling == ""
    alarm.acknowledge("anna")
    signals.measure([alarm, medium], consoles, alarm.first_ns + ms(20_000))
    fact = world.facts.get("alarm_unseen_ms", "alarms")
    assert fact is not None
    assert fact.value == 0.0


# --- consoles ---------------------------------------------------------------------------------


def value(facts: Facts, name: str, subject: str) -> float:
    fact = facts.get(name, subject)
    assert fact is not None
    return fact.value


def test_control_is_free_lapsed_or_handed_over() -> None:
    consoles = Consoles(Facts(), Control())
    for name in ("a", "b"):
        consoles.meet(name, name).lease_ns = NOW
    assert consoles.take("a", NOW) == ""
    assert "'a' holds control" in consoles.take("b", NOW + ms(2000))
    assert consoles.take("a", NOW) == ""
    assert consoles.take("b", NOW + ms(2001)) == ""
    assert consoles.hand_over("a", "b") == "this console does not hold control"
    assert "there is no console 'c'" in consoles.hand_over("b", "c")
    assert consoles.hand_over("b", "a") == ""
    assert consoles.holder == "a"
    assert consoles.live(NOW) == ["a", "b"]
    assert consoles.hand_over("a", "") == ""
    assert consoles.holder == ""


def test_leases_and_beats_are_facts_until_the_console_signs_off() -> None:
    facts = Facts()
    consoles = Consoles(facts, Control())
    row = consoles.meet("a", "anna")
    consoles.measure(NOW)
    assert facts.get("console_lease_ms", "a") is None
    row.lease_ns = row.beat_ns = NOW
    consoles.measure(NOW + ms(500))
    assert value(facts, "console_lease_ms", "a") == 500.0
    assert value(facts, "console_beat_ms", "a") == 0.0  # it holds no control
    consoles.take("a", NOW)
    consoles.measure(NOW + ms(500))
    assert value(facts, "console_beat_ms", "a") == 500.0
    consoles.meet("b", "bob").lease_ns = NOW + ms(3000)
    consoles.forget_lapsed(NOW + ms(3000))
    assert list(consoles.known) == ["b"]
    assert consoles.holder == ""
    assert not facts.subjects("console_lease_ms")
    consoles.leave("nobody")


def test_a_room_may_ask_for_consoles_that_show_alarms() -> None:
    facts = Facts()
    consoles = Consoles(facts, Control(consoles=2))
    assert "annunciating_consoles" and facts.subjects("annunciating_consoles") == {"room": None}
    consoles.meet("a", "anna").lease_ns = NOW
    consoles.measure(NOW)
    fact = facts.get("annunciating_consoles", "room")
    assert fact is not None
    assert (fact.value, fact.limit) == (1.0, 1.5)


@pytest.mark.parametrize(("held", "limit"), [("pedal", 250.0), ("browser", 1000.0)])
def test_energy_needs_a_control_that_is_held(held, limit) -> None:
    facts = Facts()
    consoles = Consoles(facts, Control(held=held))
    consoles.measure(NOW)
    assert value(facts, "held_control_ms", "control") > limit
    consoles.take("a", NOW)
    consoles.meet("a", "anna").held_ns = NOW
    consoles.measure(NOW + ms(200))
    fact = facts.get("held_control_ms", "control")
    assert fact is not None
    assert (fact.value, fact.limit) == (200.0, limit)
    consoles.known["a"].held_ns = 0
    consoles.measure(NOW + ms(200))
    assert value(facts, "held_control_ms", "control") > limit


def test_rows_cannot_be_changed_by_anybody() -> None:
    with pytest.raises((AttributeError, TypeError)):
        RULES[0].latch = False  # type: ignore[misc]
    assert msgspec.structs.replace(RULES[0], latch=False) is not RULES[0]
    assert Phase.TREATING in RULES[0].phases
