"""Stacks carried to the reference position, on the simulator's heated, breathing patient."""

from dataclasses import replace

import numpy as np
import pytest

from guidance.bench.following import FOLLOWED, PIXEL_MM, SHAPE, STEP_NS, STILL, peak_min, scenario, treat
from guidance.lanes.following import Follower, with_motion
from guidance.thermometry import ThermometryPipeline, ThermometrySettings
from guidance.trial import build
from sim.phantom.mr import MrSignal, SequenceSettings
from sim.scanner import stack_geometry


def patient(amplitude_mm: float):
    return build(scenario(amplitude_mm, voxel_mm=2.0), 1, 0).truth.world


@pytest.fixture(scope="module")
def breathing():
    return treat(1, 15.0)


def test_dose_of_a_breathing_target_is_right_at_material_points(breathing):
    followed = breathing[FOLLOWED]
    assert followed.error_c < 0.3
    assert followed.true.max() > 1000
    assert followed.peak_ratio == pytest.approx(1.0, abs=0.05)
    assert np.abs(followed.apart_px()).max() < 0.5


def test_the_peak_of_a_dose_does_not_depend_on_where_the_voxels_lie():
    """A focus of the width that a lesion has, in voxels: 27 degC above 37, held for some seconds."""
    hottest = []
    for at in np.linspace(0.0, 0.5, 6):
        y, x = np.mgrid[-8:9, -8:9] - at
        dose = 2.0 ** (64.0 - 43.0 - 27.0 * (1.0 - np.exp(-(y**2 + x**2) / 8.0)))
        hottest.append(dose.max())
        assert peak_min(dose) == pytest.approx(2.0**21, rel=0.03)
    assert min(hottest) < 0.6 * max(hottest)


def test_without_following_the_dose_is_smeared(breathing):
    assert breathing[STILL].peak_ratio < 0.75
    assert np.abs(breathing[STILL].apart_px()).mean() > 0.5


def test_a_stack_that_is_not_the_patient_gives_no_map():
    world = patient(5.0)
    signal = MrSignal(world, SequenceSettings(), stack_geometry("sagittal", world.target_mm, SHAPE, 2.0, 5.0), SHAPE)
    rng = np.random.default_rng(1)
    follower = Follower(3)
    for k in range(3):
        assert follower.follow(signal.frame(k * STEP_NS, rng)).verdict == "acquiring_reference"
    good = signal.frame(4 * STEP_NS, rng)
    assert follower.follow(good).verdict == "ok"
    assert follower.follow(np.zeros_like(good)).verdict == "blank"
    assert follower.follow(np.ascontiguousarray(np.rot90(good, axes=(1, 2)))).verdict != "ok"
    with pytest.raises(ValueError, match="slices"):
        follower.follow(np.concatenate([good, good]))


def test_a_coronal_stack_that_the_liver_leaves_forwards_is_not_used():
    world = patient(15.0)
    geometry = stack_geometry("coronal", world.target_mm, SHAPE, PIXEL_MM, 5.0)
    signal = MrSignal(world, SequenceSettings(snr=60.0), geometry, SHAPE)
    across = geometry[:3, 2] / np.linalg.norm(geometry[:3, 2])
    rng, follower, seen = np.random.default_rng(1), Follower(24), []
    for k in range(70):
        verdict = follower.follow(signal.frame(k * STEP_NS, rng)).verdict
        if k > 40:
            seen.append((abs(float(world.displacement_mm(k * STEP_NS) @ across)), verdict))
    assert {verdict for through_mm, verdict in seen if through_mm > 2.2} == {"through_plane"}
    assert {verdict for through_mm, verdict in seen if through_mm < 1.0} == {"ok"}


def test_an_error_of_the_displacement_enters_sigma_where_the_map_is_steep():
    world = patient(0.0)
    signal = MrSignal(
        world, SequenceSettings(snr=200.0), stack_geometry("sagittal", world.target_mm, SHAPE, 2.0, 5.0), SHAPE
    )
    rng = np.random.default_rng(1)
    pipeline = ThermometryPipeline(ThermometrySettings(echo_time_s=0.016, field_t=3.0, t0_c=37.0))
    follower = Follower(2)
    for k in range(8):
        followed = follower.follow(signal.frame(k * STEP_NS, rng))
        frame = pipeline.update(followed.pixels, k * 0.2 + 0.1)
    steep = frame.temperature_c.copy()
    steep[0, 48, 48] += 20.0
    told = with_motion(replace(frame, temperature_c=steep), followed, 3.0)
    assert told.sigma_c[0, 48, 47] > 1.0 > frame.sigma_c[0, 48, 47]
    assert (told.sigma_c >= frame.sigma_c).all()
    assert not told.valid[~followed.known].any()
