"""Stacks carried to the reference position, on the simulator's heated, breathing patient."""

from dataclasses import replace

import msgspec
import numpy as np
import pytest
from scipy.ndimage import map_coordinates

from guidance.lanes.following import Follower, bridged, with_motion
from guidance.thermometry import ThermometryPipeline, ThermometrySettings
from sim.phantom.mr import MrSignal, SequenceSettings
from sim.phantom.sampling import smooth_samples
from sim.phantom.world import World, WorldSettings
from sim.scanner import stack_geometry

STEP_NS = 200_000_000
SHAPE = (1, 96, 96)
PIXEL_MM = 2.0
FIRST, LEARN, HEAT_S = 24, 30, 8.0


def patient(amplitude_mm: float, voxel_mm: float = 2.0):
    values = {
        "breathing": {"amplitude_mm": amplitude_mm, "period_s": 4.2, "drift_mm_per_min": 0.0},
        "heat": {"efficiency": 0.075, "focus_sigma_mm": (6.0, 4.0, 4.0), "near_share": 0.0, "voxel_mm": voxel_mm},
    }
    return World(msgspec.convert(values, WorldSettings, strict=False), seed=1, start_ns=0)


def sample(world, values, points):
    grid = world.tissue.grid
    return smooth_samples(values, (points - np.asarray(grid.origin_mm)) / grid.voxel_mm).reshape(SHAPE)


def treat(amplitude_mm: float, follows: bool, power_w: float = 300.0, voxel_mm: float = 1.0, noise: int = 3):
    """Dose (rows, columns) that is measured and true at the same material points, and errors of T near the target."""
    world = patient(amplitude_mm, voxel_mm)
    geometry = stack_geometry("sagittal", world.target_mm, SHAPE, PIXEL_MM, 5.0)
    signal = MrSignal(world, SequenceSettings(snr=100.0, drift_hz_per_min=0.3), geometry, SHAPE)
    points = signal.points_mm
    around = np.linalg.norm(points - world.target_mm, axis=-1).reshape(SHAPE)
    pipeline = ThermometryPipeline(
        ThermometrySettings(
            echo_time_s=0.016, field_t=3.0, t0_c=37.0, baseline="pca", reference_dynamics=LEARN, drift_order=1
        ),
        heated=around < 27,
    )
    follower = Follower(FIRST) if follows else None
    if follower:
        follower.heated = around < 22
    rng = np.random.default_rng(noise)
    material, true, rate, errors, frame = points, np.zeros(SHAPE), 0.0, [], None
    heat_from = FIRST + LEARN + 2
    for k in range(heat_from + round((HEAT_S + 3) * 5)):
        for part in range(4):
            at_ns = k * STEP_NS + part * STEP_NS // 4
            heats = heat_from <= k < heat_from + HEAT_S * 5
            world.drive(at_ns, power_w if heats else 0.0, world.moved_mm(world.target_mm, at_ns))
            if k >= heat_from:
                world.advance_to(at_ns)
                over = 37.0 + sample(world, world.tissue.solver.rise_c, material) - 43.0
                now = np.where(over >= 0, 2.0**over, 4.0**over)
                true += 0.5 * (rate + now) * STEP_NS / 4 / 60e9
                rate = now
        now_ns = (k + 1) * STEP_NS
        pixels = signal.frame(now_ns, rng)
        if follower:
            followed = follower.follow(pixels)
            if followed.verdict != "ok":
                material = world.reference_mm(points, (follower.chosen + 1) * STEP_NS)
                continue
            pixels = followed.pixels
        frame = pipeline.update(pixels, now_ns / 1e9)
        if k >= heat_from and frame.state == "ok":
            seen_at = material if follower else world.reference_mm(points, now_ns)
            truth = 37.0 + sample(world, world.tissue.solver.rise_c, seen_at)
            near = (around < 12) & np.isfinite(frame.temperature_c)
            errors.append(float(np.sqrt(np.mean((frame.temperature_c - truth)[near] ** 2))))
    return frame.dose_cem43_min[0], true[0], float(np.median(errors))


def test_dose_of_a_breathing_target_is_right_at_material_points():
    dose, true, error_c = treat(15.0, follows=True)
    assert error_c < 0.3
    assert true.max() > 1000
    assert dose.max() == pytest.approx(true.max(), rel=0.05)
    middle = np.unravel_index(true.argmax(), true.shape)
    apart = outline_mm(dose, middle, 240.0) - outline_mm(true, middle, 240.0)
    assert np.abs(apart).max() < 0.5 * PIXEL_MM


def outline_mm(dose, middle, level):
    """Distance from the middle (row, column) to where the dose falls below the level, in 32 directions."""
    out = np.arange(0, 12, 0.02)
    found = []
    for angle in np.arange(32) * np.pi / 16:
        line = np.array(middle, np.float64)[:, None] + np.outer((np.sin(angle), np.cos(angle)), out)
        values = map_coordinates(np.log(np.maximum(dose, 1e-3)), line, order=3)
        found.append(out[np.argmax(values < np.log(level))] * PIXEL_MM)
    return np.array(found)


def test_without_following_the_dose_is_smeared():
    dose, true, _ = treat(15.0, follows=False)
    assert dose.max() < 0.75 * true.max()


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


def test_brightness_that_heat_takes_away_does_not_move_the_tissue():
    y, x = np.mgrid[:60, :60].astype(np.float32)
    field = np.stack([0.01 * x, 2 + 0.02 * y], axis=-1)
    hot = np.hypot(x - 30, y - 30) < 8
    wrong = field.copy()
    wrong[hot] += 3.0
    assert np.abs(bridged(wrong, hot) - field).max() < 1e-4


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
