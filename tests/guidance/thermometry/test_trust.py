"""Tracks: what cannot be unwrapped with certainty is unknown, and comes back by a rule."""

from typing import Any

import numpy as np

from guidance.thermometry import ThermometryPipeline, ThermometrySettings

SCALE = -7.787516
SHAPE = (1, 24, 24)
TURN_C = 2.0 * np.pi * abs(SCALE)


def _frame(rise_c: Any, rng: np.random.Generator) -> Any:
    noise = rng.normal(size=SHAPE) + 1j * rng.normal(size=SHAPE)
    return (100.0 * np.exp(1j * np.broadcast_to(rise_c, SHAPE) / SCALE) + noise).astype(np.complex64)


def _started(rng: np.random.Generator) -> ThermometryPipeline:
    settings = ThermometrySettings(echo_time_s=0.016, field_t=3.0, t0_c=37.0, drift_order=-1)
    pipeline = ThermometryPipeline(settings)
    for number in range(4):
        pipeline.update(_frame(0.0, rng), 0.2 * number)
    return pipeline


def test_a_voxel_of_random_phase_is_unknown_and_never_hot() -> None:
    rng = np.random.default_rng(1)
    pipeline = _started(rng)
    shown = []
    for number in range(60):
        rise = np.zeros(SHAPE)
        rise[0, 5, 5] = rng.uniform(-TURN_C / 2, TURN_C / 2)
        frame = pipeline.update(_frame(rise, rng), 1.0 + 0.2 * number)
        shown += [float(frame.temperature_c[0, 5, 5])] if frame.valid[0, 5, 5] else []
        assert frame.valid.sum() >= frame.valid.size - 1
        assert np.isinf(frame.sigma_c[0, 5, 5]) or frame.valid[0, 5, 5]
    assert len(shown) <= 6
    assert not frame.dose_known[0, 5, 5]
    assert frame.untracked_share > 0.0
    assert max(shown, default=37.0) < 50.0


def test_a_lost_voxel_comes_back_on_the_turn_of_its_neighbours() -> None:
    rng = np.random.default_rng(2)
    pipeline = _started(rng)
    heat = np.zeros(SHAPE)
    for number in range(80):
        heat[0, 6:18, 6:18] = min(0.5 * number, 32.0)  # beyond half a turn in the end
        seen = heat.copy()
        if 20 <= number < 26:
            seen[0, 10, 10] += rng.uniform(-20.0, 20.0)
        frame = pipeline.update(_frame(seen, rng), 1.0 + 0.2 * number)
        if 21 <= number < 26:
            assert not frame.valid[0, 10, 10]
    assert frame.valid.all()
    assert abs(float(frame.temperature_c[0, 10, 10]) - 69.0) < 1.5


def test_slices_that_moved_have_no_temperature() -> None:
    rng = np.random.default_rng(3)
    settings = ThermometrySettings(echo_time_s=0.016, field_t=3.0, t0_c=37.0)
    pipeline = ThermometryPipeline(settings)
    there, elsewhere = np.eye(4), np.eye(4)
    elsewhere[2, 3] = 2.0
    for number in range(6):
        frame = pipeline.update(_frame(0.0, rng), 0.2 * number, place=there)
    assert frame.state == "ok"
    frame = pipeline.update(_frame(0.0, rng), 2.0, place=elsewhere)
    assert (frame.state, frame.quality.usable, frame.valid.any()) == ("plane_moved", False, False)
