"""Other slices, the same tissue: what is known per voxel, carried from one stack of slices to another."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Matrix = NDArray[np.float64]
Resample = Callable[[NDArray[Any], int, float], NDArray[Any]]


def resampler(ras_from_old: Matrix, ras_from_new: Matrix, shape: tuple[int, ...]) -> Resample:
    """`resample(array, order, outside)`: an array [slice, row, column] of the old stack on the new one.

    Both stacks have `shape`. A new voxel counts as within the old stack up to half an old voxel beyond its outer
    middles; beyond that it is `outside`. Order 0 is the nearest voxel, 1 linear.
    """
    index = np.indices(shape)[::-1].reshape(3, -1).astype(np.float64)
    old_from_new = np.linalg.inv(ras_from_old) @ ras_from_new
    at = (old_from_new[:3, :3] @ index + old_from_new[:3, 3:])[::-1]
    last = np.array(shape)[:, None] - 1.0
    within = ((at >= -0.5) & (at <= last + 0.5)).all(axis=0)
    at = np.clip(at, 0.0, last)

    def resample(array: NDArray[Any], order: int, outside: float) -> NDArray[Any]:
        found = ndimage.map_coordinates(array, at, order=order, mode="nearest")
        return np.where(within, found, np.asarray(outside, array.dtype)).astype(array.dtype).reshape(shape)

    return resample
