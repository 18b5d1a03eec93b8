"""The predictor on painted and on real breathing, and what it says when it does not know."""

import csv
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from guidance.motion import PositionPredictor, PredictionState, PredictorSettings
from guidance.motion.autoregression import Ridge


def breathing(t_s):
    """A breath of 4 s in three coordinates, mm."""
    phase = 2 * np.pi * np.asarray(t_s)[..., None] / 4.0
    return np.array([1.0, -3.0, 10.0]) * np.cos(phase + np.array([0.0, 0.3, 0.6]))


def fed(until_s, step_s=0.1, shape=(3,), settings=None):
    predictor = PositionPredictor(settings)
    for t in np.arange(0, until_s, step_s):
        predictor.update(t, breathing(t).reshape(shape))
    return predictor, t


@pytest.mark.parametrize("horizon_s", [0.1, 0.25, 0.5, 1.0])
def test_regular_breathing_is_foreseen(horizon_s):
    predictor, now = fed(60.0)
    forecast = predictor.forecast(horizon_s)
    assert forecast.state is PredictionState.OK
    np.testing.assert_allclose(forecast.position_mm, breathing(now + horizon_s), atol=0.25)
    assert np.abs(breathing(now) - breathing(now + horizon_s)).max() > 0.3


@pytest.mark.parametrize("step_s", [0.016, 0.167])
def test_other_rates_than_the_grid(step_s):
    predictor, now = fed(60.0, step_s)
    np.testing.assert_allclose(predictor.predict(0.4), breathing(now + 0.4), atol=0.6)


def test_shape_is_kept_and_zero_horizon_is_now():
    predictor, now = fed(40.0, shape=(1, 3))
    assert predictor.predict(0.3).shape == (1, 3)
    assert predictor.sigma(0.3).shape == (1, 3)
    np.testing.assert_allclose(predictor.predict(0.0)[0], breathing(now), atol=1e-9)


def test_burn_in_holds_and_says_so():
    predictor, now = fed(20.0)
    forecast = predictor.forecast(0.5)
    assert forecast.state is PredictionState.BURN_IN
    np.testing.assert_array_equal(forecast.position_mm, breathing(now))


def test_a_prediction_beyond_all_experience_is_held():
    predictor, now = fed(60.0, settings=PredictorSettings(hold_beyond=0.01))
    forecast = predictor.forecast(0.5)
    assert forecast.state is PredictionState.HOLD
    np.testing.assert_array_equal(forecast.position_mm, breathing(now))


def test_sigma_is_the_size_of_the_errors():
    rng = np.random.default_rng(5)
    predictor, errors, sigmas, guesses = PositionPredictor(), [], [], {}
    for k in range(900):
        value = breathing(0.1 * k) + 0.2 * rng.standard_normal(3)
        predictor.update(0.1 * k, value)
        if k in guesses:
            errors.append(value - guesses.pop(k))
        if k > 400:
            forecast = predictor.forecast(0.5)
            guesses[k + 5] = forecast.position_mm
            sigmas.append(forecast.sigma_mm)
    spread = np.sqrt(np.mean(np.square(errors), axis=0))
    np.testing.assert_allclose(np.mean(sigmas[100:], axis=0), spread, rtol=0.25)


def test_a_long_gap_starts_learning_afresh():
    predictor, now = fed(60.0)
    predictor.update(now + 5.0, breathing(now + 5.0))
    assert predictor.restarts == 1
    assert predictor.state(0.5) is PredictionState.BURN_IN


def test_memory_is_bounded_and_survives_being_full():
    settings = PredictorSettings(memory_s=40.0)
    predictor, now = fed(130.0, settings=settings)
    assert len(predictor._grid) == 800
    np.testing.assert_allclose(predictor.predict(0.5), breathing(now + 0.5), atol=0.3)


def test_a_horizon_never_asked_for_before_costs_no_frame():
    """The measured latency wanders, so new horizons come at any time: 10 ms of work at the end of a full memory."""
    predictor = PositionPredictor()
    for k in range(1800):
        predictor.update(0.167 * k, breathing(0.167 * k)[1:])
    predictor.forecast(0.15)
    taken = []
    for horizon_s in (0.25, 0.45, 0.65, 0.85):
        begun = time.thread_time()
        assert predictor.forecast(horizon_s).state is PredictionState.OK
        taken.append(time.thread_time() - begun)
    assert min(taken) < 0.010, taken


