"""Damage frame by frame: noise taken out, gaps told, and what comes after power-off."""

import numpy as np
import pytest

from guidance.thermometry.burn import DamageMap, Look, spread_after_power_off
from guidance.thermometry.damage import ARRHENIUS_SETS, arrhenius_damage, arrhenius_rate, log_slope_per_c
from guidance.tissue import Tissue

BRAIN = ARRHENIUS_SETS["brain"]


def look(value, time_s, sigma=0.0, shared=0.0, known=True, shape=(1, 4, 4)):
    return Look(
        np.broadcast_to(np.asarray(value, float), shape).copy(), np.full(shape, sigma), np.full(shape, shared),
        np.full(shape, known), time_s,
    )  # fmt: skip


def test_the_map_is_the_integral_of_its_history():
    burnt = DamageMap((1, 4, 4), BRAIN, 10.0)
    history = [37.0, 52.0, 60.0, 57.0, 45.0]
    for number, value in enumerate(history):
        burnt.add(look(value, 4.0 * number))
    wanted = arrhenius_damage(np.array(history), 4.0 * np.arange(5), tissue="brain")
    np.testing.assert_allclose(burnt.omega, wanted, rtol=1e-9)
    np.testing.assert_allclose(burnt.sure, burnt.omega, rtol=1e-9)  # without noise there is no doubt


def test_noise_is_taken_out_of_the_mean_and_the_lower_bound_holds():
    rng = np.random.default_rng(5)
    shape, sigma = (1, 200, 200), 0.5
    burnt = DamageMap(shape, BRAIN, 10.0)
    for number in range(10):
        noisy = 55.0 + sigma * rng.standard_normal(shape)
        burnt.add(look(noisy, 4.0 * number, sigma=sigma, shape=shape))
    true = 36.0 * float(arrhenius_rate(np.array(55.0), BRAIN))
    assert burnt.omega.mean() == pytest.approx(true, rel=0.02)
    assert (burnt.sure <= true).mean() == pytest.approx(0.95, abs=0.03)


def test_what_was_not_seen_is_missed_and_not_guessed():
    burnt = DamageMap((1, 4, 4), BRAIN, 10.0)
    burnt.add(look(60.0, 0.0))
    burnt.add(look(60.0, 4.0, known=False))
    burnt.add(look(60.0, 8.0))
    assert not burnt.omega.any()
    assert (burnt.missed == 2).all()
    burnt.add(look(60.0, 30.0))  # a gap beyond the longest
    assert not burnt.omega.any()
    assert (burnt.missed == 3).all()


def test_the_slope_is_what_one_degree_does():
    at = np.array(60.0)
    one = np.log(arrhenius_rate(at + 0.5, BRAIN) / arrhenius_rate(at - 0.5, BRAIN))
    assert float(log_slope_per_c(at, BRAIN)) == pytest.approx(float(one), rel=1e-3)


def test_damage_spreads_after_power_off_and_heat_leaves_through_the_outer_slices():
    rows = np.indices((1, 41, 41))[1:] - 20.0
    hot = 37.0 + 40.0 * np.exp(-(rows**2).sum(axis=0) / 50.0)
    omega = np.zeros(hot.shape)
    spacing, tissue = (4.0, 1.0, 1.0), Tissue(perfusion=6.0)
    after, seconds = spread_after_power_off(hot, omega, spacing, tissue, BRAIN)
    assert 5.0 < seconds < 120.0
    assert (after >= 1.0).sum() > 50
    assert after[0, 20, 20] > after[0, 20, 30]
    three = np.concatenate((hot, hot, hot))  # as hot above and below: it stays hot for longer
    longer, _ = spread_after_power_off(three, np.zeros(three.shape), spacing, tissue, BRAIN)
    assert longer[1, 20, 20] > after[0, 20, 20]


def test_damage_moves_with_the_slices_and_what_they_did_not_see_is_missed():
    burnt = DamageMap((1, 4, 4), BRAIN, 10.0)
    burnt.add(look(60.0, 0.0))
    burnt.add(look(60.0, 4.0))
    moved = burnt.carried(lambda values, nothing: np.stack([values[0], np.full((4, 4), nothing)]))
    np.testing.assert_array_equal(moved.omega[0], burnt.omega[0])
    assert not moved.omega[1].any()
    assert (moved.missed[1] > 1000).all() and not moved.missed[0].any()
    moved.add(look(60.0, 8.0, shape=(2, 4, 4)))  # opens a new step
    np.testing.assert_array_equal(moved.omega[0], burnt.omega[0])
