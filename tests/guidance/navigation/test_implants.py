"""Seeds and their dose: the formalism against its own check values, the numbers against shapes that are known."""

import numpy as np
import pytest

from guidance.navigation.implants import IsoDose, implant_of, inside_points, organ_numbers, target_numbers
from guidance.plan import Seeds, Sphere
from guidance.plan.shapes import signed_distance_mm
from guidance.tissue.seeds import SEED_MODELS, Implant
from sim.implant import ImplantRow, NeedleRow, implant_score, seed_gy

LIFE_H = 59.4 * 24 / np.log(2)


def test_dose_rates_of_the_report() -> None:
    """cGy/h/U of model 6711 by the one-dimensional formalism, worked out by hand from the tables of TG-43U1."""
    distances = np.array([5.0, 10.0, 15.0, 20.0, 30.0])
    rates = SEED_MODELS["6711"].dose_gy(distances) / LIFE_H * 100
    assert rates == pytest.approx([3.937, 0.911, 0.3686, 0.1858, 0.0643], rel=1e-3)
    assert seed_gy(distances) / LIFE_H * 100 == pytest.approx(rates, rel=2e-3), "the simulator's own sum"


def test_doses_of_seeds_add_up() -> None:
    one = Implant("6711", np.zeros((1, 3)), np.array([0.5]))
    two = Implant("6711", np.array([[0.0, 0, 0], [0.0, 20, 0]]), np.array([0.5, 1.0]))
    at = np.array([[10.0, 0, 0], [0.0, 10, 0]])
    assert one.at(at) == pytest.approx(0.5 * SEED_MODELS["6711"].dose_gy(np.array([10.0, 10.0])), rel=2e-3)
    assert two.at(at)[1] == pytest.approx(3 * one.at(at)[1], rel=1e-6)


@pytest.mark.parametrize("level_gy", [50.0, 145.0, 300.0])
def test_the_surface_of_a_dose_lies_where_the_dose_is(level_gy: float) -> None:
    shape = IsoDose(Implant("6711", np.zeros((1, 3)), np.array([5.0])), level_gy)
    radii = np.arange(1.0, 60.0, 0.01)
    radius = radii[np.argmin(np.abs(5.0 * SEED_MODELS["6711"].dose_gy(radii) - level_gy))]
    ways = np.random.default_rng(3).standard_normal((200, 3))
    ways /= np.linalg.norm(ways, axis=1)[:, None]
    assert np.abs(signed_distance_mm(shape, radius * ways)).max() < 0.3
    assert signed_distance_mm(shape, (radius + 2.0) * ways) == pytest.approx(2.0, abs=0.6)
    assert signed_distance_mm(shape, (radius - 2.0) * ways) == pytest.approx(-2.0, abs=0.6)


def test_numbers_of_a_seed_in_a_ball() -> None:
    implant = Implant("6711", np.zeros((1, 3)), np.array([5.0]))
    ball = Sphere(np.zeros(3), 20.0)
    points, cell_cc = inside_points(ball)
    assert len(points) * cell_cc == pytest.approx(4 / 3 * np.pi * 8.0, rel=0.01)
    found = target_numbers(implant, points, 145.0, 1.0)
    dose_at = SEED_MODELS["6711"].dose_gy
    assert found["d90_gy"] == pytest.approx(5.0 * float(dose_at(np.array([20.0 * 0.9 ** (1 / 3)]))[0]), rel=0.01)
    assert found["d90_least_gy"] < found["d90_gy"]
    radii = np.arange(1.0, 20.0, 0.01)
    radius = radii[np.argmin(np.abs(5.0 * dose_at(radii) - 145.0))]
    assert found["v100"] == pytest.approx((radius / 20.0) ** 3, rel=0.02)
    organ = organ_numbers(implant, points, cell_cc)
    assert organ["d2cc_gy"] == pytest.approx(5.0 * float(dose_at(np.array([(1500 / np.pi) ** (1 / 3)]))[0]), rel=0.03)
    assert organ["d10_gy"] == pytest.approx(5.0 * float(dose_at(np.array([20.0 * 0.1 ** (1 / 3)]))[0]), rel=0.02)
    small, cell = inside_points(Sphere(np.array([10.0, 0, 0]), 5.0))
    assert "d2cc_gy" not in organ_numbers(implant, small, cell), "half a cc has no 2 cc"


def test_seeds_follow_their_needle() -> None:
    rows = (Seeds("a", "6711", 0.5, (2.0, 12.0)), Seeds("b", "6711", 0.5, (2.0,)))
    needle = (np.array([1.0, 2, 3]), np.array([0.0, 0, -1]))
    implant = implant_of(rows, {"a": needle})
    assert implant is not None
    assert implant.places_mm.tolist() == [[1.0, 2, 1], [1.0, 2, -9]]
    assert implant_of(rows, {}) is None


def test_the_truth_of_the_simulator_agrees_with_ours() -> None:
    row = ImplantRow("ball", 145.0, (NeedleRow("a", 3.0, (2.0, 12.0, 22.0)),))
    needle = (np.array([0.0, 0, 12]), np.array([0.0, 0, -1]))
    true = implant_score(row, {"a": needle}, np.zeros(3), 15.0)
    implant = implant_of((Seeds("a", "6711", 3.0, (2.0, 12.0, 22.0)),), {"a": needle})
    assert implant is not None
    ours = target_numbers(implant, inside_points(Sphere(np.zeros(3), 15.0))[0], 145.0, 0.5)
    assert ours["d90_gy"] == pytest.approx(true["true_d90_gy"], rel=0.01)
    assert ours["v100"] == pytest.approx(true["true_v100"], abs=0.01)
