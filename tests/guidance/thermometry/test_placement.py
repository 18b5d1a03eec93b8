"""A map measured beside the voxels it speaks for: what is known is taken off, what is not enters sigma."""

from typing import Any

import numpy as np
import pytest

from guidance.thermometry.kalman import BioheatFilter, FilterSettings
from guidance.thermometry.placement import Placement
from guidance.tissue import BioheatModel, Tissue

SHAPE, SPACING = (9, 15, 15), (2.5, 2.5, 2.5)
INERT = Tissue(conductivity=1e-6, perfusion=0.0)
NOISE_C, SPOT_MM = 0.2, 6.0


def spot(across_mm: Any, along_mm: Any = 0.0) -> np.ndarray:
    """Temperature of the tissue that is `across_mm` and `along_mm` (rows) away from the voxels."""
    z, y, x = ((index - count // 2) * 2.5 for index, count in zip(np.indices(SHAPE), SHAPE, strict=True))
    r2 = (z + across_mm) ** 2 + (y + along_mm) ** 2 + x**2
    return (37.0 + 25.0 * np.exp(-0.5 * r2 / SPOT_MM**2)).astype(np.float32)


def placed(offset_mm: float, sigma: Any = (0.0, 0.0, 0.0), shared: Any = (0.0, 0.0, 0.0)) -> Placement:
    offset = np.full(SHAPE, offset_mm, np.float32)
    return Placement(offset, np.array([1.0, 0.0, 0.0]), SPACING, np.array(sigma), np.array(shared))


def test_temperature_beside_a_voxel_is_that_of_the_prediction() -> None:
    inner = (slice(2, -2), slice(2, -2), slice(2, -2))
    away = placed(1.2).away_c(spot(0.0))
    assert away[inner] == pytest.approx((spot(1.2) - spot(0.0))[inner], abs=0.1)
    assert np.abs((spot(1.2) - spot(0.0))[inner]).max() > 2.0
    assert not placed(0.0).away_c(spot(0.0)).any()


def test_variance_is_the_slope_times_the_error_of_the_place() -> None:
    slope = np.broadcast_to(np.float32(37.0) + 3.0 * 2.5 * np.arange(9, dtype=np.float32)[:, None, None], SHAPE)
    own, shared = placed(0.0, (0.5, 9.0, 9.0), (0.1, 9.0, 9.0)).variances(np.ascontiguousarray(slope))
    assert own == pytest.approx(1.5**2, rel=1e-5)
    assert shared == pytest.approx(0.3**2, rel=1e-5)


def watched(told: bool, wander_mm: float, rest_mm: float) -> tuple[np.ndarray, np.ndarray]:
    """Error and sigma in the steep part after 80 frames of slices that lie up to 1.2 mm beside the voxels."""
    rng = np.random.default_rng(7)
    kalman = BioheatFilter(BioheatModel(SHAPE, SPACING, INERT), 37.0, 20.0, FilterSettings())
    sigma = np.full(SHAPE, NOISE_C, np.float32)
    for number in range(80):
        beside = 1.2 * float(np.sin(0.7 * number))
        wander = wander_mm * rng.normal(size=2)
        seen = spot(beside + wander[0], rest_mm + wander[1]) + NOISE_C * rng.normal(size=SHAPE)
        place = placed(beside, (wander_mm, wander_mm, 0.0), (0.0, abs(rest_mm), 0.0)) if told else None
        found = kalman.update(seen.astype(np.float32), sigma, float(number), placement=place)
    steep = np.hypot(*np.gradient(spot(0.0), 2.5)[:2]) > 1.0
    return (found.temperature_c - spot(0.0))[steep], found.sigma_c[steep]


def rms(values: np.ndarray) -> float:
    return float(np.sqrt(np.mean(values**2)))


def test_slices_beside_the_voxels_do_not_blur_the_filtered_map() -> None:
    blurred, believed = watched(False, 0.0, 0.0)
    error, sigma = watched(True, 0.0, 0.0)
    assert rms(blurred / believed) > 3.0, "the problem is there"
    assert rms(error) < 0.3 * rms(blurred)
    assert rms(error / sigma) < 1.6


@pytest.mark.parametrize(("wander_mm", "rest_mm"), [(0.5, 0.0), (0.0, 0.2), (0.5, 0.2)])
def test_residual_motion_is_in_sigma(wander_mm: float, rest_mm: float) -> None:
    error, sigma = watched(True, wander_mm, rest_mm)
    assert 0.4 < rms(error / sigma) < 1.4
    assert np.mean(np.abs(error) < 2.0 * sigma) > 0.93
