"""CEM43 and Arrhenius: check values, exactness, noise."""

from pathlib import Path

import numpy as np
import pytest
from scipy import integrate, io

from guidance.thermometry import ARRHENIUS_SETS, DoseAccumulator, arrhenius_damage, cem43
from guidance.thermometry.damage import arrhenius_rate
from guidance.thermometry.dose import noise_gain

FIBRE_OPTIC = {"RMD276": 8.20, "RMD277": 22.01, "RMD278": 27.86, "RMD279": 37.13}


@pytest.mark.data
@pytest.mark.parametrize(("name", "expected_min"), FIBRE_OPTIC.items())
def test_fibre_optic_histories(data_dir: Path, name: str, expected_min: float) -> None:
    record = io.loadmat(data_dir / "thermometry" / "fibre_optic_heating" / f"{name}.mat")["s"][0, 0]
    channel = np.asarray(record["temperature_values"], np.float64)[:, 3]
    for times in (record["timestamps_sec"].ravel(), 15.0 * np.arange(channel.size)):
        assert float(cem43(channel, times)) == pytest.approx(expected_min, rel=0.005)


@pytest.mark.parametrize(("temperature_c", "minutes"), [(43.0, 10.0), (45.0, 40.0), (42.0, 2.5), (37.0, 10 / 4**6)])
def test_constant_temperature(temperature_c: float, minutes: float) -> None:
    dose = cem43(np.full((3, 2), temperature_c), np.array([0.0, 100.0, 600.0]))
    np.testing.assert_allclose(dose, minutes, rtol=1e-12)


@pytest.mark.parametrize(("start", "end"), [(30, 60), (60, 30), (43, 43.0000001), (42.99, 43.01), (50, 90), (-150, 44)])
def test_linear_is_exact(start: float, end: float) -> None:
    def rate(s: float) -> float:
        over = min(start + (end - start) * s - 43.0, 25.0)
        return float(2.0**over if over >= 0 else 4.0**over)

    breaks = [b for t in (43.0, 68.0) if 0 < (b := (t - start) / (end - start)) < 1]
    truth = integrate.quad(rate, 0.0, 1.0, points=breaks or None, epsabs=0, epsrel=1e-11, limit=300)[0]
    assert float(cem43(np.array([start, end], float), np.array([0.0, 60.0]))) == pytest.approx(truth, rel=1e-8)


def test_exponent_is_clamped_and_dtype_follows() -> None:
    dose = cem43(np.array([[200.0], [300.0]], np.float32), np.array([0.0, 60.0]))
    assert dose.dtype == np.float32
    np.testing.assert_allclose(dose, 2.0**25)


def test_missing_samples_and_bad_times() -> None:
    assert np.isnan(cem43(np.array([43.0, np.nan, 43.0]), np.arange(3.0)))
    for times in ([0.0, 0.0, 1.0], [0.0, 2.0, 1.0], [0.0, np.nan, 1.0]):
        with pytest.raises(ValueError, match="rising"):
            cem43(np.zeros(3), np.array(times))
    with pytest.raises(ValueError, match="first axis"):
        cem43(np.zeros(3), np.arange(4.0))


def test_accumulator_equals_the_whole_history() -> None:
    rng = np.random.default_rng(6)
    history, times = 43.0 + 5.0 * rng.normal(size=(20, 3, 4)), np.cumsum(rng.uniform(0.2, 3.0, 20))
    accumulator = DoseAccumulator((3, 4), np.float64)
    for temperature, time in zip(history, times, strict=True):
        accumulator.add(temperature, float(time))
    np.testing.assert_allclose(accumulator.dose_min, cem43(history, times), rtol=1e-12)
    with pytest.raises(ValueError, match="repeated"):
        accumulator.add(history[-1], float(times[-1]))


def test_accumulator_names_what_it_did_not_see() -> None:
    accumulator = DoseAccumulator((2,))
    for time, temperature in enumerate(([43.0, 43.0], [43.0, np.nan], [43.0, 43.0], [43.0, 43.0])):
        accumulator.add(np.array(temperature), 60.0 * time)
    np.testing.assert_allclose(accumulator.dose_min, [3.0, 1.0])
    np.testing.assert_allclose(accumulator.unmonitored_s, [0.0, 120.0])


@pytest.mark.parametrize(("sigma", "factor"), [(1.0, 1.17), (2.0, 1.92)])
def test_noise_gain_of_this_integrator(sigma: float, factor: float) -> None:
    assert float(noise_gain(sigma)) == pytest.approx(factor, abs=0.01)
    noisy = 55.0 + sigma * np.random.default_rng(7).normal(size=(400, 2000))
    inflated = float(cem43(noisy, np.arange(400.0)).mean() / cem43(np.full(400, 55.0), np.arange(400.0)))
    assert inflated == pytest.approx(float(noise_gain(sigma)), rel=0.02)


def test_arrhenius_liver_against_cem43() -> None:
    rate = float(arrhenius_rate(np.array(50.0), ARRHENIUS_SETS["liver"]))
    assert 2.0**7 / rate / 60.0 == pytest.approx(2100.0, rel=0.05)
    assert np.exp(ARRHENIUS_SETS["liver"].ln_frequency) == pytest.approx(5.5e41, rel=0.02)
    times = np.array([0.0, 1.0 / rate])
    assert float(arrhenius_damage(np.full(2, 50.0), times)) == pytest.approx(1.0, rel=1e-9)


@pytest.mark.parametrize(("tissue", "limit"), [("liver", 1e-4), ("skin", 3e-3)])
def test_arrhenius_between_samples(tissue: str, limit: float) -> None:
    fine = np.linspace(45.0, 65.0, 4001)
    coarse = arrhenius_damage(np.array([45.0, 65.0]), np.array([0.0, 10.0]), tissue=tissue)
    assert float(coarse) == pytest.approx(
        float(arrhenius_damage(fine, np.linspace(0, 10, 4001), tissue=tissue)), rel=limit
    )


def test_unknown_arrhenius_set_is_named() -> None:
    with pytest.raises(ValueError, match="liver"):
        arrhenius_damage(np.zeros(2), np.arange(2.0), tissue="stone")
