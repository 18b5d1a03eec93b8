"""Controllers on small plants of the tests' own."""

import numpy as np
import pytest

from guidance.therapy import (
    BinaryFeedback,
    BinarySettings,
    PidController,
    PidSettings,
    Plant,
    PredictiveController,
    PredictiveSettings,
)


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


def test_predictive_reaches_the_target_and_spares_the_organ() -> None:
    # Point 0 is the target, point 1 an organ; the real plant is 20 % stronger than the model.
    plant = Plant(np.array([[0.02, 0.012], [0.004, 0.012]]), np.array([0.015, 0.02]))
    settings = PredictiveSettings(
        target_c=np.array([43.0, np.nan]), limit_c=np.array([np.inf, 40.0]), power_max_w=np.array([12.0, 12.0])
    )
    controller = PredictiveController(plant, settings)
    temperature, history = np.array([37.0, 37.0]), []
    for _ in range(300):
        power = controller.update(temperature)
        assert (power >= 0.0).all()
        assert (power <= 12.0).all()
        temperature = temperature + 1.2 * plant.gain @ power - plant.decay_per_s * (temperature - 37.0)
        history.append(temperature)
    path = np.array(history)
    assert path[:, 1].max() < 40.0
    assert path[:, 0].max() < 43.3
    assert abs(path[-100:, 0].mean() - 43.0) < 0.1
    assert (controller.update(np.array([np.nan, 38.0])) == 0.0).all()


def test_bad_settings_are_named() -> None:
    with pytest.raises(ValueError, match="limits"):
        PidController(PidSettings(1.0, 0.0, power_max_w=-1.0))
    with pytest.raises(ValueError, match="rise"):
        BinaryFeedback(np.zeros((1, 1, 1), int), BinarySettings(on_below_c=43.0))
    with pytest.raises(ValueError, match="target_c"):
        PredictiveController(
            Plant(np.zeros((2, 1)), np.zeros(2)), PredictiveSettings(np.zeros(1), np.zeros(2), np.zeros(1))
        )
