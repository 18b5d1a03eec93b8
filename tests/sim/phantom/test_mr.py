"""The MR signal: sign and size of the phase, fat, noise, determinism."""

import numpy as np
import pytest

from sim.phantom.breathing import BreathingSettings
from sim.phantom.mr import MrSignal, SequenceSettings
from sim.phantom.world import World, WorldSettings
from sim.scanner import stack_geometry

S = 1_000_000_000
SHAPE = (3, 64, 64)


def signal(seed=1, amplitude_mm=0.0, **sequence):
    world = World(WorldSettings(breathing=BreathingSettings(amplitude_mm=amplitude_mm)), seed=seed, start_ns=0)
    geometry = stack_geometry("coronal", world.target_mm, SHAPE, 3.0, 5.0)
    return world, MrSignal(world, SequenceSettings(**sequence), geometry, SHAPE)


def test_one_radian_is_the_published_number_of_degrees():
    """-1 rad at TE 16 ms and 1.5 T is +15.575032 degC with phase_sign +1."""
    _, mr = signal(field_t=1.5)
    assert -1 / mr.rad_per_c == pytest.approx(15.575032, abs=1e-6)
    _, turned = signal(field_t=1.5, phase_sign=-1)
    assert turned.rad_per_c == -mr.rad_per_c


def test_phase_tells_the_true_temperature():
    world, mr = signal(snr=1e6, drift_hz_per_min=0.0, breathing_hz=0.0)
    before = mr.frame(0, np.random.default_rng(0))
    world.drive(0, 30.0, (78.0, 0.0, 0.0))
    after = mr.frame(4 * S, np.random.default_rng(0))
    true = mr.temperature_c(4 * S) - 37.0
    told = np.angle(after * np.conj(before)) / mr.rad_per_c
    inside = (np.abs(before) > 0.3) & (np.abs(true) < 20)
    assert true.max() > 5
    np.testing.assert_allclose(told[inside], true[inside], atol=0.6)  # partial volume at organ borders
    assert np.median(np.abs(told[inside] - true[inside])) < 0.01


def test_fat_does_not_shift():
    world, mr = signal(snr=1e6, drift_hz_per_min=0.0, breathing_hz=0.0)
    mr._shifts = np.zeros_like(mr._shifts)
    before = mr.frame(0, np.random.default_rng(0))
    world.tissue.solver.rise_c[:] = 10.0
    after = mr.frame(0, np.random.default_rng(0))
    assert np.abs(np.angle(after * np.conj(before)))[np.abs(before) > 0.3].max() < 1e-3


def test_noise_has_the_stated_ratio():
    _, mr = signal(snr=25.0, drift_hz_per_min=0.0)
    rng = np.random.default_rng(5)
    frames = np.stack([mr.frame(0, rng) for _ in range(30)])
    assert frames.real.std(axis=0).mean() == pytest.approx(1 / 25, rel=0.03)


def test_breathing_moves_the_picture_and_the_field():
    _, mr = signal(snr=1e6, amplitude_mm=12.0)
    rng = np.random.default_rng(0)
    exhale, inhale = mr.frame(0, rng), mr.frame(2 * S, rng)
    still = np.abs(exhale) > 0.3
    assert np.abs(np.angle(inhale * np.conj(exhale))[still]).mean() > 0.05
    assert np.abs(np.abs(inhale) - np.abs(exhale))[still].mean() > 0.02


def test_seed_and_times_decide_everything():
    frames = []
    for seed in (1, 1, 2):
        _, mr = signal(seed=seed, amplitude_mm=12.0)
        rng = np.random.default_rng(seed)
        frames.append(np.stack([mr.frame(n * S // 5, rng) for n in range(4)]))
    np.testing.assert_array_equal(frames[0], frames[1])
    assert np.abs(frames[0] - frames[2]).max() > 0.05
