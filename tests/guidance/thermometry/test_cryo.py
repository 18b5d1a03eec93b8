"""Iceball, lethal margin, isotherms."""

import numpy as np
import pytest

from guidance.thermometry.cryo import iceball, isotherm_radius_mm, needle_temperature_c, temperature_in_ice


def test_iceball_is_the_void_at_the_needle_and_nothing_else() -> None:
    z, y, x = np.mgrid[:11, :60, :60].astype(float)
    radius = np.sqrt(((z - 5) * 4.0) ** 2 + (y - 30) ** 2 + (x - 30) ** 2)
    before = np.full(radius.shape, 100.0)
    before[:, :5] = 0.0  # air
    now = np.where(radius < 16.0, 5.0, before)
    now[:, 50:55, 50:55] = 0.0  # a gas bubble far away
    needles = (y == 30) & (x == 30)
    found = iceball(now, before, needles, (4.0, 1.0, 1.0), margin_mm=6.0)
    assert found.ice[5, 30, 20]
    assert not found.ice[5, 52, 52]
    assert not found.ice[5, 2, 30]
    assert found.between == 4
    assert np.count_nonzero(found.fine_mm > 0.0) == pytest.approx(4 / 3 * np.pi * 16.0**3, rel=0.08)
    depth = (16.0 - radius)[np.abs(radius - 16.0) < 8.0]
    assert np.abs(found.depth_mm[np.abs(radius - 16.0) < 8.0] - depth).mean() < 0.5
    np.testing.assert_array_equal(found.depth_mm, found.fine_mm[::4])
    assert found.lethal.sum() < 0.4 * found.ice.sum()
    assert (found.depth_mm[~found.ice] < 0.5).all()


def test_the_void_of_a_needle_cuts_no_slit_and_is_no_ice_of_its_own() -> None:
    y, x = np.mgrid[:60, :60].astype(float)
    before = np.full((1, 60, 60), 100.0)
    needles = ((np.abs(x - 30) < 1) & (y > 20))[None]  # shaft from the middle to the lower border
    before[needles] = 3.0
    now = np.where(np.hypot(y - 30, x - 30)[None] < 12.0, 4.0, before)
    found = iceball(now, before, needles, (4.0, 1.0, 1.0))
    assert found.ice[0, 30, 30] and found.ice[0, 38, 30]
    assert not found.ice[0, 50, 30]
    assert not iceball(before, before, needles, (4.0, 1.0, 1.0)).ice.any()


def ball(radius_mm: float, step_mm: float) -> np.ndarray:
    half = int(radius_mm / step_mm) + 4
    axis = step_mm * np.arange(-half, half + 1)
    return np.asarray(axis)


@pytest.mark.parametrize("step_mm", [1.0, 1.5])
def test_isotherms_of_one_needle_are_those_of_the_cylinder(step_mm: float) -> None:
    axis = ball(18.0, step_mm)
    y, x = np.meshgrid(axis, axis, indexing="ij")
    radius = np.hypot(y, x)
    count = round(120.0 / step_mm)
    fine = np.broadcast_to(18.0 - radius, (count, *radius.shape)).astype(np.float32)  # a long cylinder
    middle = len(axis) // 2
    needle = np.stack((np.arange(count), np.full(count, middle), np.full(count, middle)))
    found = temperature_in_ice(fine, [(needle, -140.0)], step_mm)
    again = temperature_in_ice(fine, [(needle, -140.0)], step_mm, start_c=found)
    wanted = needle_temperature_c(radius, 18.0)
    between = (radius > 4.0) & (radius < 18.0)
    for slices in (found, again):
        np.testing.assert_allclose(slices[count // 2][between], wanted[between], atol=3.0)
    assert not found[count // 2][radius > 19.0].any()


def test_two_needles_freeze_what_lies_between_them_deeper_than_one() -> None:
    axis = ball(18.0, 1.5)
    y, x = np.meshgrid(axis, axis, indexing="ij")
    fine = np.broadcast_to(18.0 - np.hypot(y, x), (12, len(axis), len(axis))).astype(np.float32)
    middle = len(axis) // 2
    rows = [np.stack((np.arange(12), np.full(12, middle), np.full(12, middle + off))) for off in (-4, 4)]
    one = temperature_in_ice(fine, [(rows[0], -140.0)], 1.5)
    two = temperature_in_ice(fine, [(row, -140.0) for row in rows], 1.5)
    assert two[6, middle, middle] < one[6, middle, middle] - 20.0


def test_isotherms() -> None:
    radius = isotherm_radius_mm(-40.0, 18.0)
    assert float(needle_temperature_c(np.array(radius), 18.0)) == pytest.approx(-40.0)
    assert isotherm_radius_mm(0.0, 18.0) == pytest.approx(18.0)
    assert radius < isotherm_radius_mm(-20.0, 18.0) < 18.0
    assert float(needle_temperature_c(np.array(25.0), 18.0)) == 0.0


def test_bad_input() -> None:
    image, nothing = np.ones((1, 4, 4)), np.zeros((1, 4, 4), bool)
    with pytest.raises(ValueError, match="needle"):
        iceball(image, image, nothing, (1.0, 1.0, 1.0))
    with pytest.raises(ValueError, match="shapes"):
        iceball(image, image[:, :2], nothing, (1.0, 1.0, 1.0))
    with pytest.raises(ValueError, match="finite"):
        iceball(image * np.nan, image, ~nothing, (1.0, 1.0, 1.0))
    with pytest.raises(ValueError, match="isotherm"):
        isotherm_radius_mm(5.0, 10.0)
