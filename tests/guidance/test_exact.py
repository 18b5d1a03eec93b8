"""Pose arithmetic against independent implementations, and that it contracts nothing."""

import math

import numba
import numpy as np
import pytest
from scipy.spatial.transform import Rotation, Slerp

from guidance import exact


def random_pose(seed: int) -> np.ndarray:
    pose = np.eye(4)
    pose[:3, :3] = Rotation.random(rng=seed).as_matrix()
    pose[:3, 3] = np.random.default_rng(seed).normal(scale=100, size=3)
    return pose


def test_elementary_functions_agree_with_the_library() -> None:
    rng = np.random.default_rng(1)
    for y, x in rng.normal(size=(2000, 2)) * 10.0 ** rng.integers(-9, 9, (2000, 2)):
        assert exact.arctan2(y, x) == pytest.approx(math.atan2(y, x), rel=4e-16, abs=1e-300)
    for angle in np.linspace(0, math.pi, 2001):
        assert exact.sine(angle) == pytest.approx(math.sin(angle), abs=4e-16)
    assert exact.arctan2(0.0, 0.0) == 0.0
    assert exact.arccos(1.5) == 0.0


@pytest.mark.parametrize("seed", range(20))
def test_compose_invert_apply_agree_with_numpy(seed: int) -> None:
    a, b = random_pose(seed), random_pose(seed + 100)
    a[:3, :3] *= 1.7
    points = np.random.default_rng(seed).normal(size=(5, 3))
    assert np.allclose(exact.compose(a, b), a @ b, atol=1e-10)
    assert np.allclose(exact.invert(a), np.linalg.inv(a), atol=1e-10)
    assert np.allclose(exact.apply(a, points), points @ a[:3, :3].T + a[:3, 3], atol=1e-10)
    a.flags.writeable = False
    assert np.array_equal(exact.compose(a, b)[3], [0, 0, 0, 1])


@pytest.mark.parametrize("seed", range(20))
def test_interpolation_agrees_with_scipy(seed: int) -> None:
    a, b = random_pose(seed), random_pose(seed + 50)
    weight = seed / 19
    out = np.empty((4, 4))
    exact.interpolate_into(a, b, weight, out)
    expected = Slerp([0, 1], Rotation.from_matrix([a[:3, :3], b[:3, :3]]))(weight).as_matrix()
    assert np.allclose(out[:3, :3], expected, atol=1e-12)
    assert np.allclose(out[:3, 3], (1 - weight) * a[:3, 3] + weight * b[:3, 3])


def test_interpolation_of_nearly_equal_poses_is_stable() -> None:
    a = random_pose(3)
    b = a.copy()
    b[:3, :3] = a[:3, :3] @ Rotation.from_rotvec([1e-8, 0, 0]).as_matrix()
    out = np.empty((4, 4))
    exact.interpolate_into(a, b, 0.25, out)
    assert exact.angle_between(a, out) == pytest.approx(0.25e-8, rel=1e-6)


@pytest.mark.parametrize("name", ["compose_into", "invert_into", "interpolate_into", "arctan2", "apply_into"])
def test_no_fused_multiply_add(name: str) -> None:
    """A fused instruction rounds once instead of twice: other bits on another processor."""
    cached = getattr(exact, name)
    function = numba.njit(cached.signatures, nogil=True)(cached.py_func)  # cached code cannot be looked at
    for assembly in function.inspect_asm().values():
        assert "fmadd" not in assembly and "fmsub" not in assembly and "fnmadd" not in assembly
