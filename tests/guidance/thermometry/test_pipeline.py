"""One stream: precision, dose with its bound, and a name for everything that can be wrong."""

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from devices.quality import Quality
from guidance.errors import SettingsError
from guidance.thermometry import ThermometryPipeline, ThermometrySettings, cem43, region_facts
from guidance.thermometry.frame import DoseState, SharedError
from guidance.thermometry.plain import HOT_BIT


def started(phantom: Any, settings: ThermometrySettings | None = None, **kwargs: Any) -> ThermometryPipeline:
    pipeline = ThermometryPipeline(settings or phantom.settings, **kwargs)
    for number in range(pipeline.settings.reference_dynamics):
        frame = pipeline.update(phantom.frame(), float(number))
        assert (frame.state, frame.quality) == ("acquiring_reference", Quality.MISSING)
        assert not frame.valid.any()
        assert np.isnan(frame.temperature_c).all()
    return pipeline


def test_error_over_predicted_sigma(phantom: Any) -> None:
    pipeline = started(phantom)
    ratios = []
    for number in range(10):
        frame = pipeline.update(phantom.frame(), 4.0 + number)
        error = (frame.temperature_c - 37.0) / frame.sigma_c
        ratios.append(float(np.sqrt(np.mean(error[phantom.tissue] ** 2))))
    assert frame.state == "ok"
    assert frame.noise == pytest.approx(phantom.noise, rel=0.02)
    assert 0.95 < np.median(ratios) < 1.05


@pytest.mark.parametrize("gain", [10.0, 0.1])
def test_sigma_holds_when_the_receiver_gain_changes(phantom: Any, gain: float) -> None:
    pipeline = started(phantom)
    sigma_c = float(np.median(pipeline.update(phantom.frame(), 4.0).sigma_c[phantom.tissue]))
    frame = pipeline.update((gain * phantom.frame()).astype(np.complex64), 5.0)
    error = (frame.temperature_c - 37.0)[phantom.tissue]
    assert frame.state == "ok"
    assert float(np.sqrt(np.mean(error**2))) == pytest.approx(sigma_c, rel=0.05)
    told = float(np.median(frame.sigma_c[phantom.tissue]))
    assert told == pytest.approx(sigma_c, rel=0.05) if gain > 1.0 else told > sigma_c


def test_pixels_of_any_recent_frame_are_a_repetition_but_nothing_is_no_signal(phantom: Any) -> None:
    pipeline = started(phantom)
    frames = [phantom.frame(0.5 * number * phantom.spot) for number in range(4)]
    states = [pipeline.update(image, 5.0 + number).state for number, image in enumerate([*frames, frames[1].copy()])]
    assert states == ["ok"] * 4 + ["repeated_frame"]
    empty = np.zeros_like(frames[0])
    assert [pipeline.update(empty.copy(), 20.0 + number).state for number in range(2)] == ["no_signal"] * 2


def test_drift_and_wraps_are_followed(phantom: Any) -> None:
    pipeline = started(phantom, replace(phantom.settings, drift_order=2))
    row, column = np.mgrid[-1:1:48j, -1:1:64j]
    for number in range(60):
        heat = min(0.8 * number, 40.0) * phantom.spot
        drift = 0.05 * number * (1.0 + 0.5 * row - 0.3 * column * row)
        frame = pipeline.update(phantom.frame(heat + drift), 4.0 + number)
    assert frame.state == "ok"
    error = (frame.temperature_c - 37.0 - heat)[phantom.tissue]
    assert abs(float(error.mean())) < 0.1
    assert float(error.std()) < 0.45
    assert float(frame.temperature_c[1, 24, 32]) > 74.0
    assert np.nanmax(np.abs(frame.temperature_c)) < 200.0


def test_drift_by_a_reference_region(phantom: Any) -> None:
    region = np.zeros(phantom.shape, bool)
    region[:, 6:14, 8:56] = True
    pipeline = started(phantom, drift_region=region)
    for number in range(20):
        frame = pipeline.update(phantom.frame(0.2 * number + 5.0 * (1.0 - region)), 4.0 + number)
    assert float(frame.temperature_c[phantom.tissue & ~region].mean()) == pytest.approx(42.0, abs=0.1)


