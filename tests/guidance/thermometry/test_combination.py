"""The arithmetic of the linear baselines against NumPy."""

import numpy as np
import pytest
from numpy.typing import NDArray

from guidance.thermometry.baselines.combination import fit, foretell, misfit, phases


def pairs(values: NDArray[np.complex64]) -> NDArray[np.float32]:
    return np.ascontiguousarray(values, np.complex64).view(np.float32).reshape(-1)


def test_fit_is_reweighted_ridge() -> None:
    rng = np.random.default_rng(1)
    design = rng.normal(size=(9, 700)).astype(np.float32)
    wanted = rng.normal(size=9) * 0.2
    values = (wanted @ design + 0.02 * rng.normal(size=700)).astype(np.float32)
    values[::50] += 2.0  # outliers
    say = rng.uniform(10.0, 1000.0, 700).astype(np.float32)
    precision = np.full(9, 30.0)
    found = fit(design, values, say, precision, 0.1, 6)
    solution = np.zeros(9)
    for _ in range(6):
        weight = say / (1.0 + ((values - solution @ design) / 0.1) ** 2)
        normal = (design * weight) @ design.T.astype(np.float64) + np.diag(precision)
        solution = np.linalg.solve(normal, (design * weight) @ values.astype(np.float64))
    np.testing.assert_allclose(found, solution, atol=2e-6)
    np.testing.assert_allclose(found, wanted, atol=0.02)


def test_values_that_are_not_known_have_no_say() -> None:
    design = np.ones((1, 300), np.float32)
    values = np.full(300, 0.5, np.float32)
    values[::3] = np.nan
    found = fit(design, values, np.ones(300, np.float32), np.zeros(1), 1e3, 3)
    assert found == pytest.approx(0.5, abs=1e-6)


def test_foretold_image_is_the_mean_turned() -> None:
    rng = np.random.default_rng(2)
    mean = (rng.normal(size=1000) + 1j * rng.normal(size=1000)).astype(np.complex64)
    basis = rng.uniform(-9.0, 9.0, (2, 400)).astype(np.float32)
    index = np.sort(rng.choice(1000, 400, replace=False))
    solution = np.array([1.0, -0.5])
    out = np.zeros(2000, np.float32)
    turn = foretell(basis, solution, pairs(mean), index, out)
    np.testing.assert_allclose(turn, solution @ basis, atol=1e-5)
    np.testing.assert_allclose(out.view(np.complex64)[index], mean[index] * np.exp(1j * turn), atol=3e-6)
    assert not np.any(np.delete(out.view(np.complex64), index))
    measured = np.empty(400, np.float32)
    phases(out, pairs(mean), index, measured)
    np.testing.assert_allclose(np.exp(1j * measured), np.exp(1j * turn), atol=3e-6)


def test_misfit_is_what_noise_does_not_explain() -> None:
    rng = np.random.default_rng(3)
    variance = np.full(20_000, 0.01, np.float32)
    say = rng.uniform(0.0, 1.0, 20_000).astype(np.float32)
    nothing = np.zeros(20_000, np.float32)
    measured = rng.normal(0.0, np.sqrt(0.01 + 0.03), 20_000).astype(np.float32)
    measured[:100] = np.nan
    assert misfit(measured, nothing, variance, say, 1.0) == pytest.approx(0.03, rel=0.05)
    assert misfit(nothing, nothing, variance, say, 0.5) == pytest.approx(0.005, rel=1e-3)
    assert misfit(measured, nothing, variance, nothing, 1.0) == 0.0
