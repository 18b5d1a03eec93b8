"""Controllers on small plants of the tests' own."""

import numpy as np
import pytest

from guidance.therapy import (
    Aim,
    BinaryFeedback,
    BinarySettings,
    PidController,
    PidSettings,
    PredictiveController,
    PredictiveSettings,
)
from guidance.therapy.predictive import within


def follow(controller: PidController, targets: list[float], gain: float = 0.02) -> list[float]:
    temperature, history = 37.0, []
    for second, target in enumerate(targets):
        power = controller.update(temperature, target, float(second))
        temperature += gain * power - 0.0155 * (temperature - 37.0)
        history.append(temperature)
    return history


def test_pid_holds_the_target_without_overshoot() -> None:
    history = follow(PidController(PidSettings(6.0, 0.25, 8.0, power_max_w=40.0)), [42.0] * 400)
    assert max(history) < 42.6
    assert np.abs(np.array(history[200:]) - 42.0).max() < 0.1


def test_pid_does_not_wind_up() -> None:
    controller = PidController(PidSettings(6.0, 0.25, power_max_w=4.0))
    follow(controller, [50.0] * 600)  # out of reach: power at its limit all the time
    assert controller.power_w == 4.0
    assert controller.update(43.0, 42.0, 600.0) < 1.0, "leaves the limit at once"


@pytest.mark.parametrize(("temperature", "time"), [(np.nan, 2.0), (41.0, 1.0), (41.0, 60.0), (np.inf, 2.0)])
def test_pid_without_measurement_does_not_heat(temperature: float, time: float) -> None:
    controller = PidController(PidSettings(6.0, 0.25))
    controller.update(37.0, 42.0, 0.0)
    assert controller.update(37.0, 42.0, 1.0) > 0.0
    assert controller.update(temperature, 42.0, time) == 0.0


def test_pid_slew() -> None:
    controller = PidController(PidSettings(50.0, 0.0, slew_w_per_s=5.0))
    powers = [controller.update(37.0, 42.0, float(second)) for second in range(5)]
    assert powers == [0.0, 5.0, 10.0, 15.0, 20.0]


def test_binary_hysteresis_and_missing_voxels() -> None:
    cells = np.repeat(np.arange(3), 4).reshape(1, 3, 4)
    feedback = BinaryFeedback(cells, BinarySettings())
    valid = np.ones(cells.shape, bool)

    def update(*means: float) -> list[bool]:
        return feedback.update(np.repeat(means, 4).reshape(cells.shape), valid).tolist()

    assert update(40.0, 42.0, 43.0) == [True, False, False]
    assert update(42.0, 40.5, 43.0) == [True, True, False]
    assert update(42.6, 42.4, 41.5) == [False, True, False]
    hot = np.full(cells.shape, 40.0)
    hot[0, 0, 0] = 44.5
    assert feedback.update(hot, valid).tolist() == [False, True, True]
    valid[0, 1, :3] = False
    assert feedback.update(np.full(cells.shape, 40.0), valid).tolist() == [True, False, True]
    with pytest.raises(ValueError, match="cell"):
        BinaryFeedback(np.full((1, 2, 2), -1))


def _plant_step(temperature: np.ndarray, power: np.ndarray, gain: np.ndarray, decay: np.ndarray) -> np.ndarray:
    return temperature + gain @ power - decay * (temperature - 37.0)


def test_predictive_reaches_the_target_and_spares_the_organ() -> None:
    # Points 0 and 1 are targets, 2 an organ beside 1; the real plant is 20 % stronger than what is planned with.
    gain = np.array([[0.02, 0.002], [0.002, 0.02], [0.0, 0.018]])
    decay = np.array([0.015, 0.015, 0.015])
    aim = Aim(np.full(3, 43.0), np.array([1.0, 1.0, 0.0]), np.array([43.5, 43.5, 40.0]))
    controller = PredictiveController(2, PredictiveSettings(power_max_w=12.0))
    response = gain * 4.0
    temperature, history = np.full(3, 37.0), []
    for _ in range(400):
        free = 37.0 + (temperature - 37.0) * (1.0 - decay) ** 4
        power = controller.update(free, response, aim)
        assert (power >= 0.0).all()
        assert power.sum() <= 12.0 + 1e-9
        temperature = _plant_step(temperature, power, 1.2 * gain, decay)
        history.append(temperature)
    path = np.array(history)
    assert path[:, 2].max() < 40.2, "a ceiling outweighs what is wanted"
    assert abs(path[-100:, 0].mean() - 43.0) < 0.3  # point 1, which the organ keeps cool, pulls at the same source
    assert 37.5 < path[-1, 1] < 42.5, "as warm as the organ beside it allows"


def test_predictive_without_a_measurement_or_power_does_not_heat() -> None:
    aim = Aim(np.full(2, 43.0), np.ones(2), np.full(2, np.inf))
    controller = PredictiveController(1, PredictiveSettings(power_max_w=10.0))
    response = np.full((2, 1), 0.1)
    assert controller.update(np.full(2, 37.0), response, aim)[0] == pytest.approx(10.0)
    assert controller.update(np.full(2, 37.0), response, aim, 3.0)[0] == pytest.approx(3.0)
    assert controller.update(np.array([37.0, np.nan]), response, aim)[0] == 0.0
    assert controller.update(np.full(2, 37.0), response, aim, 0.0)[0] == 0.0
    with pytest.raises(ValueError, match="response"):
        controller.update(np.full(3, 37.0), response, aim)


def test_powers_are_projected_onto_what_one_beam_has() -> None:
    rng = np.random.default_rng(3)
    for _ in range(50):
        asked = rng.normal(0.0, 10.0, 6)
        found = within(asked, 12.0)
        assert found.min() >= 0.0
        assert found.sum() <= 12.0 + 1e-9
        others = rng.dirichlet(np.ones(6), 200) * rng.uniform(0.0, 12.0, (200, 1))
        assert ((found - asked) ** 2).sum() <= ((others - asked) ** 2).sum(axis=1).min() + 1e-9, "none is nearer"


def test_bad_settings_are_named() -> None:
    with pytest.raises(ValueError, match="limits"):
        PidController(PidSettings(1.0, 0.0, power_max_w=-1.0))
    with pytest.raises(ValueError, match="rise"):
        BinaryFeedback(np.zeros((1, 1, 1), int), BinarySettings(on_below_c=43.0))
    with pytest.raises(ValueError, match="planned"):
        PredictiveController(0, PredictiveSettings(power_max_w=1.0))