def test_dose_is_unbiased_and_bounded(phantom: Any) -> None:
    history = [np.minimum(1.5 * number, 18.0) * phantom.spot for number in range(30)]
    times = np.arange(30.0)
    truth = cem43(37.0 + np.array(history), times)
    hot = truth > 10.0
    biases, covered = [], []
    for seed in range(4):
        phantom.rng = np.random.default_rng(seed)
        pipeline = started(phantom)
        for heat, time in zip(history, times, strict=True):
            frame = pipeline.update(phantom.frame(heat), 4.0 + time)
        biases.append(frame.dose_cem43_min[hot].mean() / truth[hot].mean() - 1.0)
        covered.append(np.mean(frame.dose_upper_cem43_min[hot] >= truth[hot]))
        assert frame.dose_known[hot].all()
    assert abs(np.median(biases)) < 0.05
    assert 0.93 <= np.mean(covered) <= 0.975


def test_the_bound_counts_the_error_of_the_baseline_as_one_that_comes_again(phantom: Any) -> None:
    frame = started(phantom).update(phantom.frame(), 4.0)
    one = np.ones(phantom.shape, np.float32)
    dose = DoseState(one, 0.0 * one, np.full(phantom.shape, HOT_BIT, np.uint8))
    shared = SharedError(one.astype(np.complex64), 0.0, 0.3, 0.4)
    bound = replace(frame, dose=dose, shared_error=shared).dose_upper_cem43_min
    log_variance = math.log1p((math.log(2.0) * 0.5) ** 2)
    assert np.allclose(bound, math.exp(1.645 * math.sqrt(log_variance) + 0.5 * log_variance), rtol=1e-3)


def test_dose_is_unknown_where_it_was_not_seen(phantom: Any) -> None:
    pipeline = started(phantom)
    for number in range(8):
        image = phantom.frame()
        image[1, 20:24, 20:24] *= 0.02
        frame = pipeline.update(image, 4.0 + number)
    assert not frame.dose_known[1, 20:24, 20:24].any()
    assert np.isinf(frame.dose_upper_cem43_min[1, 21, 21])
    assert frame.dose_known[0][phantom.tissue[0]].all()


def test_a_long_gap_makes_the_dose_unknown(phantom: Any) -> None:
    pipeline = started(phantom)
    for time in (4.0, 5.0, 30.0):
        frame = pipeline.update(phantom.frame(), time)
    assert frame.state == "ok"
    assert not frame.dose_known.any()


def test_signal_void_comes_back_unwrapped(phantom: Any) -> None:
    pipeline = started(phantom)
    for number in range(60):
        heat = min(1.5 * number, 40.0) * phantom.spot
        image = phantom.frame(heat)
        if 45 <= number < 50:
            image[:, 20:29, 28:37] = 0.0
        frame = pipeline.update(image, 4.0 + number)
        if number == 47:
            assert np.isnan(frame.temperature_c[1, 24, 32])
            assert not frame.valid[1, 24, 32]
    assert float(frame.temperature_c[1, 24, 32]) == pytest.approx(77.0, abs=1.5)


def _zero(image: NDArray[Any]) -> NDArray[Any]:
    return np.zeros_like(image)


def _nan(image: NDArray[Any]) -> NDArray[Any]:
    image[:, ::3] = np.nan
    return image


def _slice(image: NDArray[Any]) -> NDArray[Any]:
    image[1] = 0.0
    return image


def _dark(image: NDArray[Any]) -> NDArray[Any]:
    image[:, 10:30] *= 0.01
    return image


@pytest.mark.parametrize(
    ("spoil", "state"),
    [
        (_zero, "no_signal"),
        (_nan, "not_finite"),
        (_slice, "missing_slice"),
        (_dark, "few_valid_voxels"),
        (lambda image: image[:, :-1], "shape_changed"),
    ],
)
def test_bad_pixels_have_a_name(phantom: Any, spoil: Any, state: str) -> None:
    pipeline = started(phantom)
    pipeline.update(phantom.frame(), 4.0)
    frame = pipeline.update(spoil(phantom.frame()), 5.0)
    assert frame.state == state
    assert not frame.quality.usable
    assert frame.reason
    assert pipeline.update(phantom.frame(), 6.0).state == "ok"


