"""PRF temperature: check values, the `qmri` package, bad input."""

import numpy as np
import pytest
from qmri.thermometry import prf as qmri_prf

from guidance.thermometry import degrees_per_radian, prf_temperature_change, temperature_sigma


def test_check_value() -> None:
    image = np.exp(-1j * np.ones((2, 3, 4)))
    change = prf_temperature_change(image, np.ones_like(image), echo_time_s=0.016, field_t=1.5)
    assert change.dtype == np.float64
    np.testing.assert_allclose(change, 15.575032, atol=1e-6)


def test_agrees_with_qmri() -> None:
    phase = np.random.default_rng(3).uniform(-3.1, 3.1, (4, 32, 32))
    reference = 7.0 * np.exp(1j * np.random.default_rng(4).uniform(-3, 3, phase.shape))
    ours = prf_temperature_change(reference * np.exp(1j * phase), reference, echo_time_s=0.0123, field_t=2.895)
    theirs = qmri_prf.calculate_temperature(phase, 0.0123, 2.895).temperature_change
    np.testing.assert_allclose(ours, theirs, atol=1e-6)


def test_sign_and_wrap() -> None:
    kwargs = {"echo_time_s": 0.016, "field_t": 3.0}
    one = np.ones((1, 1, 1), np.complex128)
    warm = prf_temperature_change(one * np.exp(-0.5j), one, **kwargs)
    cold = prf_temperature_change(one * np.exp(-0.5j), one, phase_sign=-1, **kwargs)
    assert warm[0, 0, 0] == pytest.approx(-cold[0, 0, 0])
    assert np.pi * abs(degrees_per_radian(0.016, 3.0)) == pytest.approx(24.5, abs=0.05)


def test_dtype_follows_and_extremes_do_not_overflow() -> None:
    image = np.full((1, 2, 2), 1e30 * np.exp(-0.3j), np.complex64)
    change = prf_temperature_change(image, np.full_like(image, 1e-30), echo_time_s=0.016, field_t=3.0)
    assert change.dtype == np.float32
    np.testing.assert_allclose(change, 0.3 * 7.787516, rtol=1e-5)


@pytest.mark.parametrize("bad", [0.0, np.nan, np.inf, complex(0, np.nan)])
def test_no_signal_has_no_temperature(bad: complex) -> None:
    image = np.ones((1, 1, 2), np.complex64)
    image[0, 0, 0] = bad
    change = prf_temperature_change(image, np.ones_like(image), echo_time_s=0.016, field_t=3.0)
    assert np.isnan(change[0, 0, 0])
    assert change[0, 0, 1] == 0.0


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"echo_time_s": 16.0}, "echo_time_s"),
        ({"field_t": 123.26}, "field_t"),
        ({"alpha_ppm": -1e-8}, "alpha_ppm"),
        ({"phase_sign": 0}, "phase_sign"),
        ({"echo_time_s": np.nan}, "echo_time_s"),
    ],
)
def test_wrong_parameters_are_named(wrong: dict[str, float], named: str) -> None:
    image = np.ones((1, 1, 1), np.complex64)
    with pytest.raises(ValueError, match=named):
        prf_temperature_change(image, image, **({"echo_time_s": 0.016, "field_t": 3.0} | wrong))  # type: ignore[arg-type]


def test_real_input_and_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match="complex"):
        prf_temperature_change(np.ones((1, 1)), np.ones((1, 1)), echo_time_s=0.016, field_t=3.0)
    with pytest.raises(ValueError, match="shape"):
        prf_temperature_change(np.ones((1, 1), complex), np.ones((1, 2), complex), echo_time_s=0.016, field_t=3.0)


def test_sigma_is_the_spread_of_the_change() -> None:
    rng = np.random.default_rng(5)
    shape, noise, signal = (1, 200, 200), 1.0, 30.0

    def noisy() -> np.ndarray:
        return signal + noise * (rng.normal(size=shape) + 1j * rng.normal(size=shape))

    reference = np.mean([noisy() for _ in range(4)], axis=0)
    change = prf_temperature_change(noisy(), reference, echo_time_s=0.016, field_t=3.0)
    scale = degrees_per_radian(0.016, 3.0)
    predicted = temperature_sigma(np.array(signal), noise, degrees_per_rad=scale, references=4)
    assert change.std() == pytest.approx(float(predicted), rel=0.02)
