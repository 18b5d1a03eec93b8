"""Water and fat by three echoes: amplitudes, field, mask; the temperature of water beside fat in one voxel."""

import numpy as np
import pytest

from guidance.errors import SettingsError
from guidance.thermometry import ThermometryPipeline, ThermometrySettings
from guidance.thermometry.combine import combine_echoes
from guidance.thermometry.prf import degrees_per_radian, prf_temperature_change
from guidance.thermometry.waterfat import FAT_SHARE, FatSubtraction, fat_factors, separate
from guidance.units import GAMMA_BAR_MHZ_PER_T

FIELD_T = 1.5
TIMES = (0.0119, 0.0135, 0.0151)  # about a third of fat's turn apart at 1.5 T
SHAPE = (1, 48, 48)
Y, X = np.indices(SHAPE[1:])


def phantom(heat_c=0.0, drift_hz=0.0, noise=0.0, seed=1):
    """Fat on the right, mixture in the middle, water on the left; a smooth field."""
    rng = np.random.default_rng(seed)
    share = np.clip((X - 16) / 16.0, 0.0, 1.0)[None]
    field = (30.0 * np.sin(X / 20.0) + 0.5 * Y)[None]
    shift_hz = -0.01 * GAMMA_BAR_MHZ_PER_T * FIELD_T * heat_c
    out = []
    for t, c in zip(TIMES, fat_factors(TIMES, FIELD_T), strict=True):
        water = (1.0 - share) * np.exp(2j * np.pi * shift_hz * t)
        echo = (water + share * c) * np.exp(2j * np.pi * (field + drift_hz) * t)
        echo = echo + noise * (rng.standard_normal(SHAPE) + 1j * rng.standard_normal(SHAPE))
        out.append(echo.astype(np.complex64))
    return share, field, out


def test_the_spectrum_of_fat():
    assert FAT_SHARE.sum() == pytest.approx(1.0, abs=0.01)
    assert fat_factors([0.0], FIELD_T)[0] == pytest.approx(1.0)
    opposed = fat_factors([1.0 / (2 * 3.4 * GAMMA_BAR_MHZ_PER_T * FIELD_T)], FIELD_T)[0]
    assert opposed.real < -0.6


def test_water_fat_and_field_come_out():
    share, field, echoes = phantom(noise=0.01)
    found = separate(echoes, TIMES, FIELD_T)
    assert np.abs(found.fat_share - share).mean() < 0.03
    inner = np.s_[:, 4:-4, 4:-4]
    assert np.median(np.abs(found.field_hz - field)[inner]) < 4.0
    mask = found.mask()
    assert mask[share > 0.45].mean() > 0.98
    assert mask[share < 0.15].mean() < 0.02


def naive_and_model(heat_c, drift_hz=0.0, known_hz=0.0):
    share, _, before = phantom()
    _, _, now = phantom(heat_c=heat_c, drift_hz=drift_hz)
    taken = FatSubtraction(separate(before, TIMES, FIELD_T), TIMES, FIELD_T)
    water, still = taken.water(now, known_hz), taken.water(before)
    scales = [degrees_per_radian(t, FIELD_T) for t in TIMES]
    last = np.full(SHAPE, heat_c, np.float32)
    image, reference, scale = combine_echoes(water, still, scales, last)
    model = np.angle(image * reference.conj()) * scale
    naive = prf_temperature_change(now[1], before[1], echo_time_s=TIMES[1], field_t=FIELD_T)
    return share, naive, model


def test_half_fat_reads_the_temperature_of_its_water():
    share, naive, model = naive_and_model(20.0)
    mixed = (share > 0.1) & (share < 0.5)
    inner = np.zeros(SHAPE, bool)
    inner[:, 4:-4, 4:-4] = True
    assert np.abs(naive - 20.0)[mixed & inner].mean() > 3.0
    assert np.abs(model - 20.0)[mixed & inner].mean() < 0.7
    assert np.abs(model - 20.0)[(share == 0.0) & inner].mean() < 0.2


def test_a_drift_that_is_known_moves_the_fat_too():
    share, _, blind = naive_and_model(0.0, drift_hz=2.0)
    _, _, told = naive_and_model(0.0, drift_hz=2.0, known_hz=2.0)
    drift_c = 2.0 / (-0.01 * GAMMA_BAR_MHZ_PER_T * FIELD_T)
    mixed = (share > 0.2) & (share < 0.5)
    assert np.abs(told - drift_c)[mixed].mean() < 0.5 * np.abs(blind - drift_c)[mixed].mean()


@pytest.mark.parametrize(
    ("echoes", "times", "match"),
    [(2, TIMES[:2], "at least 3"), (3, TIMES[:2], "at least 3"), (3, TIMES[::-1], "must rise")],
)
def test_bad_input(echoes, times, match):
    stack = [np.ones(SHAPE, np.complex64)] * echoes
    with pytest.raises(ValueError, match=match):
        separate(stack, times, FIELD_T)
    with pytest.raises(ValueError, match="shapes"):
        separate([*stack[:2], np.ones((1, 4, 4), np.complex64)], TIMES, FIELD_T)


@pytest.mark.parametrize("fat", ["ignore", "mask", "model"])
def test_the_pipeline_with_three_echoes(fat):
    settings = ThermometrySettings(
        echo_time_s=TIMES[0], more_echo_times_s=TIMES[1:], field_t=FIELD_T, t0_c=37.0, t0_sigma_c=0.0, drift_order=-1,
        fat=fat, fastest_c_per_s=100.0, valid_share_min=0.3, sigma_dose_c=3.0,
    )  # fmt: skip
    share, _, _ = phantom()
    pipeline = ThermometryPipeline(settings)
    for number in range(4):
        pipeline.update(phantom(noise=0.01, seed=number)[2], float(number))
    frame = pipeline.update(phantom(heat_c=8.0, noise=0.01, seed=9)[2], 4.0)
    inner = np.zeros(SHAPE, bool)
    inner[:, 4:-4, 4:-4] = True
    error = np.abs(frame.temperature_c - 45.0)
    mixed, pure_fat = inner & (share > 0.15) & (share < 0.45), inner & (share > 0.8)
    assert error[inner & (share == 0.0)].mean() < 0.6
    if fat == "ignore":
        assert (error[pure_fat] > 5.0).mean() > 0.9  # a plausible temperature that is wrong
        return
    assert not frame.valid[pure_fat].any()
    assert np.isnan(frame.temperature_c[pure_fat]).all()
    if fat == "model":
        assert error[mixed].mean() < 1.5


def test_fat_needs_three_echoes():
    with pytest.raises(SettingsError, match="at least three echoes"):
        ThermometrySettings(echo_time_s=0.016, field_t=3.0, t0_c=37.0, fat="mask")
