"""Registration: exact on exact points, and honest about its error at the target."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from guidance.space import ErrorPart, error_bound_mm, register_points, register_surface, rms_mm, rotation_angle_deg


def rigid(seed: int, scale: float = 100.0) -> np.ndarray:
    matrix = np.eye(4)
    matrix[:3, :3] = Rotation.random(rng=seed).as_matrix()
    matrix[:3, 3] = np.random.default_rng(seed).normal(scale=scale, size=3)
    return matrix


def carried(matrix: np.ndarray, points: np.ndarray) -> np.ndarray:
    return points @ matrix[:3, :3].T + matrix[:3, 3]


@pytest.mark.parametrize("seed", range(10))
def test_exact_points_give_the_exact_transform(seed: int) -> None:
    truth = rigid(seed)
    points = np.random.default_rng(seed).normal(scale=50, size=(3 + seed, 3))
    found = register_points(points, carried(truth, points))
    assert np.allclose(found.fixed_from_moving, truth, atol=1e-9)
    assert found.fre_mm < 1e-9
    assert np.linalg.det(found.fixed_from_moving[:3, :3]) == pytest.approx(1)


def test_coplanar_points_are_never_mirrored() -> None:
    points = np.array([[0.0, 0, 0], [50, 0, 0], [0, 30, 0], [40, 40, 0]])
    for seed in range(20):
        noise = np.random.default_rng(seed).normal(scale=1, size=points.shape)
        found = register_points(points, carried(rigid(seed), points) + noise).fixed_from_moving
        assert np.linalg.det(found[:3, :3]) > 0.99


@pytest.mark.parametrize(
    ("moving", "fixed", "fault"),
    [
        (np.zeros((2, 3)), np.zeros((2, 3)), "needs 3"),
        (np.zeros((4, 3)), np.zeros((5, 3)), "not pairs"),
        (np.full((4, 3), np.nan), np.zeros((4, 3)), "not finite"),
        (np.arange(12.0).reshape(4, 3), np.eye(4)[:, :3], "moving points lie on one line"),
    ],
)
def test_what_cannot_be_registered_is_refused(moving, fixed, fault: str) -> None:
    with pytest.raises(ValueError, match=fault):
        register_points(moving, fixed)


def test_fre_and_tre_follow_their_theory() -> None:
    rng = np.random.default_rng(5)
    points = rng.uniform(-60, 60, (6, 3))
    target = np.array([20.0, 90.0, -30.0])
    truth, sigma = rigid(1), 0.4
    fre2, tre2 = [], []
    for _ in range(3000):
        found = register_points(points, carried(truth, points) + rng.normal(scale=sigma, size=points.shape))
        fre2.append(found.fre_mm**2)
        tre2.append(((carried(found.fixed_from_moving, target) - carried(truth, target)) ** 2).sum())
    fle = sigma * np.sqrt(3)
    assert np.sqrt(np.mean(fre2)) == pytest.approx(fle * np.sqrt(1 - 2 / 6), rel=0.02)
    exact = register_points(points, carried(truth, points))
    predicted = float(exact.tre_mm(target, fle_mm=fle))
    assert np.sqrt(np.mean(tre2)) == pytest.approx(predicted, rel=0.03)
    centre = points.mean(axis=0)
    axes = np.linalg.svd(points - centre)[2]
    d2 = [((np.cross(target - centre, axis)) ** 2).sum() for axis in axes]
    f2 = [(np.cross(points - centre, axis) ** 2).sum(axis=1).mean() for axis in axes]
    assert predicted == pytest.approx(fle * np.sqrt((1 + sum(np.divide(d2, f2)) / 3) / 6))
    assert rms_mm([exact.error_at(target, fle)]) == pytest.approx(predicted)
    assert exact.tre_mm(np.stack([target, target])).shape == (2,)


@pytest.mark.slow
def test_bounds_from_few_fiducials_hold_as_often_as_they_say() -> None:
    """1,500 independent registrations and placements for each way of knowing the localisation error."""
    rng = np.random.default_rng(11)
    measured, known, plain, count = 0, 0, 0, 1500
    for n in range(count):
        points = rng.uniform(-60, 60, (4 + n % 7, 3))
        target, truth = rng.uniform(-80, 80, 3), rigid(n)
        sigma, tip_sigma = rng.uniform(0.2, 1.0), 0.3
        found = register_points(points, carried(truth, points) + rng.normal(scale=sigma, size=points.shape))
        error = carried(found.fixed_from_moving, target) - carried(truth, target) + rng.normal(scale=tip_sigma, size=3)
        away = float(np.sqrt((error**2).sum()))
        tip = ErrorPart.isotropic(tip_sigma)
        part = found.error_at(target)
        measured += away <= error_bound_mm([part, tip])
        known += away <= error_bound_mm([found.error_at(target, sigma * np.sqrt(3)), tip])
        plain += away <= error_bound_mm([ErrorPart(part.covariance_mm2), tip])
    assert 0.93 <= measured / count <= 0.97, measured / count
    assert 0.93 <= known / count <= 0.97, known / count
    assert plain / count < 0.93, "the F quantiles must be what makes the difference"


def test_bounds_of_known_errors() -> None:
    assert error_bound_mm([ErrorPart.isotropic(1.0)]) == pytest.approx(2.7955, abs=1e-3)
    assert error_bound_mm([ErrorPart.isotropic(3.0), ErrorPart.isotropic(4.0)]) == pytest.approx(5 * 2.7955, abs=1e-2)
    assert error_bound_mm([ErrorPart.isotropic(0.0)]) == 0.0
    with pytest.raises(ValueError, match="confidence"):
        error_bound_mm([ErrorPart.isotropic(1.0)], 1.0)


def test_points_on_a_surface_find_it_despite_outliers() -> None:
    rng = np.random.default_rng(3)
    directions = rng.normal(size=(20000, 3))
    directions /= np.linalg.norm(directions, axis=1)[:, None]
    surface = directions * [70, 50, 40] + 3 * np.sin(directions * 5)
    truth = np.eye(4)
    truth[:3, :3] = Rotation.from_rotvec(np.radians([8, -6, 10])).as_matrix()
    truth[:3, 3] = 5, -4, 6
    touched = carried(np.linalg.inv(truth), surface[rng.choice(len(surface), 300, replace=False)])
    touched += rng.normal(scale=0.3, size=touched.shape)
    touched[:15] += rng.normal(scale=20, size=(15, 3))
    found = register_surface(touched, surface, np.eye(4), keep=0.85)
    assert found.converged and found.rms_mm < 1.0
    assert rotation_angle_deg(found.fixed_from_moving, truth) < 1.0
    center = surface.mean(axis=0)
    assert np.linalg.norm(carried(found.fixed_from_moving @ np.linalg.inv(truth), center) - center) < 0.5
    with pytest.raises(ValueError, match="at least 6"):
        register_surface(touched[:3], surface, np.eye(4))