def test_learning_late_is_learning_all_along():
    """A model that takes in all rows at once equals one that took each as it came."""
    rng = np.random.default_rng(2)
    rows, targets = rng.standard_normal((50, 4)), rng.standard_normal((50, 2))
    late, early = Ridge(4, 2, 0.5, 0.9), Ridge(4, 2, 0.5, 0.9)
    late.absorb(rows, targets)
    for row, target in zip(rows, targets, strict=True):
        early.absorb(row[None], target[None])
    late.solve()
    early.solve()
    np.testing.assert_allclose(late.weights, early.weights, rtol=1e-9)
    age = 0.9 ** np.arange(49, -1, -1.0)
    normal = (rows.T * age) @ rows + np.diag([0.5, 0.5, 0.5, 1e-6])
    np.testing.assert_allclose(late.weights, np.linalg.solve(normal, (rows.T * age) @ targets), rtol=1e-9)


def test_a_wandering_horizon_keeps_one_record_and_old_ones_go():
    predictor, _ = fed(60.0)
    for k in range(600, 1000):
        predictor.update(0.1 * k, breathing(0.1 * k))
        predictor.forecast(0.3 + 0.004 * np.sin(k))
        if k == 650:
            predictor.forecast(1.0)
    assert len(predictor._horizons) == 1
    assert predictor.sigma(0.301).max() < 0.3, "its errors, not the size of the motion"


@pytest.mark.parametrize(
    ("act", "message"),
    [
        (lambda p: p.update(1.0, np.zeros(3)), "time must rise"),
        (lambda p: p.update(99.0, np.zeros(4)), "shape"),
        (lambda p: p.update(99.0, np.array([0, np.nan, 0])), "finite"),
        (lambda p: p.predict(-0.1), "horizon"),
        (lambda p: p.predict(3.5), "horizon"),
        (lambda p: PositionPredictor().predict(0.1), "no measurement"),
    ],
)
def test_refuses(act, message):
    predictor, _ = fed(5.0)
    with pytest.raises(ValueError, match=message):
        act(predictor)


def marker_sessions(folder: Path) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Times (n,) s and positions (n, 3 markers, 3) mm of each session; rows whose stamp runs backwards are left out."""
    names = sorted(folder.glob("*.csv"))
    for session in sorted({(n.name.split("-")[0]) for n in names}):
        tables = []
        for name in (n for n in names if n.name.startswith(session)):
            with name.open(newline="", encoding="utf-8-sig") as file:
                rows = [[float(v.replace(",", ".")) for v in row] for row in list(csv.reader(file, delimiter=";"))[1:]]
            tables.append(np.array(rows))
        times = tables[0][:, 1] / 1000
        good = np.append(True, times[1:] > np.maximum.accumulate(times)[:-1])
        yield times[good], np.stack([table[good, 2:5] for table in tables], axis=1)


@pytest.mark.data
def test_real_markers_are_foreseen_far_better_than_held(data_dir):
    """A quiet session: at 0.5 s less than a third of the error of the position held."""
    times, positions = list(marker_sessions(data_dir / "respiratory_markers"))[1]
    predictor, errors, held = PositionPredictor(), [], []
    for t, position in zip(times, positions, strict=True):
        predictor.update(t, position)
        if 60 <= t <= times[-1] - 0.5:
            truth = [np.interp(t + 0.5, times, column) for column in positions.reshape(len(times), -1).T]
            errors.append(np.square(predictor.predict(0.5).ravel() - truth).sum() / 3)
            held.append(np.square(position.ravel() - truth).sum() / 3)
    assert np.sqrt(np.mean(errors)) < 0.33 * np.sqrt(np.mean(held))


def test_members_speak_for_themselves_and_their_mean_is_the_prediction():
    predictor = PositionPredictor()
    with pytest.raises(ValueError, match="members"):
        predictor.members(0.3)
    for k in range(450):
        predictor.update(k * 0.1, 8.0 * np.cos(2 * np.pi * k * 0.1 / 4.0) * np.ones((2, 3)))
    members = predictor.members(0.33)
    assert members.shape == (6, 2, 3)
    assert np.allclose(members.mean(axis=0), predictor.predict(0.33))
