"""A breathing organ with a beam in it, made by the tests' own explicit heat equation."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage

from guidance.load import config_file, load_room
from guidance.settings import Heating

STEP_MM, PERIOD_S = 2.5, 0.5
REACH_MM = 36.0  # beyond this from the target nothing is warm
SHARE, ALONG_MM, ACROSS_MM = 0.12, 5.0, 3.0  # of the beam as it really is


class Organ:
    """Heat on a grid of 2.5 mm around the target of `hifu_liver`; frames of five coronal slices that see it move."""

    def __init__(self, seed: int = 1) -> None:
        settings, plan, _ = load_room(config_file("procedures", "hifu_liver"))
        assert plan is not None
        assert settings.heating is not None
        self.plan = plan
        self.center = np.array([78.0, 0.0, 0.0])
        self.row: Heating = settings.heating.model_copy(update={"motion_direction": None})
        assert self.row.beam is not None
        self.beam = self.row.beam.model_copy(update={"sigma_across_mm": ACROSS_MM, "focal_share": SHARE})  # as it is
        self.rng = np.random.default_rng(seed)
        axis = np.arange(-16, 17) * STEP_MM
        self.offset = np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), axis=-1)  # R, A, S from the target
        self.rise = np.zeros(self.offset.shape[:3])
        self.dose = np.zeros(self.offset.shape[:3])
        self.texture = ndimage.gaussian_filter(self.rng.normal(size=(64, 64)), 1.5)
        self.texture = 100.0 + 20.0 * self.texture / self.texture.std()
        self.time_s = 100.0
        self.slant = 0.0  # of the way down, what the organ moves across the slices

    def place(self, across_mm: float = 0.0) -> NDArray[np.float64]:
        """Columns run to the left, rows to the feet, slices forwards; the target lies in the middle."""
        place = np.eye(4)
        place[:3, 0], place[:3, 1], place[:3, 2] = [-STEP_MM, 0, 0], [0, 0, -STEP_MM], [0, 5.0, 0]
        place[:3, 3] = self.center + np.array([31 * STEP_MM, -10.0 + across_mm, 31 * STEP_MM])
        return place

    def heat(self, power_w: float, focus_mm: Any, seconds: float) -> None:
        """Explicit diffusion with perfusion of 16 kg/m3/s; dose by the rectangle rule in small steps."""
        along = self.offset[..., 0] - focus_mm[0] + self.center[0]
        across2 = ((self.offset + self.center - np.asarray(focus_mm)) ** 2).sum(axis=-1) - along**2
        shape = np.exp(-0.5 * (along / ALONG_MM) ** 2 - 0.5 * across2 / ACROSS_MM**2)
        source = power_w * SHARE * shape / ((2 * np.pi) ** 1.5 * ALONG_MM * ACROSS_MM**2 * 1e-9 * 1040 * 3630)
        spread, loss = 0.51 / (1040 * 3630) / (STEP_MM * 1e-3) ** 2, 16 * 3617 / (1040 * 3630)
        step = seconds / 5
        for _ in range(5):
            self.rise += step * (spread * _curvature(self.rise) + source - loss * self.rise)
            over = self.rise - 6.0  # above 43 degC
            self.dose += np.exp2(np.where(over >= 0, over, 2.0 * over)) * step / 60
        self.time_s += seconds

    def at(self, volume: NDArray[np.float64], points_mm: NDArray[np.float64]) -> NDArray[np.float64]:
        """Values at RAS points of tissue at rest."""
        index = ((points_mm - self.center) / STEP_MM + 16.0).T
        return np.asarray(ndimage.map_coordinates(volume, index, order=3))

    def frame(self, across_mm: float = 0.0, sigma_c: float = 0.2) -> dict[str, Any]:
        """What thermometry answers: the organ is 0 to 7.5 mm down, most of the time near rest."""
        place, down_px = self.place(across_mm), 3.0 * np.sin(np.pi * self.time_s / 4.0) ** 4
        grid = np.indices((5, 64, 64))[::-1].reshape(3, -1)
        points = (place[:3, :3] @ grid).T + place[:3, 3] + np.array([0, -self.slant, 1]) * down_px * STEP_MM
        near = np.abs(points - self.center).max(axis=1) <= REACH_MM
        rise = np.zeros(len(points))
        rise[near] = self.at(self.rise, points[near])
        temperature = (37.0 + rise).reshape(5, 64, 64)
        magnitude = ndimage.shift(self.texture, (down_px, 0.0), order=3, mode="nearest")
        noise = sigma_c * self.rng.normal(size=temperature.shape)
        return {
            "state": "ok", "ras_from_image": place, "time_s": self.time_s,
            "magnitude": np.broadcast_to(magnitude, temperature.shape).astype(np.float32),
            "temperature_c": (temperature + noise).astype(np.float32),
            "sigma_c": np.full(temperature.shape, sigma_c, np.float32), "valid": np.ones(temperature.shape, bool),
        }  # fmt: skip


def _curvature(rise: NDArray[np.float64]) -> NDArray[np.float64]:
    """Sum of what six neighbours are above each voxel; nothing passes the border."""
    total = np.zeros_like(rise)
    for axis in range(3):
        flow = np.diff(rise, axis=axis)
        low, high = [slice(None)] * 3, [slice(None)] * 3
        low[axis], high[axis] = slice(None, -1), slice(1, None)
        total[tuple(low)] += flow
        total[tuple(high)] -= flow
    return total


@pytest.fixture
def organ() -> Organ:
    return Organ()
