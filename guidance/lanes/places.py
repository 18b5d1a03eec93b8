"""Regions that a person placed on the image: balls of voxels, measured in every frame like the guards of the plan."""

import numpy as np
from numpy.typing import NDArray

from devices.messages import Matrix
from guidance.thermometry import ThermometryFrame
from guidance.thermometry.hot import joined_level_c

Facts = dict[str, float | int | str | bool | None]
VALID_SHARE = 0.8  # of a region's voxels must have a temperature for it to be known
JOINED = 3


class PlacedRegions:
    """State of the guard lane: where the regions are."""

    def __init__(self) -> None:
        self._balls: dict[str, tuple[NDArray[np.float64], float]] = {}  # name -> point RAS mm, radius mm
        self._masks: dict[str, NDArray[np.bool_]] = {}
        self._cut_for: tuple[bytes, tuple[int, ...]] = (b"", ())

    def place(self, name: str, at_mm: tuple[float, float, float], radius_mm: float) -> int:
        """From the next frame on the ball round a point is measured under `name`; radius 0 takes it away."""
        self._balls.pop(name, None)
        if radius_mm > 0.0:
            self._balls[name] = (np.asarray(at_mm, np.float64), radius_mm)
        self._cut_for = (b"", ())
        return len(self._balls)

    def facts(self, frame: ThermometryFrame, expected: NDArray[np.float32], ras_from_image: Matrix) -> Facts:
        """For each region: `known`, what is `expected` (a map in degC) until the next answer, maximum and mean."""
        if not self._balls:
            return {}
        shape = frame.temperature_c.shape
        if self._cut_for != (ras_from_image.tobytes(), shape):
            self._cut_for = (ras_from_image.tobytes(), shape)
            size = (shape[0], shape[1], shape[2])
            self._masks = {name: ball_mask(*ball, ras_from_image, size) for name, ball in self._balls.items()}
        out: Facts = {}
        for name, mask in self._masks.items():
            out |= {f"{name}.{key}": value for key, value in self._measured(frame, expected, mask).items()}
        return out

    def _measured(self, frame: ThermometryFrame, expected: NDArray[np.float32], mask: NDArray[np.bool_]) -> Facts:
        valid = mask & frame.valid
        seen = int(np.count_nonzero(valid))
        if frame.state != "ok" or seen < max(VALID_SHARE * np.count_nonzero(mask), 1.0):
            return {"known": False}
        shown = frame.temperature_c[valid]
        return {
            "known": True,
            "region_c": joined_level_c(expected, valid, min(JOINED, seen)),
            "voxel_c": float(expected[valid].max()),
            "max_c": float(shown.max()),
            "mean_c": float(shown.mean(dtype=np.float64)),
        }


def ball_mask(
    at_mm: NDArray[np.float64], radius_mm: float, ras_from_image: Matrix, shape: tuple[int, int, int]
) -> NDArray[np.bool_]:
    """Voxels [slice, row, column] whose centre lies within `radius_mm` of a point (3,) RAS mm, and the one it is in."""
    index = np.indices(shape)[::-1].reshape(3, -1).astype(np.float64)
    away = (ras_from_image[:3, :3] @ index).T + (ras_from_image[:3, 3] - at_mm)
    inside: NDArray[np.bool_] = ((away**2).sum(axis=1) <= radius_mm**2).reshape(shape)
    i, j, k = np.floor(np.linalg.solve(ras_from_image, [*at_mm, 1.0])[:3] + 0.5).astype(int)
    if 0 <= i < shape[2] and 0 <= j < shape[1] and 0 <= k < shape[0]:
        inside[k, j, i] = True
    return inside
