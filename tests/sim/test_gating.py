"""The score of a gated beam: it must see a beam that stays on."""

import numpy as np
import pytest

from sim.gating import ball_outside_share, gating_score
from sim.phantom.breathing import Breathing, BreathingSettings
from sim.phantom.world import World, WorldSettings

S = 1_000_000_000


@pytest.fixture
def world():
    breathing = BreathingSettings(amplitude_mm=15.0, period_s=4.0, irregularity=0.0, hysteresis_mm=0.0)
    return World(WorldSettings(breathing=breathing), seed=1, start_ns=0)


def test_share_outside_agrees_with_counting():
    y, x = np.mgrid[-15:15:0.05, -15:15:0.05]
    disc = np.hypot(x, y) <= 10
    for away in (0.0, 2.9, 4.0, 8.0, 14.0, 30.0):
        counted = (np.hypot(x[disc] + away, y[disc]) > 13).mean()
        assert ball_outside_share(10.0, away, 3.0) == pytest.approx(counted, abs=0.005)


def test_a_beam_that_stays_on_is_a_miss_and_one_that_is_off_in_time_is_not(world):
    away = [np.linalg.norm(world.displacement_mm(int(t * S))) for t in np.arange(0, 20, 0.01)]
    always = gating_score(world, [(0, 1.0)], [], 20 * S)
    assert always["missed_beam_off"] == always["excursions"] == 5
    assert not always["ok"]
    switched, on = [], False
    for k, way in enumerate(away):
        wanted = way <= 3.0
        if wanted != on:
            on = wanted
            switched.append((k * S // 100 + 200_000_000, float(on)))
    gated = gating_score(world, switched, [], 20 * S)
    assert gated["missed_beam_off"] == 0
    assert 0 < gated["slowest_beam_off_ms"] <= 250
    assert gated["residual_rms_mm"] < gated["ungated_rms_mm"] / 2


def test_a_cough_is_short_and_as_large_as_said():
    still = BreathingSettings(amplitude_mm=0.0, hysteresis_mm=0.0, drift_mm_per_min=0.0, coughs_s=((5.0, 8.0),))
    way = [np.linalg.norm(Breathing(still, seed=1).displacement_mm(t)) for t in np.arange(0, 10, 0.01)]
    assert max(way) == pytest.approx(8.0, rel=0.1)
    assert way[499] == way[581] == 0.0
