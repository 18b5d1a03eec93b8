"""From what happened to facts, and never a fact from nothing."""

import numpy as np
import pytest

from guidance.load import config_file
from guidance.navigation.fixtures import Fixture
from guidance.plan import load_plan
from guidance.plan.model import Trajectory
from guidance.safety import evidence
from guidance.safety.evidence.links import TickGap
from guidance.safety.facts import Facts
from guidance.settings import GoldenPoint, Guard, Patient, Stream
from guidance.timing.streams import StreamState
from guidance.units import ms

NOW = 1_000_000_000_000
OK = {
    "state": "ok",
    "valid_share": 0.9,
    "rib.known": True,
    "rib.region_c": 40.0,
    "rib.voxel_c": 41.0,
    "rib.mean_c": 38.0,
    "rib.max_c": 40.5,
    "rib.dose_upper_cem43_min": 2.0,
}


@pytest.fixture
def facts() -> Facts:
    return Facts()


@pytest.fixture
def plan():
    return load_plan(config_file("procedures", "hifu_liver").parent.parent / "plans/hifu_liver/plan.toml")


def memory(**role: str) -> evidence.GuardMemory:
    return evidence.GuardMemory({"rib": 45.0}, {"rib": 17.0}, role, 37.0)


def value(facts: Facts, name: str, subject: str) -> float:
    fact = facts.get(name, subject)
    assert fact is not None
    assert fact.proven, name
    return fact.value


def unproven(facts: Facts, name: str, subject: str) -> bool:
    fact = facts.get(name, subject)
    return fact is not None and not fact.proven


def state(kind: str = "thermometry", period_ms: float = 200.0, **more) -> StreamState:
    return StreamState(Stream(name="s", link="l", kind=kind, period_ms=period_ms, **more))


def test_a_frame_gives_every_fact_of_its_guards(facts: Facts) -> None:
    guards = memory()
    guards.declare(facts, "MR")
    assert facts.subjects("hot_region_c") == {"rib": None}
    guards.measure(facts, OK, "MR", NOW)
    got = {name: value(facts, name, "rib") for name in evidence.FRAME_FACTS if facts.get(name, "rib")}
    assert got == {
        "hot_region_c": 40.0,
        "hot_voxel_twice_c": -273.15,
        "hot_voxel_excess_c": -4.0,
        "guard_dose_cem43_min": 2.0,
        "guard_unseen_frames": 0.0,
        "heat_rate_c_per_s": 0.0,
        "residual_heat_c": 1.0,
    }
    fact = facts.get("guard_dose_cem43_min", "rib")
    assert fact is not None
    assert fact.limit == 17.0
    guards.measure(facts, {**OK, "rib.voxel_c": 50.0, "rib.mean_c": 40.0}, "MR", NOW + ms(200))
    assert value(facts, "hot_voxel_twice_c", "rib") == 41.0  # the lower of the two frames
    assert value(facts, "heat_rate_c_per_s", "rib") == pytest.approx(10.0)


def test_answers_in_a_heap_are_no_jump_of_temperature(facts: Facts) -> None:
    guards = evidence.GuardMemory({"rib": 45.0}, {"rib": 17.0}, {}, 37.0, period_ns=ms(200))
    guards.measure(facts, OK, "MR", NOW)
    guards.measure(facts, {**OK, "rib.mean_c": 38.5}, "MR", NOW + ms(5))
    assert value(facts, "heat_rate_c_per_s", "rib") == pytest.approx(2.5)
    guards.measure(facts, {**OK, "rib.mean_c": 37.5}, "MR", NOW + ms(405))
    assert value(facts, "heat_rate_c_per_s", "rib") == pytest.approx(2.5)


@pytest.mark.parametrize(
    ("role", "fact", "expected"),
    [
        ("unheated", "reference_drift_c", 1.0),
        ("near_field", "near_field_dose_cem43_min", 2.0),
        ("target", "boiling_c", 40.5),
    ],
)
def test_a_guards_role_adds_a_fact(facts: Facts, role, fact, expected) -> None:
    guards = memory(rib=role)
    guards.declare(facts, "MR")
    assert facts.subjects(fact) == {"rib": None}
    guards.measure(facts, OK, "MR", NOW)
    assert value(facts, fact, "rib") == expected


