"""Every baseline method: its face, and what it reaches on the real free-breathing series."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from guidance.bench.baselines import load_series, score
from guidance.thermometry import ThermometryPipeline, ThermometrySettings
from guidance.thermometry.baselines import BASELINES
from guidance.thermometry.baselines.referenceless import continue_harmonic


def breathing(phantom: Any, state: float) -> NDArray[np.float64]:
    """A smooth field that breathing turns by up to 15 degC, curved in its state."""
    row, column = np.mgrid[-1 : 1 : complex(phantom.shape[1]), -1 : 1 : complex(phantom.shape[2])]
    field = 8.0 * state * np.exp(-((row - 0.6) ** 2) / 0.5) + 3.0 * state**2 * column * row
    return np.broadcast_to(field, phantom.shape)


@pytest.mark.parametrize("method", BASELINES)
def test_the_face(method: str, make_phantom: Any) -> None:
    phantom = make_phantom(seed=2)
    baseline = BASELINES[method]()
    heated = phantom.spot > 0.05
    for _ in range(baseline.minimum_frames):
        baseline.learn(phantom.frame())
    image = phantom.frame(8.0 * phantom.spot)
    found = baseline.estimate(image, phantom.tissue & ~heated, heated)
    assert found.image.shape == image.shape
    assert found.image.dtype == np.complex64
    assert found.averaged >= 1.0
    assert np.broadcast_to(found.model_rad, image.shape).shape == image.shape
    change = np.angle(image * found.image.conj()) * phantom.settings.degrees_per_radian()
    assert np.sqrt(np.mean((change - 8.0 * phantom.spot)[heated] ** 2)) < 0.6


@pytest.mark.parametrize(("method", "limit_c"), [("nearest", 1.5), ("pca", 0.6), ("hybrid", 0.4)])
def test_heat_under_breathing(method: str, limit_c: float, make_phantom: Any) -> None:
    phantom = make_phantom(seed=3)
    heated = phantom.spot > 0.05
    settings = ThermometrySettings(
        echo_time_s=0.016, field_t=3.0, t0_c=37.0, baseline=method, reference_dynamics=12, drift_order=-1
    )
    pipeline = ThermometryPipeline(settings, heated=heated)
    errors: list[Any] = []
    for number in range(40):
        heat = 12.0 * phantom.spot * (number >= 12)
        frame = pipeline.update(phantom.frame(heat + breathing(phantom, np.sin(0.9 * number))), float(number))
        if number >= 12:
            errors.append((frame.temperature_c - 37.0 - heat)[heated])
    assert np.sqrt(np.mean(np.square(errors))) < limit_c


def test_own_sigma_tells_of_states_that_the_library_has_not_seen(make_phantom: Any) -> None:
    phantom = make_phantom(seed=4)
    heated = phantom.spot > 0.05
    fit = phantom.tissue & ~heated
    baseline = BASELINES["hybrid"]()
    for state in np.linspace(-0.3, 0.3, 8):
        baseline.learn(phantom.frame(breathing(phantom, float(state))))
    row, _ = np.mgrid[-1 : 1 : complex(phantom.shape[1]), -1 : 1 : complex(phantom.shape[2])]
    known = baseline.estimate(phantom.frame(breathing(phantom, 0.1)), fit, heated).model_rad
    strange = baseline.estimate(phantom.frame(9.0 * np.sin(9.0 * row)), fit, heated).model_rad
    assert np.mean(np.broadcast_to(strange, heated.shape)[heated]) > 3.0 * np.mean(
        np.broadcast_to(known, heated.shape)[heated]
    )


def test_harmonic_continuation_of_a_harmonic_field() -> None:
    row, column = np.mgrid[:30, :30].astype(np.float64)
    field = 0.01 * (row * column) + 0.05 * column
    hot = (row - 14) ** 2 + (column - 15) ** 2 < 30
    found = continue_harmonic(field, ~hot, hot)
    np.testing.assert_allclose(found[hot], field[hot], atol=0.1)


@pytest.mark.data
def test_hybrid_on_the_real_series(data_dir: Path) -> None:
    frames, tissue = load_series(data_dir)
    hybrid = score("hybrid", frames, tissue, (0, 1))
    mean = score("mean", frames, tissue, (0,))
    assert hybrid.median_c <= 0.5
    assert hybrid.p90_c <= 2.6
    assert hybrid.caught >= 0.85
    assert hybrid.false <= 0.2
    assert mean.p90_c > 5.0, "the series breathes"
