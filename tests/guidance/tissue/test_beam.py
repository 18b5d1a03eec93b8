"""Where a focused beam puts its heat: the watts that it is said to leave are there, and nowhere else."""

import numpy as np
import pytest

from guidance.tissue import Beam, Tissue

TISSUE = Tissue()
BEAM = Beam((-1.0, 0.0, 0.0), 5.0, 2.0, focal_share=0.1, near_share=0.04, half_angle_deg=20.0, path_mm=80.0)
FOCUS = np.array([10.0, 5.0, -3.0])


def _grid(low: tuple[float, ...], high: tuple[float, ...], step: float) -> np.ndarray:
    axes = [np.arange(a, b, step) for a, b in zip(low, high, strict=True)]
    return np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)


def _watts(rates: np.ndarray, step_mm: float) -> float:
    return float(rates.sum()) * TISSUE.density * TISSUE.heat_capacity * (step_mm * 1e-3) ** 3


def test_the_focus_holds_its_share_along_the_beam() -> None:
    points = _grid((-20, -10, -18), (40, 20, 12), 0.5)
    rates = BEAM.focal_c_per_s(points, FOCUS, TISSUE)
    assert _watts(rates, 0.5) == pytest.approx(0.1, rel=0.01)
    assert points[rates.argmax()] == pytest.approx(FOCUS, abs=0.51)
    spread = np.sqrt((rates[:, None] * (points - FOCUS) ** 2).sum(axis=0) / rates.sum())
    assert spread == pytest.approx([5.0, 2.0, 2.0], rel=0.02)


def test_the_near_field_lies_before_the_focus_and_thins_with_distance() -> None:
    points = _grid((10, -75, -83), (90, 85, 77), 2.0)
    rates = BEAM.near_c_per_s(points, FOCUS, TISSUE)
    assert _watts(rates, 2.0) == pytest.approx(0.04, rel=0.1)
    axis = np.array([[x, 5.0, -3.0] for x in (-5.0, 9.0, 20.0, 60.0, 91.0)])
    behind, at, near, far, outside = BEAM.near_c_per_s(axis, FOCUS, TISSUE)
    assert behind == at == outside == 0.0
    assert near > 5.0 * far > 0.0


def test_a_share_of_the_power_is_what_counts() -> None:
    half = Beam((-2.0, 0.0, 0.0), 5.0, 2.0, 0.05, 0.0, 20.0, 80.0)  # the direction's length says nothing
    point = FOCUS[None] + [[3.0, 1.0, 0.0]]
    assert half.focal_c_per_s(point, FOCUS, TISSUE) == pytest.approx(0.5 * BEAM.focal_c_per_s(point, FOCUS, TISSUE))
