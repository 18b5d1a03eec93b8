"""Iceball, lethal margin, isotherms."""

import numpy as np
import pytest

from guidance.thermometry.cryo import iceball, isotherm_radius_mm, needle_temperature_c


def test_iceball_is_the_void_at_the_needle_and_nothing_else() -> None:
    z, y, x = np.mgrid[:9, :60, :60].astype(float)
    radius = np.sqrt(((z - 4) * 4.0) ** 2 + (y - 30) ** 2 + (x - 30) ** 2)
    before = np.full(radius.shape, 100.0)
    before[:, :5] = 0.0  # air
    now = np.where(radius < 16.0, 5.0, before)
    now[:, 50:55, 50:55] = 0.0  # a gas bubble far away
    needles = (y == 30) & (x == 30)
    found = iceball(now, before, needles, (4.0, 1.0, 1.0), margin_mm=6.0)
    assert found.ice[4, 30, 20]
    assert not found.ice[4, 52, 52]
    assert not found.ice[4, 2, 30]
    volume = found.ice.sum() * 4.0
    assert volume == pytest.approx(4 / 3 * np.pi * 16.0**3, rel=0.08)
    assert found.depth_mm[4, 30, 36] == pytest.approx(10.0, abs=1.2)
    assert found.lethal.sum() < 0.4 * found.ice.sum()
    assert (found.depth_mm[~found.ice] < 0.0).all()


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
