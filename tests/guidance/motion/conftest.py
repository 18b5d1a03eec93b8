"""Known motion of real and painted images: the truth that the estimators are held against."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import SimpleITK as sitk
from numpy.typing import NDArray
from scipy import ndimage

Array = NDArray[np.float64]
CINES = ("2020-11-10_KS81_Nav_Pur_1", "2020-11-17_CS31_Nav_Pur_2")


@pytest.fixture(scope="session")
def cine(data_dir: Path) -> Callable[[int], NDArray[np.uint16]]:
    """cine(0 or 1): frames (498, rows, columns) of one real free-breathing liver series."""
    series = [sitk.GetArrayFromImage(sitk.ReadImage(str(data_dir / "liver_cine_mr" / f"{n}.mha"))) for n in CINES]
    return lambda which: series[which]


@pytest.fixture
def liver() -> Array:
    """A painted, non-square liver (90, 72) with vessels, wall and fine texture; seeded."""
    rng = np.random.default_rng(3)
    y, x = np.mgrid[:90, :72]
    image = 120.0 * (np.hypot((y - 45) / 36, (x - 34) / 28) < 1) + 30
    for row, column in rng.uniform((15, 12), (75, 58), (25, 2)):
        image += 150 * np.exp(-((y - row) ** 2 + (x - column) ** 2) / 8)
    texture = ndimage.gaussian_filter(rng.standard_normal((90, 72)), 1.5)
    return ndimage.gaussian_filter(image, 0.8) + 25 * texture / texture.std()


def smooth_field(shape: tuple[int, int], peak_px: float, seed: int, smoothness_px: float = 30.0) -> Array:
    """A smooth random displacement (rows, columns, 2), x then y, with the given largest length."""
    rng = np.random.default_rng(seed)
    parts = [ndimage.gaussian_filter(rng.standard_normal(shape), smoothness_px, mode="wrap") for _ in range(2)]
    field = np.stack(parts, axis=-1)
    return field * (peak_px / np.hypot(*np.moveaxis(field, -1, 0)).max())


def pull(image: Array, field: Array) -> Array:
    """image(p + field(p)) by a fifth-order spline: the image before the tissue moved by `field`."""
    y, x = np.mgrid[: image.shape[0], : image.shape[1]]
    moved: Array = ndimage.map_coordinates(
        image.astype(float), [y + field[..., 1], x + field[..., 0]], order=5, mode="nearest"
    )
    return moved


def end_point_error(field: NDArray[np.float32], truth: Array, reference: Array, margin: int = 8) -> float:
    """Mean end-point error in pixels over the body, `margin` pixels away from the image's edge."""
    body = ndimage.gaussian_filter(reference, 3) > 0.1 * np.percentile(reference, 99.8)
    body[:margin], body[-margin:], body[:, :margin], body[:, -margin:] = False, False, False, False
    return float(np.hypot(*np.moveaxis(field - truth, -1, 0))[body].mean())


@pytest.fixture(scope="session")
def truth() -> SimpleNamespace:
    """The makers of known motion above, for the tests."""
    return SimpleNamespace(smooth_field=smooth_field, pull=pull, end_point_error=end_point_error)