def test_a_slice_without_signal_is_no_reference(phantom: Any) -> None:
    """Else the slice would have no tissue, and no frame could tell that it is missing."""
    pipeline = ThermometryPipeline(phantom.settings)
    for number in range(6):
        frame = pipeline.update(_slice(phantom.frame()), float(number))
        assert (frame.state, frame.detail) == ("missing_slice", "slice 1, refused as reference")
        assert not frame.quality.usable
    coils = ThermometryPipeline(phantom.settings)
    both = np.stack([_slice(phantom.frame()), 0.5 * _slice(phantom.frame())])
    assert coils.update(both, 0.0).state == "missing_slice"
    for number in range(6, 12):
        frame = pipeline.update(phantom.frame(), float(number))
    assert frame.state == "ok"


@pytest.mark.parametrize("slice_index", [0, 1])
def test_a_volume_may_reach_out_of_the_body_where_nothing_is_heated(phantom: Any, slice_index: int) -> None:
    pipeline = ThermometryPipeline(phantom.settings)
    pipeline.heated = np.zeros(phantom.shape, bool)
    pipeline.heated[slice_index, 30:34, 30:34] = True
    frames = [pipeline.update(_slice(phantom.frame()), float(number)) for number in range(8)]
    assert frames[-1].state == ("missing_slice" if slice_index == 1 else "ok")
    assert not frames[-1].valid[1].any(), "and there is no temperature"


def test_bad_sequence_has_a_name(phantom: Any) -> None:
    pipeline = started(phantom)
    image = phantom.frame()
    assert pipeline.update(image, 4.0, echo_times_s=(0.016,), field_t=3.0).state == "ok"
    assert pipeline.update(phantom.frame(), 5.0, echo_times_s=(0.010,)).state == "echo_time_changed"
    assert pipeline.update(phantom.frame(), 5.0, field_t=2.895).state == "field_changed"
    assert pipeline.update(phantom.frame(), 4.0).state == "time_not_rising"
    assert pipeline.update(image, 5.0).state == "repeated_frame"
    assert pipeline.update(phantom.frame(), 6.0).state == "ok"


def test_a_flipped_sign_shows_as_cooling(phantom: Any) -> None:
    pipeline = started(phantom, replace(phantom.settings, phase_sign=-1))
    for number in range(10):
        frame = pipeline.update(phantom.frame(2.0 * number * phantom.spot), 4.0 + number)
    assert frame.state == "cooling"
    assert not frame.quality.usable


def test_bad_reference_frames_are_refused(phantom: Any) -> None:
    pipeline = ThermometryPipeline(phantom.settings)
    assert pipeline.update(_nan(phantom.frame()), 0.0).state == "not_finite"
    assert pipeline.update(_zero(phantom.frame()), 1.0).state == "no_signal"
    assert pipeline.update(phantom.frame(), 2.0).reason == "acquiring reference (1 of 4)"
    with pytest.raises(ValueError, match="complex"):
        pipeline.update(np.zeros(phantom.shape), 3.0)
    with pytest.raises(ValueError, match="echoes"):
        pipeline.update([phantom.frame(), phantom.frame()], 3.0)


def test_re_zero_keeps_the_dose_and_the_residual(phantom: Any) -> None:
    pipeline = started(phantom)
    for number in range(10):
        frame = pipeline.update(phantom.frame(10.0 * phantom.spot), 4.0 + number)
    dose = frame.dose_cem43_min.copy()
    with pytest.raises(ValueError, match="above T0"):
        pipeline.re_zero()
    pipeline.re_zero(residual_c=(10.0 * phantom.spot).astype(np.float32))
    for number in range(4):
        assert pipeline.update(phantom.frame(10.0 * phantom.spot), 14.0 + number).state == "acquiring_reference"
    frame = pipeline.update(phantom.frame(10.0 * phantom.spot), 18.0)
    assert float(frame.temperature_c[1, 24, 32]) == pytest.approx(47.0, abs=1.5)
    assert (frame.dose_cem43_min >= dose).all()
    assert frame.dose_known[phantom.tissue].all()


