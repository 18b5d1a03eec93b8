"""Temperature on a picture: what is shown where, in which colour."""

import numpy as np
import pytest
from numpy.typing import NDArray

from guidance.outputs.heat import OPACITY, lay_heat
from guidance.outputs.palette import COLD, MILD, WARM, Scale, temperature_rgb
from guidance.outputs.planes import Plane, plane_through, sample_nearest

SIZE = 64


def laid(temperature_c: NDArray[np.float32], valid: NDArray[np.bool_], plane: Plane, scale: Scale) -> NDArray[np.uint8]:
    picture = np.full((SIZE, SIZE, 4), 90, np.uint8)
    lay_heat(picture, temperature_c, valid, np.diag([2.0, 2.0, 5.0, 1.0]), plane, scale)
    return picture


@pytest.mark.parametrize("scale", [WARM, MILD, COLD])
@pytest.mark.parametrize("view", ["axial", "coronal", "sagittal"])
def test_every_pixel_has_the_colour_of_its_voxel_or_stays(view: str, scale: Scale) -> None:
    rng = np.random.default_rng(5)
    temperature_c = rng.uniform(scale.low_c - 5, scale.high_c + 5, (6, 20, 20)).astype(np.float32)
    temperature_c[rng.random(temperature_c.shape) < 0.1] = np.nan
    valid = rng.random(temperature_c.shape) < 0.8
    plane = plane_through(view, np.array([18.0, 21.0, 12.0]), SIZE, 1.1)
    picture = laid(temperature_c, valid, plane, scale)
    seen = np.where(valid, temperature_c, np.float32(np.nan))
    on_plane = sample_nearest(seen, np.diag([2.0, 2.0, 5.0, 1.0]), plane, outside=float("nan"))
    shown = on_plane <= scale.shown_c if scale.cold else on_plane >= scale.shown_c
    assert 0.05 < shown.mean() < 0.95
    expected = OPACITY * temperature_rgb(on_plane[shown], scale) + (1 - OPACITY) * 90
    assert np.abs(picture[shown, :3] - expected).max() <= 1.0
    assert (picture[~shown] == 90).all() and (picture[..., 3] == 90).all()


@pytest.mark.parametrize(("temperature", "shown"), [(np.nan, False), (37, False), (36, False), (34, True), (-50, True)])
def test_ice_shows_what_is_cold_only(temperature: float, shown: bool) -> None:
    temperature_c = np.full((6, 20, 20), temperature, np.float32)
    plane = plane_through("axial", np.array([18.0, 21.0, 12.0]), SIZE, 0.5)
    assert (laid(temperature_c, np.ones(temperature_c.shape, bool), plane, COLD) != 90).any() == shown