@pytest.mark.parametrize("changes", [{"state": "few_valid_voxels"}, {"rib.known": False}])
def test_a_frame_without_temperature_proves_nothing(facts: Facts, changes) -> None:
    guards = memory()
    guards.measure(facts, OK, "MR", NOW)
    guards.measure(facts, OK | changes, "MR", NOW + 1)
    guards.measure(facts, OK | changes, "MR", NOW + 2)
    assert unproven(facts, "hot_region_c", "rib")
    assert value(facts, "guard_unseen_frames", "rib") == 2.0
    assert value(facts, "guard_unseen_frames", "MR") == (2.0 if "state" in changes else 0.0)
    guards.measure(facts, OK, "MR", NOW + 3)
    assert value(facts, "guard_unseen_frames", "rib") == 0.0


def test_a_frame_that_never_came_is_a_frame_without_temperature(facts: Facts) -> None:
    guards = evidence.GuardMemory({"rib": 45.0}, {"rib": 17.0}, {}, 37.0, period_ns=ms(200))
    guards.measure(facts, OK, "MR", NOW)
    guards.failed(facts, "MR", NOW + ms(1000))
    assert value(facts, "guard_unseen_frames", "rib") == value(facts, "guard_unseen_frames", "MR") == 5.0
    guards.measure(facts, OK, "MR", NOW + ms(1200))
    assert value(facts, "guard_unseen_frames", "rib") == 0.0


def test_a_placed_region_is_limited_in_temperature_alone_until_it_is_removed(facts: Facts) -> None:
    guards = memory()
    guards.add("spot", 43.0)
    guards.measure(facts, OK | {key.replace("rib", "spot"): seen for key, seen in OK.items()}, "MR", NOW)
    fact = facts.get("hot_region_c", "spot")
    assert fact is not None and (fact.value, fact.limit) == (40.0, 43.0)
    assert value(facts, "hot_voxel_excess_c", "spot") == -2.0
    assert "spot" not in facts.subjects("guard_dose_cem43_min") | facts.subjects("residual_heat_c")
    for _ in range(2):  # one that is gone can be removed again
        guards.remove(facts, "spot")
    guards.measure(facts, OK, "MR", NOW + ms(200))
    assert not any("spot" in facts.subjects(name) for name in evidence.FRAME_FACTS)
    assert value(facts, "hot_region_c", "rib") == 40.0


def test_the_bound_of_the_dose_is_a_fact_also_while_nothing_is_seen(facts: Facts) -> None:
    guards = memory(rib="near_field")
    guards.measure(facts, {"state": "no_signal", "rib.known": False, "rib.dose_upper_cem43_min": 20.0}, "MR", NOW)
    assert value(facts, "guard_dose_cem43_min", "rib") == 20.0
    assert value(facts, "near_field_dose_cem43_min", "rib") == 20.0
    assert unproven(facts, "hot_region_c", "rib")


def test_energy_counts_while_it_is_permitted_and_until_the_device_has_settled() -> None:
    energy = evidence.EnergyTime()
    for at_ms, permitted in ((0, False), (100, False), (200, True), (900, True), (1000, False), (1100, False)):
        energy.measure(permitted, NOW + ms(at_ms))
    assert energy.passed_ns == ms(1000)  # from the look before it began
    energy.measure(False, NOW + ms(5000))
    assert energy.passed_ns == ms(1200)  # 300 ms after the look that saw it end


def test_a_frame_that_could_not_be_computed_is_not_seen(facts: Facts) -> None:
    guards = memory()
    guards.failed(facts, "MR", NOW)
    assert value(facts, "guard_unseen_frames", "MR") == value(facts, "guard_unseen_frames", "rib") == 1.0
    assert unproven(facts, "hot_region_c", "rib")


@pytest.mark.parametrize(
    ("said", "fact"),
    [
        ("echo_time_changed", "thermometry_mismatch"),
        ("missing_slice", "signal_void"),
        ("repeated_frame", "frames_repeated"),
    ],
)
def test_what_a_frame_says_of_itself(facts: Facts, said: str, fact: str) -> None:
    guards = memory()
    guards.measure(facts, {**OK, "state": said}, "MR", NOW)
    assert value(facts, fact, "MR") == 1.0
    guards.measure(facts, OK, "MR", NOW)
    assert value(facts, fact, "MR") == 0.0


