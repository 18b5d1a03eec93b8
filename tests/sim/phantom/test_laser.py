"""The simulated head and its fibre: energy, cooling, the vessel and the truth of damage."""

import numpy as np
import pytest

from sim.phantom.anatomy import LABEL, labels_at, mobility_at
from sim.phantom.head import HeadSettings
from sim.phantom.laser import LaserSettings, LaserTissue
from sim.phantom.world import World, WorldSettings

S = 1_000_000_000
COARSE = LaserSettings(voxel_mm=1.5, reach_mm=18.0)
ORIGIN = np.zeros(3)


def burn(tissue, power_w, seconds):
    for _ in range(round(seconds / 0.2)):
        tissue.step(0.2, power_w, ORIGIN, ORIGIN, ())


def test_the_fibre_lies_in_the_tumour_and_the_head_lies_still():
    head = HeadSettings()
    around = np.array([head.tip_mm, np.asarray(head.target_mm) + np.array([0, 5.0, 0]), [0, 0, 77.0], [0, 0, 70.0]])
    assert labels_at(head, around).tolist() == [LABEL[n] for n in ("applicator", "tumour", "fat", "skull")]
    assert not mobility_at(head, around).any()


def test_light_goes_into_the_tissue_and_the_coolant_takes_its_share():
    tissue = LaserTissue(HeadSettings(), COARSE)
    burn(tissue, 10.0, 10.0)
    solver = tissue.solver
    assert solver.delivered_j == pytest.approx(solver.stored_j + solver.carried_off_j, rel=1e-6)
    assert solver.delivered_j < 10.0 * 10.0 * 0.85  # what the coolant takes counts as negative power
    catheter = tissue.labels == LABEL["applicator"]
    assert solver.rise_c[catheter].max() < solver.rise_c[~catheter].max()


def test_damage_is_the_rate_integral_of_the_temperature_that_was():
    tissue = LaserTissue(HeadSettings(), COARSE)
    hottest = np.unravel_index(tissue._light.argmax(), tissue.labels.shape)
    omega = 0.0
    for _ in range(100):
        before = tissue.solver.rise_c[hottest]
        tissue.step(0.2, 9.0, ORIGIN, ORIGIN, ())
        kelvin = 310.15 + 0.5 * (before + tissue.solver.rise_c[hottest])
        omega += 0.2 * 3.1e98 * np.exp(-6.28e5 / (8.314462618 * kelvin))
    assert tissue.omega[hottest] == pytest.approx(omega, rel=2e-2)
    assert omega > 0.01


def test_a_vessel_stays_cool_and_shields_what_lies_behind_it():
    tissue = LaserTissue(HeadSettings(), COARSE)
    burn(tissue, 10.0, 60.0)
    assert tissue.solver.rise_c[tissue.where("vessel")].max() < 3.0
    assert tissue.solver.rise_c[tissue.where("tumour")].mean() > 10.0


def test_the_patient_of_a_world_is_the_head_where_one_is_given():
    world = World(WorldSettings(head=HeadSettings(), laser=COARSE), seed=1, start_ns=0)
    world.drive(S, 10.0, world.target_mm)
    world.advance_to(5 * S)
    assert world.peak_c(5 * S) > 45.0
    assert world.displacement_mm(5 * S).shape == (3,)
    np.testing.assert_allclose(world.moved_mm(world.target_mm, 5 * S), world.target_mm)
