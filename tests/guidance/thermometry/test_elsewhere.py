"""Other slices, the same tissue."""

from typing import Any

import numpy as np
import pytest

from guidance.thermometry import ThermometryPipeline
from guidance.thermometry.elsewhere import resampler

STEP_MM = 2.5


def _place(rows: float = 0.0, columns: float = 0.0, slices: float = 0.0) -> np.ndarray:
    place = np.diag([STEP_MM, STEP_MM, 5.0, 1.0])
    place[:3, 3] = [columns * STEP_MM, rows * STEP_MM, slices * 5.0]
    return place


def test_values_keep_their_place_in_space() -> None:
    old = np.arange(3 * 6 * 8, dtype=np.float32).reshape(3, 6, 8)
    resample = resampler(_place(), _place(rows=2, columns=-1, slices=1), old.shape)
    new = resample(old, 1, -1.0)
    assert new.dtype == np.float32
    assert (new[:2, :4, 1:] == old[1:, 2:, :-1]).all()
    assert (new[2] == -1.0).all()
    assert (new[:, 4:] == -1.0).all()
    assert (new[:, :, 0] == -1.0).all()
    halfway = resampler(_place(), _place(rows=0.5), old.shape)(old, 1, -1.0)
    assert halfway[1, 2, 3] == pytest.approx(0.5 * (old[1, 2, 3] + old[1, 3, 3]))


def _run(pipeline: ThermometryPipeline, phantom: Any, times: range, heat: Any, place: np.ndarray, rows: int) -> Any:
    answer = None
    for number in times:
        image = np.roll(phantom.frame(heat), -rows, axis=1)  # what slices that start `rows` further down see
        answer = pipeline.update(image, float(number), place=place)
    return answer


def test_dose_survives_other_slices_and_a_new_reference(phantom: Any) -> None:
    pipeline = ThermometryPipeline(phantom.settings)
    hot = 14.0 * phantom.spot
    _run(pipeline, phantom, range(4), 0.0, _place(), 0)
    before = _run(pipeline, phantom, range(4, 30), hot, _place(), 0)
    for number in range(30, 40):
        _run(pipeline, phantom, range(number, number + 1), (40 - number) * 0.1 * hot, _place(), 0)
    before = _run(pipeline, phantom, range(40, 45), 0.0, _place(), 0)
    moved = _run(pipeline, phantom, range(45, 47), 0.0, _place(rows=5), 5)
    assert moved.state == "plane_moved"
    pipeline.re_zero()
    after = _run(pipeline, phantom, range(47, 56), 0.0, _place(rows=5), 5)
    assert after.state == "ok"
    assert before.dose_cem43_min[1, 24, 32] > 20.0
    assert after.dose_cem43_min[1, 19, 32] == pytest.approx(before.dose_cem43_min[1, 24, 32], rel=0.02)
    assert after.dose_cem43_min[1, 24, 32] == pytest.approx(before.dose_cem43_min[1, 29, 32], rel=0.05, abs=0.01)
    assert not after.dose_known[:, 43:].any(), "where the old slices saw nothing the dose is unknown"
    assert (after.dose_known[1, 10:30, 20:44] == before.dose_known[1, 15:35, 20:44]).all()
    assert after.dose_known[1, 10:30, 20:44].mean() > 0.9


def test_residual_heat_moves_with_the_tissue(phantom: Any) -> None:
    pipeline = ThermometryPipeline(phantom.settings)
    hot = 6.0 * phantom.spot
    _run(pipeline, phantom, range(4), 0.0, _place(), 0)
    warm = _run(pipeline, phantom, range(4, 10), hot, _place(), 0)
    pipeline.re_zero(np.where(warm.valid, warm.temperature_c - np.float32(37.0), np.float32(0.0)))
    after = _run(pipeline, phantom, range(10, 16), hot, _place(rows=5), 5)
    assert after.state == "ok"
    assert float(after.temperature_c[1, 19, 32]) == pytest.approx(43.0, abs=1.2)
    assert np.isnan(after.temperature_c[:, 43:]).all(), "what was carried is not known there"