def test_ages_are_in_frames_and_never_seen_is_unknown(facts: Facts) -> None:
    stream = state()
    evidence.image_age(facts, stream, NOW)
    evidence.answer_age(facts, stream, 0, NOW)
    assert unproven(facts, "thermometry_age_periods", "s")
    assert unproven(facts, "thermometry_answer_periods", "s")
    stream.arrived(NOW, NOW, 5)
    stream.arrived(NOW, NOW, 5)
    evidence.image_age(facts, stream, NOW + ms(300))
    evidence.answer_age(facts, stream, NOW, NOW + ms(400))
    evidence.frames_rising(facts, stream, NOW)
    assert value(facts, "thermometry_age_periods", "s") == 1.5
    assert value(facts, "thermometry_answer_periods", "s") == 2.0
    assert value(facts, "frames_not_rising", "s") == 1.0


def test_poses_repeat_only_where_they_are_sent_as_valid(facts: Facts) -> None:
    stream = state("pose", 10.0)
    evidence.pose_facts(facts, stream, NOW, 0, 0, 0)
    assert unproven(facts, "pose_age_ms", "s")
    stream.arrived(NOW, NOW, 1)
    evidence.pose_facts(facts, stream, NOW + ms(50), 12, 0, 3)
    assert value(facts, "pose_age_ms", "s") == 50.0
    assert value(facts, "pose_repeats", "s") == 12.0
    assert value(facts, "impossible_poses_per_s", "s") == 3.0
    evidence.pose_facts(facts, stream, NOW + ms(50), 12, NOW, 3)
    assert value(facts, "pose_repeats", "s") == 0.0
    assert value(facts, "pose_invalid_ms", "s") == 50.0
    fixed = state("pose", 10.0, free_tool=False)
    fixed.arrived(NOW, NOW, 1)
    evidence.pose_facts(facts, fixed, NOW, 40, 0, 0)
    assert value(facts, "pose_repeats", "s") == 0.0
    evidence.robot_age(facts, stream, NOW - ms(30), NOW + ms(70))
    assert value(facts, "robot_pose_age_ms", "s") == 100.0
    evidence.robot_age(facts, stream, 0, NOW)
    assert not facts.get("robot_pose_age_ms", "s").proven


def test_a_reference_that_was_pushed_is_seen(facts: Facts) -> None:
    pair = evidence.ReferencePair("ref")
    second = np.eye(4)
    second[0, 3] = 100.0
    pair.measure(facts, np.eye(4), second, NOW)
    assert value(facts, "reference_shift_mm", "ref") == 0.0
    second[1, 3] = 2.0
    pair.measure(facts, np.eye(4), second, NOW)
    assert value(facts, "reference_shift_mm", "ref") == pytest.approx(2.0)


def test_the_corridor_is_foretold_from_the_speed(facts: Facts) -> None:
    way = Trajectory("way", np.array([0.0, 0, 100]), np.zeros(3), None, 3.0, 10.0)
    corridor = evidence.Corridor("Robot", Fixture(1.0, 3.0), way)
    corridor.measure(facts, np.array([1.0, 0, 50]), NOW, NOW)
    assert value(facts, "corridor_lateral_mm", "Robot") == pytest.approx(1.0)
    assert value(facts, "corridor_foretold_mm", "Robot") == pytest.approx(1.0)
    corridor.measure(facts, np.array([1.1, 0, 50]), NOW + ms(4), NOW)  # too soon for a speed
    assert value(facts, "corridor_foretold_mm", "Robot") == pytest.approx(1.1)
    corridor.measure(facts, np.array([2.0, 0, 50]), NOW + ms(100), NOW)
    assert value(facts, "corridor_foretold_mm", "Robot") == pytest.approx(3.0)
    assert value(facts, "corridor_past_mm", "Robot") == pytest.approx(-50.0)


def test_links_and_stops(facts: Facts) -> None:
    evidence.link_facts(facts, {"up": 0, "down": NOW - ms(100), "never": -1}, NOW)
    assert value(facts, "link_down_ms", "up") == 0.0
    assert value(facts, "link_down_ms", "down") == 100.0
    assert unproven(facts, "link_down_ms", "never")
    evidence.stop_facts(facts, {"Therapy": 30.0}, NOW)
    assert value(facts, "stop_unconfirmed_ms", "Therapy") == 30.0
    slow = state("reading", 500.0)
    slow.arrived(NOW, NOW, 1)
    evidence.device_silence(facts, [slow], NOW + ms(400))
    fact = facts.get("device_silent_ms", "s")
    assert fact is not None
    assert (fact.value, fact.limit) == (400.0, 1500.0)


