"""Boxes, outlines and damage of the guard lane."""

import numpy as np
import pytest

from guidance.lanes.box import cut_box, outlines
from guidance.lanes.cryo import CryoWork, warm_cryo
from guidance.lanes.damage import DamageWork
from guidance.load import config_file, load_room

AXIAL = np.array([[-1.0, 0, 0, 96.0], [0, -1.0, 0, 84.0], [0, 0, 4.0, 17.0], [0, 0, 0, 1]])  # tumour at (64, 64, 2)
SIZE = (5, 128, 128)


@pytest.fixture(scope="module")
def laser():
    settings, plan, _ = load_room(config_file("procedures", "laser_brain"))
    return settings, plan


def volume(temperature, ras=AXIAL):
    return {
        "state": "ok", "ras_from_image": ras, "temperature_c": temperature.astype(np.float32),
        "sigma_c": np.full(SIZE, 0.3, np.float32), "valid": np.ones(SIZE, bool),
    }  # fmt: skip


def hot(ras=AXIAL):
    index = np.indices(SIZE)[::-1].reshape(3, -1)
    points = (ras[:3, :3] @ index).T + ras[:3, 3]
    away = np.linalg.norm(points - [32.0, 20.0, 25.0], axis=1).reshape(SIZE)
    return 37.0 + 35.0 * np.exp(-0.5 * (away / 8.0) ** 2), away


def test_outlines_lie_where_the_map_crosses_its_level():
    _, away = hot()
    points, counts = outlines(7.0 - away, 0.0, AXIAL)
    assert counts.sum() == len(points)
    radius = np.linalg.norm(points - [32.0, 20.0, 25.0], axis=1)
    assert np.abs(radius - 7.0).max() < 0.4
    nothing, none = outlines(np.full((2, 8, 8), -1.0), 0.0, AXIAL)
    assert nothing.shape == (0, 3) and none.size == 0


def test_a_box_holds_its_target_and_nothing_outside_of_the_image_has_one(laser):
    box = cut_box(laser[1], "tumour", 20.0, AXIAL, SIZE)
    assert box.target.sum() * box.voxel_cm3 == pytest.approx(4 / 3 * np.pi * 0.7**3, rel=0.1)
    far = AXIAL.copy()
    far[0, 3] = 500.0
    with pytest.raises(ValueError, match="outside of the image"):
        cut_box(laser[1], "tumour", 20.0, far, SIZE)


def test_damage_stays_when_the_slices_move(laser):
    work = DamageWork(*laser)
    heat, _ = hot()
    for second in (0.0, 4.0, 8.0):
        facts, arrays = work.damage(time_s=second, **volume(heat))
    assert facts["known"] and facts["damage_cm3"] > 1.0
    assert facts["forecast_cm3"] > facts["damage_cm3"]
    assert arrays["damage.points"].shape[1] == 3
    moved = AXIAL.copy()
    moved[2, 3] += 2.0  # half a slice further
    later, _ = work.damage(time_s=12.0, **volume(np.full(SIZE, 37.0), moved))
    assert later["damage_cm3"] == pytest.approx(facts["damage_cm3"], rel=0.25)


def test_a_frame_without_temperature_says_so(laser):
    facts, arrays = DamageWork(*laser).damage(time_s=0.0, **volume(hot()[0]) | {"state": "no_signal"})
    assert facts == {"state": "no_signal", "known": False} and arrays == {}


def test_ice_is_unknown_in_slices_that_were_not_seen_before_it():
    settings, plan, _ = load_room(config_file("procedures", "cryo_kidney"))
    warm_cryo()
    work = CryoWork(settings, plan)
    ras = AXIAL.copy()
    ras[:3, 3] = [144.0, 2.0, -18.0]
    image = np.full(SIZE, 100.0, np.float32)
    none = (0.0, 0.0, 0.0)
    for second in range(5):
        facts, _ = work.iceball(
            time_s=float(second), freezing=none, cycle=0, begun=False, magnitude=image, **volume(image * 0 + 37.0, ras)
        )
    assert facts["known"] and facts["ice_cm3"] == 0.0
    assert facts["colon.gap_mm"] > 5.0
    ras[2, 3] += 4.0
    facts, _ = work.iceball(
        time_s=9.0, freezing=none, cycle=1, begun=True, magnitude=image, **volume(image * 0 + 37.0, ras)
    )
    assert facts == {"state": "plane_moved", "known": False}
