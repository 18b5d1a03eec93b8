"""The bioheat model against closed forms."""

import numpy as np
import pytest

from guidance.tissue import BioheatModel, Tissue


def test_perfusion_alone_decays_exponentially() -> None:
    model = BioheatModel((4, 8, 8), (3.0, 2.0, 2.0))
    warm = np.full(model.shape, 47.0, np.float32)
    assert 1.0 / model.tissue.perfusion_rate == pytest.approx(65.0, rel=0.02)
    cooled = model.advance(warm, 65.0)
    np.testing.assert_allclose(cooled, 37.0 + 10.0 * np.exp(-65.0 * model.tissue.perfusion_rate), atol=0.06)


def test_a_gaussian_spreads_as_it_must() -> None:
    tissue = Tissue(perfusion=0.0)
    model = BioheatModel((41, 41, 41), (1.0, 1.0, 1.0), tissue)
    z, y, x = np.mgrid[-20:21, -20:21, -20:21].astype(float)
    r2, width = x**2 + y**2 + z**2, 4.0
    start = (37.0 + 20.0 * np.exp(-r2 / (2 * width**2))).astype(np.float32)
    seconds = 20.0
    wider = width**2 + 2.0 * tissue.diffusivity * 1e6 * seconds
    truth = 37.0 + 20.0 * (width**2 / wider) ** 1.5 * np.exp(-r2 / (2 * wider))
    np.testing.assert_allclose(model.advance(start, seconds), truth, atol=0.06)


def test_source_and_border() -> None:
    model = BioheatModel((1, 6, 6), (5.0, 1.0, 1.0), Tissue(perfusion=0.0))
    start = np.full(model.shape, 37.0, np.float32)
    np.testing.assert_allclose(model.advance(start, 10.0, 0.5), 42.0, atol=1e-4)
    spot = start.copy()
    spot[0, 0, 0] = 60.0
    assert model.advance(spot, 30.0).sum() == pytest.approx(float(spot.sum()), rel=1e-5), "no heat leaves the grid"


def test_bad_input() -> None:
    with pytest.raises(ValueError, match="spacing"):
        BioheatModel((1, 2, 2), (1.0, 0.0, 1.0))
    with pytest.raises(ValueError, match="shape"):
        BioheatModel((1, 2, 2), (1.0, 1.0, 1.0)).advance(np.zeros((1, 2, 3), np.float32), 1.0)