def test_coils_and_echoes(phantom: Any) -> None:
    settings = replace(phantom.settings, more_echo_times_s=(0.024,))
    pipeline = ThermometryPipeline(settings)
    gains = np.exp(1j * np.arange(3.0)).reshape(3, 1, 1, 1) * np.array([1.0, 0.5, 0.7]).reshape(3, 1, 1, 1)

    def frame(heat: Any) -> list[NDArray[np.complex64]]:
        echoes = []
        for echo, decay in ((0, 1.0), (1, 0.6)):
            phase = np.asarray(heat) / settings.degrees_per_radian(echo)
            noise = phantom.rng.normal(size=(2, 3, *phantom.shape)) * phantom.noise
            clean = gains * decay * phantom.signal * np.exp(1j * phase)
            echoes.append((clean + noise[0] + 1j * noise[1]).astype(np.complex64))
        return echoes

    for number in range(40):
        heat = max(0.0, number - 5.0) * phantom.spot
        found = pipeline.update(frame(heat), float(number), echo_times_s=(0.016, 0.024))
    error = (found.temperature_c - 37.0 - heat)[phantom.tissue]
    sigma = found.sigma_c[phantom.tissue]
    assert abs(float(error.mean())) < 0.05
    assert 0.95 < float(np.sqrt(np.mean((error / sigma) ** 2))) < 1.06
    assert float(sigma.mean()) < 0.2


def test_excluded_tissue_has_no_temperature(phantom: Any) -> None:
    fat = np.zeros(phantom.shape, bool)
    fat[:, 5:10] = True
    frame = started(phantom, excluded=fat).update(phantom.frame(), 4.0)
    assert frame.state == "ok"
    assert np.isnan(frame.temperature_c[fat]).all()
    assert not frame.valid[fat].any()


@pytest.mark.parametrize("share", [0.0, 0.5])
def test_ice_has_no_temperature_where_the_settings_say_so(phantom: Any, share: float) -> None:
    settings = replace(phantom.settings, void_share=share, sigma_display_c=10.0, sigma_dose_c=9.0, cooling_alarm_c=None)
    pipeline = ThermometryPipeline(settings)
    for number in range(4):
        pipeline.update(phantom.frame(), float(number))
    ice = phantom.spot > 0.5
    signal = phantom.signal
    phantom.signal = np.where(ice, 0.1 * signal, signal)
    frame = pipeline.update(phantom.frame(), 4.0)
    phantom.signal = signal
    assert frame.valid[ice].any() == (share == 0.0)
    assert np.isnan(frame.temperature_c[ice]).all() == (share > 0.0)
    assert frame.valid[phantom.tissue & ~ice].all()


def test_slow_frames_warn(phantom: Any) -> None:
    pipeline = started(phantom)
    pipeline.update(phantom.frame(), 4.0)
    frame = pipeline.update(phantom.frame(8.0 * phantom.spot), 8.0)
    assert any("slow frames" in warning for warning in frame.warnings)


def test_facts_of_a_region(phantom: Any) -> None:
    pipeline = started(phantom)
    for number in range(12):
        frame = pipeline.update(phantom.frame(12.0 * phantom.spot), 4.0 + 10.0 * number / 10.0)
    region = phantom.spot > 0.5
    facts = region_facts(frame, region, limit_c=45.0)
    assert facts["state"] == "ok"
    assert facts["max_c"] == pytest.approx(49.0, abs=1.5)
    assert facts["t90_c"] < facts["t50_c"] < facts["t10_c"] < facts["max_c"]
    assert facts["over_connected"] == facts["over_voxels"] > 3
    assert facts["valid_share"] == 1.0
    with pytest.raises(ValueError, match="no voxel"):
        region_facts(frame, np.zeros(phantom.shape, bool))


def test_every_fault_of_the_settings_at_once() -> None:
    with pytest.raises(SettingsError) as caught:
        ThermometrySettings(echo_time_s=16.0, field_t=123.0, t0_c=310.0, baseline="magic", drift_order=3)
    assert len(caught.value.faults) == 4
