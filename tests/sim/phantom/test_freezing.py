"""The simulated flank and its needles: heat balance, latent heat, voids in the image, frames at exhale."""

import numpy as np
import pytest

from sim.phantom.anatomy import LABEL, labels_at
from sim.phantom.flank import FlankSettings, organ_at
from sim.phantom.freezing import LATENT_J_PER_M3, LIQUID_C, SOLID_C, CryoSettings, FrozenTissue
from sim.phantom.mr import MrSignal, SequenceSettings
from sim.phantom.world import World, WorldSettings
from sim.scanner import Scanner, stack_geometry

S = 1_000_000_000
COARSE = CryoSettings(voxel_mm=2.5, reach_mm=30.0)
ORIGIN = np.zeros(3)


def freeze(tissue, seconds, shares=(1.0, 1.0, 1.0)):
    for _ in range(round(seconds / 0.3)):
        tissue.step(0.3, 60.0, ORIGIN, ORIGIN, shares)


def test_needles_lie_in_the_tumour_and_organs_beside_it():
    flank = FlankSettings()
    tips = np.array([tip for tip, _ in flank.needles()])
    assert np.linalg.norm(tips - np.asarray(flank.target_mm), axis=1).max() < 14.0
    at = np.array([flank.target_mm, flank.kidney_mm, flank.colon_through_mm])
    assert labels_at(flank, at).tolist() == [LABEL["tumour"], LABEL["kidney"], LABEL["bowel"]]
    assert organ_at(flank, "colon", at).tolist() == [False, False, True]


def test_ice_grows_and_melts_and_blood_does_not_come_back():
    tissue = FrozenTissue(FlankSettings(), COARSE)
    freeze(tissue, 120.0)
    frozen = tissue.temperature_now_c < SOLID_C
    assert frozen.sum() * 2.5**3 > 1500.0
    assert tissue.temperature_now_c.min() > COARSE.gas_c
    freeze(tissue, 600.0, (-1.0, -1.0, -1.0))
    assert (tissue.temperature_now_c[frozen] > 0.0).all()
    assert not tissue._perfused[frozen].any()
    assert tissue.coldest_c[frozen].max() < SOLID_C


def test_melting_takes_the_latent_heat():
    tissue = FrozenTissue(FlankSettings(), COARSE)
    span = tissue._heat.flat[0]
    tissue._heat[:] = LATENT_J_PER_M3
    tissue.step(1e-9, 0.0, ORIGIN, ORIGIN, (0.0, 0.0, 0.0))
    np.testing.assert_allclose(tissue.temperature_now_c, LIQUID_C, atol=1e-3)
    tissue._heat[:] = 0.0
    tissue.step(1e-9, 0.0, ORIGIN, ORIGIN, (0.0, 0.0, 0.0))
    np.testing.assert_allclose(tissue.temperature_now_c, SOLID_C, atol=1e-3)
    assert span > LATENT_J_PER_M3


def test_a_second_freeze_counts_only_after_a_thaw():
    tissue = FrozenTissue(FlankSettings(), COARSE)
    freeze(tissue, 90.0)
    freeze(tissue, 3.0, (0.0, 0.0, 0.0))
    freeze(tissue, 30.0)
    assert tissue.times.max() == 1
    freeze(tissue, 400.0, (-1.0, -1.0, -1.0))
    freeze(tissue, 90.0)
    assert tissue.times.max() == 2


def test_ice_has_no_signal():
    world = World(WorldSettings(flank=FlankSettings(), cryo=COARSE), seed=1, start_ns=0)
    shape = (1, 48, 48)
    signal = MrSignal(
        world, SequenceSettings(snr=200.0), stack_geometry("axial", world.target_mm, shape, 2.0, 4.0), shape
    )
    before = np.abs(signal.frame(S, np.random.default_rng(1)))
    world.drive(S, 60.0, world.target_mm, (1.0, 1.0, 1.0))
    now = np.abs(signal.frame(150 * S, np.random.default_rng(1)))
    cold = signal.temperature_c(150 * S) < -5.0
    assert cold.sum() > 30
    assert np.median(now[cold] / before[cold]) < 0.1
    warm = signal.temperature_c(150 * S) > 36.0
    assert np.median(now[warm] / before[warm]) == pytest.approx(1.0, abs=0.1)


def test_a_triggered_scanner_waits_for_the_exhale():
    world = World(WorldSettings(flank=FlankSettings(), cryo=COARSE), seed=1, start_ns=0)
    scanner = Scanner(
        name="mr", world=world, rng=np.random.default_rng(1), start_ns=0, rate_hz=0.5, shape=(1, 16, 16), triggered=True
    )
    times = []
    for _ in range(12):
        times.append(scanner.ready_ns())
        scanner.advance(scanner.next_due_ns())
    assert all(world.breathing.fraction(at / S) <= 0.02 for at in times)
    assert np.diff(times).min() > 0
