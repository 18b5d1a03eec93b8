"""Breathing, anatomy and heating of one shared patient."""

import msgspec
import numpy as np
import pytest

from sim.phantom.anatomy import LABEL, BodySettings, labels_at, mobility_at
from sim.phantom.breathing import Breathing, BreathingSettings
from sim.phantom.heating import HeatSettings
from sim.phantom.world import World, WorldSettings

S = 1_000_000_000
START = 1_700_000_000 * S


def world(**breathing):
    return World(WorldSettings(breathing=BreathingSettings(**breathing)), seed=3, start_ns=START)


def test_breathing_is_a_function_of_time_and_seed():
    one, same, other = (Breathing(BreathingSettings(), seed) for seed in (1, 1, 2))
    times = np.linspace(0, 60, 400)
    path = np.array([one.displacement_mm(t) for t in times])
    np.testing.assert_array_equal(path, [same.displacement_mm(t) for t in times])
    assert np.abs(path - [other.displacement_mm(t) for t in times]).max() > 1
    assert path[:, 2].min() == pytest.approx(-12, abs=4)
    assert np.abs(np.diff(path, axis=0)).max() < 3  # no jumps between cycles


def test_a_held_breath_does_not_move():
    held = Breathing(BreathingSettings(holds_s=((10.0, 20.0),), drift_mm_per_min=0.0), 1)
    assert held.fraction(10.0) == held.fraction(15.0) == held.fraction(19.99)
    assert held.fraction(20.9) != held.fraction(15.0)


def test_hysteresis_makes_the_way_back_differ():
    settings = BreathingSettings(irregularity=0.0, drift_mm_per_min=0.0, hysteresis_mm=2.0)
    breathing = Breathing(settings, 1)
    out, back = breathing.displacement_mm(1.0), breathing.displacement_mm(3.0)
    assert np.linalg.norm(out - back) > 1
    flat = Breathing(msgspec.structs.replace(settings, hysteresis_mm=0.0), 1)
    np.testing.assert_allclose(flat.displacement_mm(1.0), flat.displacement_mm(3.0), atol=1e-9)


def test_the_target_lies_in_the_liver_and_the_beam_passes_between_ribs():
    body = BodySettings()
    around = np.asarray(body.target_mm) + np.array([[0.0, 0, 0], [12.5, 0, 0], [0, 0, 40.0]])
    assert [LABEL["tumour"], LABEL["liver"], LABEL["liver"]] == labels_at(body, around).tolist()
    beam = np.asarray(body.target_mm) + np.arange(0, 100.0)[:, None] * np.array([1.0, 0, 0])
    assert LABEL["rib"] not in labels_at(body, beam)
    assert LABEL["rib"] in labels_at(body, beam + np.array([0, 0, 13.0]))


def test_the_wall_does_not_move_and_the_organ_does():
    body = BodySettings()
    points = np.array([[160.0, 0, 0], [78.0, 0, 0]])
    np.testing.assert_allclose(mobility_at(body, points), [0, 1])


def test_moved_and_reference_are_inverse():
    patient = world()
    rng = np.random.default_rng(0)
    points = rng.uniform(-100, 100, (200, 3))
    now = START + 2 * S
    np.testing.assert_allclose(patient.reference_mm(patient.moved_mm(points, now), now), points, atol=0.05)


def test_power_heats_the_target_and_nothing_before_it_is_on():
    patient = world(amplitude_mm=0.0)
    patient.advance_to(START + 5 * S)
    assert patient.peak_c(START + 5 * S) == 37.0
    patient.drive(START + 6 * S, 40.0, (78.0, 0.0, 0.0))
    patient.drive(START + 9 * S, 0.0, (78.0, 0.0, 0.0))
    patient.advance_to(START + 8 * S)
    warm = patient.peak_c(START + 8 * S)
    hottest = np.unravel_index(patient.tissue.solver.rise_c.argmax(), patient.tissue.grid.shape)
    where = patient.tissue.grid.points_mm()[hottest]
    assert warm > 45
    assert np.linalg.norm(where - patient.target_mm) < 3
    patient.advance_to(START + 60 * S)
    assert 37 < patient.peak_c(START + 60 * S) < warm
    assert patient.tissue.solver.delivered_j == pytest.approx(3 * 40.0 * 0.25, rel=0.03)


def test_truth_does_not_depend_on_how_often_it_is_asked():
    """The steps are cut by the asker; the difference must stay small."""
    rises = []
    for ask_ms in (50, 200, 1000):
        patient = world()
        patient.drive(START, 40.0, (78.0, 0.0, 0.0))
        for now in range(START, START + 8 * S + 1, ask_ms * 1_000_000):
            patient.advance_to(now)
        rises.append(patient.tissue.solver.rise_c.copy())
    for rise in rises[1:]:
        assert np.abs(rise - rises[0]).max() < 0.03 * rises[0].max()


def test_a_vessel_carries_heat_away():
    hot = {}
    for flow in (True, False):
        settings = WorldSettings(
            breathing=BreathingSettings(amplitude_mm=0.0),
            body=BodySettings(vessel_through_mm=(86.0, 0.0, 0.0)),
            heat=HeatSettings(perfused=flow),
        )
        patient = World(settings, seed=1, start_ns=0)
        patient.drive(0, 40.0, (78.0, 0.0, 0.0))
        patient.advance_to(20 * S)
        hot[flow] = patient.tissue.temperature_c("vessel").max()
    assert hot[False] - 37 > 2 * (hot[True] - 37)
