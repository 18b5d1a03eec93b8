"""Coverage, needle groups, fixtures, cores and watches on what is known exactly."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from guidance.navigation import (
    CoreLog,
    Fixture,
    PairWatch,
    SpacingLimits,
    Verdict,
    compare_needles,
    group_faults,
    judge_fixture,
    needle_bend_mm,
    verify_coverage,
)
from guidance.navigation.zones import Union
from guidance.plan import Plan, SignedDistance, Sphere, Structure, Target, Trajectory

GOAL = np.array([50.0, 10.0, 0.0])
WAY = Trajectory("way", GOAL + np.array([0.0, 80.0, 0.0]), GOAL, None, 4.0, 5.0)
PLAN = Plan(
    "p", "P1", "1.2", "right", (Target("lesion", GOAL, "lesion", 5.0, {}),), (WAY,),
    (Structure("lesion", "target", Sphere(GOAL, 8.0)), Structure("vessel", "vessel", Sphere(GOAL + 30, 5.0))),
)  # fmt: skip


@pytest.mark.parametrize(("radius", "offset", "margin"), [(15, 0, 7), (15, 4, 3), (10, 5, -3)])
def test_minimal_margin_of_two_balls(radius: float, offset: float, margin: float) -> None:
    target = Sphere(GOAL, 8.0)
    treated = Sphere(GOAL + np.array([offset, 0, 0]), radius)
    found = verify_coverage(target, treated, 0.5)
    assert found.minimal_mm == pytest.approx(margin, abs=0.1)
    assert found.pessimistic_mm == pytest.approx(margin - 1.0, abs=0.1)
    assert found.complete() == (margin - 1 >= 5)
    if offset:
        assert found.weakest_mm == pytest.approx(GOAL - [8.0, 0, 0], abs=2.0)


@pytest.mark.parametrize("samples", [24, 32])
def test_the_margin_in_overlapping_zones_is_the_way_out_of_all_of_them(samples: int) -> None:
    """Two balls of 10 mm, 12 mm apart: from their middle the nearest untreated point is on their seam, 8 mm away."""
    zones = Union([Sphere(GOAL - [6.0, 0, 0], 10.0), Sphere(GOAL - [-6.0, 0, 0], 10.0)])
    found = verify_coverage(Sphere(GOAL, 2.0), zones, 0.0, samples=samples)
    assert 5.9 <= found.minimal_mm <= 6.0
    assert abs(found.weakest_mm[0] - GOAL[0]) < 0.2


def test_coverage_counts_volumes() -> None:
    target = Sphere(GOAL, 10.0)
    found = verify_coverage(target, Sphere(GOAL, 10.0), 0.0, (0.0, 5.0))
    assert found.by_margin[0.0] == pytest.approx(1.0, abs=1e-3)
    assert found.by_margin[5.0] == pytest.approx((10 / 15) ** 3, rel=0.02)
    assert found.untreated_ml == pytest.approx(0.0, abs=0.01)
    small = verify_coverage(target, Sphere(GOAL, 8.0), 0.0)
    assert small.untreated_ml == pytest.approx(4 / 3 * np.pi * (10**3 - 8**3) / 1000, rel=0.02)
    large = verify_coverage(target, Sphere(GOAL, 20.0), 0.0, (0.0, 5.0))
    assert large.excess_ml == 0.0 or large.excess_ml <= 4 / 3 * np.pi * (20**3 - 15**3) / 1000 * 1.05


def test_margin_of_a_treated_label_map() -> None:
    k, j, i = np.indices((60, 60, 60))
    treated = SignedDistance((i - 30) ** 2 + (j - 30) ** 2 + (k - 30) ** 2 < 16**2, np.eye(4))
    found = verify_coverage(Sphere(np.array([30.0, 30, 30]), 9.0), treated, 1.0)
    assert found.minimal_mm == pytest.approx(7, abs=0.7)


UP = np.array([0.0, 1, 0])


def test_needle_pairs() -> None:
    tilted = Rotation.from_euler("x", 12, degrees=True).apply(UP)
    pair = compare_needles({"a": (GOAL, UP), "b": (GOAL + np.array([17.0, 3.0, 0]), UP)})[0]
    assert (pair.spacing_mm, pair.angle_deg, pair.depth_mm) == pytest.approx((17, 0, 3), abs=1e-6)
    limits = SpacingLimits()
    assert pair.faults(limits) == []
    wrong = compare_needles({"a": (GOAL, UP), "b": (GOAL + np.array([12.0, 8.0, 0]), -tilted)})[0]
    assert wrong.angle_deg == pytest.approx(12)
    assert len(wrong.faults(limits)) == 3
    with pytest.raises(ValueError, match="without a direction"):
        compare_needles({"a": (GOAL, UP * 0), "b": (GOAL, UP)})


def test_a_square_of_needles_is_right_though_its_diagonal_is_long() -> None:
    square = {f"n{n}": (GOAL + np.array([18.0 * (n % 2), 0, 18.0 * (n // 2)]), UP) for n in range(4)}
    assert group_faults(square, SpacingLimits()) == []
    square["n3"] = (GOAL + np.array([18.0, 0, 24.0]), UP)
    assert group_faults(square, SpacingLimits())


@pytest.mark.parametrize(
    ("aside", "axial", "sideways", "forward", "verdict"),
    [
        (0.5, -30, 0, 5, Verdict.FREE),
        (2.0, -30, 0, 5, Verdict.SLOW),
        (2.0, -30, -30, 5, Verdict.SLOW),
        (2.0, -30, 15, 5, Verdict.HOLD),
        (3.5, -30, 0, 0, Verdict.STOP),
        (0.0, 0.5, 0, 0, Verdict.FREE),
        (0.0, 0.5, 0, 10, Verdict.HOLD),
        (0.0, 1.5, 0, 0, Verdict.STOP),
    ],
)
def test_a_fixture_narrows_with_speed(aside, axial, sideways, forward, verdict) -> None:
    tip = GOAL - UP * axial + [aside, 0, 0]
    velocity = -UP * forward + np.array([sideways, 0.0, 0.0])
    state = judge_fixture(Fixture(), WAY, tip, velocity)
    assert state.verdict is verdict
    assert state.lateral_mm == pytest.approx(aside)
    assert state.to_go_mm == pytest.approx(-axial)
    assert state.correction_mm == pytest.approx([-aside, 0, 0])
    assert (state.speed_share == 0) == (verdict in (Verdict.HOLD, Verdict.STOP))
    assert bool(state.reason) == (verdict is not Verdict.FREE)


def test_cores_are_judged_with_their_uncertainty() -> None:
    log = CoreLog(replace(PLAN, structures=(*PLAN.structures, Structure("second", "target", Sphere(GOAL + 40, 4.0)))))
    assert log.sampled() == {"lesion": "missed", "second": "missed"}
    near = log.record(1, "Gun", GOAL + np.array([8.5, 20.0, 0.0]), UP, 0.5, (0.0, 22.0))
    assert near.hits["lesion"] == "possible" and near.depth_mm["lesion"] == pytest.approx(-0.5, abs=0.05)
    assert np.linalg.norm(near.end_mm - near.start_mm) == pytest.approx(22)
    log.record(2, "Gun", GOAL + np.array([2.0, 20.0, 0.0]), UP, 0.5, (0.0, 22.0))
    assert log.sampled() == {"lesion": "certain", "second": "missed"}
    assert [core.number for core in log.cores] == [1, 2]


def test_a_moved_reference_is_noticed_but_not_a_moved_table() -> None:
    first, second = np.eye(4), np.eye(4)
    second[:3, 3] = 80, 10, 0
    table = np.eye(4)
    table[:3, :3] = Rotation.from_euler("z", 20, degrees=True).as_matrix()
    table[:3, 3] = 100, 50, 0
    watch = PairWatch()
    assert watch.check(first, second).fault() == ""
    assert watch.check(table @ first, table @ second).fault() == ""
    pushed = second.copy()
    pushed[0, 3] += 1.5
    assert "moved by 1.5 mm" in watch.check(table @ first, table @ pushed).fault()


def test_a_bent_needle_is_noticed() -> None:
    hub = np.eye(4)
    hub[:3, :3] = Rotation.from_euler("xyz", [20, 30, 40], degrees=True).as_matrix()
    hub[:3, 3] = 5, 6, 7
    straight = np.array([0.0, 0, 150])
    seen = hub[:3, :3] @ (straight + np.array([3.0, 4.0, 10.0])) + hub[:3, 3]
    assert needle_bend_mm(hub, straight, seen) == pytest.approx(5.0)


def test_the_bench_says_what_it_measured() -> None:
    from guidance.bench.navigation import rows

    found = rows(quick=True)
    assert {"targeting of a pose", "outlines of an overlay"} <= {row["name"] for row in found}
    assert all(row["ours_ms"] > 0 for row in found)
