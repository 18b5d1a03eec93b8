"""What tissue may have reached when the next answer comes counts how late this one is."""

from typing import Any

import numpy as np
import pytest

from guidance.thermometry.hot import expected_c

SHAPE = (1, 4, 4)


def frame(time_s: float, celsius: float, sigma_c: float = 0.3) -> Any:
    class Frame:
        temperature_c = np.full(SHAPE, celsius, np.float32)

    Frame.sigma_c = np.full(SHAPE, sigma_c, np.float32)  # type: ignore[attr-defined]
    Frame.time_s = time_s  # type: ignore[attr-defined]
    return Frame


@pytest.mark.parametrize(
    ("late_s", "expected"), [(0.0, 42.6 + 2.0), (0.9, 42.6 + 2.0 + 4.5 * (2.0 - 2.0 * 0.3 * 2**0.5))]
)
def test_a_rise_goes_on_for_a_period_and_what_noise_cannot_make_for_as_long_as_the_frame_is_late(
    late_s: float, expected: float
) -> None:
    found = expected_c(frame(10.2, 42.0), frame(10.0, 40.0), 0.2, late_s)
    assert found.dtype == np.float32 and np.allclose(found, expected, atol=1e-3)


def test_what_noise_can_make_is_no_rise_and_falling_is_none() -> None:
    for before in (41.2, 45.0):
        assert np.allclose(expected_c(frame(10.2, 42.0), frame(10.0, before), 0.2, 1.0), 42.6)
    assert np.allclose(expected_c(frame(10.2, 42.0), None, 0.2, 1.0), 42.6)


def test_late_frames_of_still_tissue_stay_below_a_guards_limit() -> None:
    noise = np.random.default_rng(1)
    two = [frame(10.0 + 0.2 * n, 37.0) for n in range(2)]
    for one in two:
        one.temperature_c = (37.0 + 0.3 * noise.standard_normal((1, 40, 50))).astype(np.float32)
        one.sigma_c = np.full((1, 40, 50), 0.3, np.float32)
    assert expected_c(two[1], two[0], 0.2, 0.9).max() < 44.0


def test_what_is_not_known_stays_unknown_without_a_warning() -> None:
    one, two = frame(10.0, 40.0), frame(10.2, 42.0)
    two.sigma_c = np.where(np.arange(16).reshape(SHAPE) < 4, np.inf, 0.3).astype(np.float32)
    two.temperature_c = np.where(np.arange(16).reshape(SHAPE) < 8, np.nan, 42.0).astype(np.float32)
    found = expected_c(two, one, 0.2, 0.5).ravel()
    assert np.isnan(found[:8]).all() and np.isfinite(found[8:]).all()