def test_refused_and_shed_messages_are_told_apart_and_forgotten_after_ten_seconds(facts: Facts) -> None:
    watch = evidence.MessageWatch()
    watch.take("a", 2, "rejected: wrong CRC", NOW)
    watch.take("a", 7, "the queue was full", NOW)
    watch.take("a", 1, "Rejected: size", NOW + ms(9000))
    watch.measure(facts, NOW + ms(9000))
    assert value(facts, "bad_messages", "a") == 3.0
    assert value(facts, "shed_messages", "a") == 7.0
    watch.measure(facts, NOW + ms(10_001))
    assert value(facts, "bad_messages", "a") == 1.0


def test_a_standstill_is_remembered_for_a_second(facts: Facts) -> None:
    gap = TickGap()
    for at in (0, 20, 320, 340, 1300):
        gap.measure(facts, NOW + ms(at))
        if at == 340:
            assert value(facts, "tick_gap_ms", "service") == 300.0
    assert value(facts, "tick_gap_ms", "service") == 960.0
    for at in range(1320, 2420, 20):
        gap.measure(facts, NOW + ms(at))
    assert value(facts, "tick_gap_ms", "service") == 20.0


def test_a_clock_step_is_remembered_and_a_tick_without_a_wall_clock_teaches_nothing(facts: Facts) -> None:
    watch = evidence.ClockWatch()
    watch.measure(facts, 0, NOW)
    assert not facts.subjects("clock_step_ms")
    watch.measure(facts, NOW, NOW)
    watch.measure(facts, NOW + ms(70), NOW + ms(20))
    watch.measure(facts, 0, NOW + ms(40))
    watch.measure(facts, NOW + ms(110), NOW + ms(60))
    assert value(facts, "clock_step_ms", "clock") == 50.0
    watch.measure(facts, NOW + ms(10_150), NOW + ms(10_100))
    assert value(facts, "clock_step_ms", "clock") == 0.0


def test_what_devices_report(facts: Facts) -> None:
    evidence.reading_facts(facts, "Therapy", {"coolant_ok": 0.0, "power_w": 5.0}, NOW)
    assert value(facts, "coolant_ok", "Therapy") == 0.0
    assert not facts.subjects("power_w")
    for code, told in ((1, 0.0), (13, 0.0), (18, 18.0)):
        evidence.device_fault(facts, "Therapy", code, NOW)
        assert value(facts, "device_fault", "Therapy") == told
    for off_since, told in ((0, 0.0), (NOW - ms(300), 0.0), (NOW - ms(301), 9.0)):
        evidence.forbidden_power(facts, "Therapy", 9.0, off_since, NOW)
        assert value(facts, "forbidden_power_w", "Therapy") == told
    xray = state("reading", 1000.0)
    xray.arrived(NOW, NOW, 1)
    evidence.dose_age(facts, xray, NOW + ms(1500))
    assert value(facts, "xray_dose_age_ms", "s") == 1500.0


def test_the_plan_must_be_this_patients(facts: Facts, plan) -> None:
    evidence.plan_facts(facts, plan, None, NOW)
    assert value(facts, "plan_conflicts", plan.name) == 0.0
    evidence.plan_facts(facts, plan, Patient(patient_id="another", laterality="left"), NOW)
    assert value(facts, "plan_conflicts", plan.name) == 2.0
    evidence.tag_conflicts(facts, "MR", {"EchoTime": "1"}, plan, NOW)
    assert not facts.subjects("image_conflicts")
    evidence.tag_conflicts(facts, "MR", {"PatientID": "another"}, plan, NOW)
    assert value(facts, "image_conflicts", "MR") == 1.0
    guards = [Guard(structure="rib-upper"), Guard(structure="intercostal-muscle")]
    evidence.guard_facts(facts, plan, guards, NOW)
    assert value(facts, "guard_not_measurable", "rib-upper") == 1.0
    assert value(facts, "guard_not_measurable", "intercostal-muscle") == 0.0


def test_golden_points_meet_or_tell_how_far_they_are(facts: Facts) -> None:
    row = GoldenPoint(name="fiducial", frame="Tracker", at_mm=(10.0, 20.0, 30.0), ras_mm=(-10.0, -20.0, 30.0))
    evidence.golden_point(facts, row, None, NOW)
    assert facts.subjects("golden_point_mm") == {"fiducial": None}
    evidence.golden_point(facts, row, np.diag([-1.0, -1.0, 1.0, 1.0]), NOW)
    assert value(facts, "golden_point_mm", "fiducial") == 0.0
    evidence.golden_point(facts, row, np.eye(4), NOW)
    assert value(facts, "golden_point_mm", "fiducial") == pytest.approx(2 * np.hypot(10, 20))
