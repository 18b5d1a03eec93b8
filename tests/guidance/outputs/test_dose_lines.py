"""Contours of dose and forecast lie where the dose is, at the levels that are said."""

from typing import Any

import numpy as np
import pytest

from guidance.outputs.dose_lines import LEVELS_MIN, NECROSIS_MIN, dose_lines, outlines_at
from guidance.outputs.planes import Plane, plane_through, sample_nearest

CENTRE, GRID_MM, PIXEL_MM = np.array([70.0, -5.0, 12.0]), 1.0, 0.5
HALF = 24


def lesion(radius_mm: float) -> tuple[np.ndarray, np.ndarray]:
    """240 CEM43 at `radius_mm`, half as much with every further millimetre; and where its grid lies."""
    axis = (np.arange(2 * HALF + 1) - HALF) * GRID_MM
    r = np.sqrt(axis[:, None, None] ** 2 + axis[None, :, None] ** 2 + axis[None, None, :] ** 2)
    ras = np.eye(4)
    ras[:3, :3], ras[:3, 3] = np.diag([GRID_MM] * 3), CENTRE - HALF * GRID_MM
    return NECROSIS_MIN * 2.0 ** (radius_mm - r), ras


def radii_mm(points: np.ndarray, plane: Plane) -> Any:
    return np.hypot(*((points - (plane.size - 1) / 2.0) * PIXEL_MM).T)


@pytest.mark.parametrize("view", ["axial", "coronal", "sagittal"])
def test_every_level_is_a_circle_of_its_radius(view: str) -> None:
    dose, ras = lesion(10.0)
    plane = plane_through(view, CENTRE, 128, PIXEL_MM)
    on_plane = sample_nearest(dose, ras, plane)
    for level in LEVELS_MIN:
        (line,) = outlines_at(on_plane, level)
        found = radii_mm(line, plane)
        assert found.mean() == pytest.approx(10.0 + np.log2(NECROSIS_MIN / level), abs=0.6), level
        assert np.ptp(found) < 2.0


def painted(picture: np.ndarray) -> np.ndarray:
    """(column, row) of the pixels that have a colour; casings are black."""
    return np.argwhere(picture[..., :3].max(axis=-1) > 100)[:, ::-1]


def test_what_is_measured_and_what_is_forecast_are_drawn_apart() -> None:
    dose, ras = lesion(8.0)
    ahead, _ = lesion(14.0)
    plane = plane_through("axial", CENTRE, 128, PIXEL_MM)
    picture = np.zeros((128, 128, 4), np.uint8)
    dose_lines(picture, plane, {})
    assert not picture.any()
    dose_lines(picture, plane, {"forecast_min": ahead, "forecast_ras": ras})
    dots = radii_mm(painted(picture), plane)
    assert len(dots) > 10
    assert np.abs(dots - 14.0).max() < 3.0
    picture = np.zeros((128, 128, 4), np.uint8)
    dose_lines(picture, plane, {"region_dose_min": dose, "region_ras": ras})
    lines = radii_mm(painted(picture), plane)
    assert lines.min() > 5.5
    assert lines.max() == pytest.approx(8.0 + np.log2(NECROSIS_MIN / LEVELS_MIN[0]), abs=1.5)
    thick, thin = (np.count_nonzero(np.abs(lines - r) < 1.2) / r for r in (8.0, 8.0 + np.log2(24.0)))
    assert thick > 1.5 * thin, "necrosis is the thick line"
