"""Tip, depth, lateral and angular error, and distances to structures along the tool."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from guidance.errors import PlanError
from guidance.navigation import Targeting
from guidance.plan import Capsule, Plan, Sphere, Structure, Target, Trajectory
from guidance.settings import Tool

NEEDLE = Tool(name="Needle", stream="Needle", tip_mm=(0, 0, 100), axis=(0, 0, -1), length_mm=100, tip_sigma_mm=0.3)
GOAL = np.array([50.0, 10.0, 0.0])
WAY = Trajectory("way", np.array([50.0, 90.0, 0.0]), GOAL, "lesion", 4.0, 5.0, "Needle")
PLAN = Plan(
    "p",
    "P1",
    "1.2",
    "right",
    (Target("lesion", GOAL, None, 5.0, {}),),
    (WAY,),
    (
        Structure("vessel", "vessel", Sphere(np.array([60.0, 30.0, 0.0]), 3.0)),
        Structure("ahead", "organ_at_risk", Sphere(np.array([50.0, 20.0, 0.0]), 1.0)),
        Structure("lesion", "target", Sphere(GOAL, 8.0)),
        Structure("liver", "organ", Sphere(GOAL, 60.0)),
    ),
)


def pose(tip: np.ndarray, axis: np.ndarray) -> np.ndarray:
    """ras_from_tool that puts the needle's tip at `tip` with its shaft along `axis` (towards the hand)."""
    z = -axis / np.linalg.norm(axis)
    x = np.cross(z, [0.3, 0.2, 0.9])
    x /= np.linalg.norm(x)
    matrix = np.eye(4)
    matrix[:3, :3] = np.column_stack([x, np.cross(z, x), z])
    matrix[:3, 3] = tip - 100 * z
    return matrix


def test_a_needle_on_its_way() -> None:
    values = Targeting(PLAN, [NEEDLE]).measure("Needle", pose(np.array([50.0, 50.0, 0.0]), np.array([0.0, 1, 0])))
    assert values["axial_mm"] == pytest.approx(-40)
    assert values["depth_to_go_mm"] == pytest.approx(40)
    assert values["lateral_mm"] == pytest.approx(0, abs=1e-9)
    assert values["angle_deg"] == pytest.approx(0, abs=1e-5)
    assert values["target_distance_mm"] == pytest.approx(40)
    assert values["in_corridor"] == 1
    assert values["lesion.tip_mm"] == pytest.approx(32)
    assert (values["tip_r_mm"], values["tip_a_mm"], values["tip_s_mm"]) == pytest.approx((50, 50, 0))
    assert "liver.distance_mm" not in values


def test_lateral_and_angle() -> None:
    axis = np.array([0.0, np.cos(np.radians(7)), np.sin(np.radians(7))])
    values = Targeting(PLAN, [NEEDLE]).measure("Needle", pose(np.array([53.0, 20.0, 4.0]), axis))
    assert values["lateral_mm"] == pytest.approx(5)
    assert (values["lateral_r_mm"], values["lateral_a_mm"], values["lateral_s_mm"]) == pytest.approx((3, 0, 4))
    assert values["angle_deg"] == pytest.approx(7)
    assert values["in_corridor"] == 0


@pytest.mark.parametrize("seed", range(10))
def test_distances_along_the_whole_tool_and_its_path(seed: int) -> None:
    rng = np.random.default_rng(seed)
    tip, axis = rng.normal(scale=20, size=3) + GOAL, rng.normal(size=3)
    axis /= np.linalg.norm(axis)
    vessel = Capsule(rng.normal(scale=40, size=3), rng.normal(scale=40, size=3), 3.0)
    plan = replace(PLAN, structures=(Structure("vessel", "vessel", vessel),))
    values = Targeting(plan, [NEEDLE]).measure("Needle", pose(tip, axis))
    tool = tip + np.linspace(0, 100, 5001)[:, None] * axis
    ahead = max(10.0, min(150.0, values["depth_to_go_mm"]))
    path = tip - np.linspace(0, ahead, 5001)[:, None] * axis
    distance = plan.structures[0].signed_distance_mm
    assert values["vessel.distance_mm"] == pytest.approx(distance(tool).min(), abs=0.1)
    expected = min(distance(tool).min(), distance(path).min()) - 2 * 0.3
    assert values["vessel.margin_mm"] == pytest.approx(expected, abs=0.2)


def test_the_path_ahead_is_seen_before_the_tool_is_there() -> None:
    values = Targeting(PLAN, [NEEDLE]).measure("Needle", pose(np.array([50.0, 50.0, 0.0]), np.array([0.0, 1, 0])))
    assert values["ahead.distance_mm"] == pytest.approx(29)
    assert values["ahead.margin_mm"] < -1, "the straight way goes through it"


def test_sigma_adds_up_and_narrows_the_corridor() -> None:
    targeting = Targeting(PLAN, [NEEDLE], sigma_mm=0.4)
    at = pose(np.array([52.5, 50.0, 0.0]), np.array([0.0, 1, 0]))
    values = targeting.measure("Needle", at)
    assert values["sigma_mm"] == pytest.approx(0.5)
    assert values["in_corridor"] == 1
    moved = targeting.measure("Needle", at, motion_sigma_mm=1.2)
    assert moved["sigma_mm"] == pytest.approx(1.3)
    assert moved["in_corridor"] == 0
    assert moved["vessel.margin_mm"] == pytest.approx(values["vessel.margin_mm"] - 1.6)


def test_another_trajectory_can_be_chosen() -> None:
    other = Trajectory("other", np.array([90.0, 10.0, 0.0]), GOAL, "lesion", 4.0, 5.0)
    targeting = Targeting(replace(PLAN, trajectories=(WAY, other)), [NEEDLE])
    assert targeting.trajectory("Needle") == "way"
    targeting.select("Needle", "other")
    assert targeting.measure("Needle", pose(GOAL, np.array([1.0, 0, 0])))["angle_deg"] == pytest.approx(0, abs=1e-5)
    with pytest.raises(PlanError, match="no trajectory 'third'"):
        targeting.select("Needle", "third")


def test_without_a_plan_only_the_tip_is_told() -> None:
    values = Targeting(None, [NEEDLE]).measure("Needle", pose(GOAL, np.array([1.0, 0, 0])))
    assert set(values) == {"tip_r_mm", "tip_a_mm", "tip_s_mm", "sigma_mm", "bound_mm"}


def test_the_plan_of_the_liver_gives_every_number() -> None:
    from guidance.plan import load_plan

    plan = load_plan(Path(__file__).resolve().parents[3] / "config" / "plans" / "hifu_liver" / "plan.toml")
    way = plan.trajectory("needle")
    values = Targeting(plan, [NEEDLE]).measure("Needle", pose(way.entry_mm, -way.direction))
    assert values["depth_to_go_mm"] == pytest.approx(way.length_mm)
    at_risk = [s.name for s in plan.structures if s.role in ("organ_at_risk", "vessel")]
    assert all(values[f"{name}.margin_mm"] > 2.0 for name in at_risk)
