"""How hot a region is: the temperature that one voxel, or several joined ones, reach."""

import numba
import numpy as np
from numpy.typing import NDArray

from guidance.thermometry.frame import ThermometryFrame


def expected_c(
    frame: ThermometryFrame, last: ThermometryFrame | None, period_s: float, late_s: float = 0.0
) -> NDArray[np.float32]:
    """What every voxel may have reached when the next answer comes, degC: T + 2 sigma, and more where it rises.

    What rose since `last` goes on rising for a `period_s`, unless noise alone can make it (2 sigma of the difference).
    For the time that the frame is late only what is beyond noise goes on: over several periods the hottest of many
    noisy voxels would be above every limit.
    """
    upper = frame.temperature_c + np.float32(2.0) * frame.sigma_c
    if last is None or last.temperature_c.shape != upper.shape:
        return upper
    step_s = max(frame.time_s - last.time_s, 1e-3)
    rise = frame.temperature_c - last.temperature_c
    beyond = rise - np.float32(2.0) * np.hypot(frame.sigma_c, last.sigma_c)
    rises = beyond > 0.0
    upper[rises] += rise[rises] * np.float32(period_s / step_s) + beyond[rises] * np.float32(late_s / step_s)
    return upper


@numba.njit(nogil=True, cache=True)
def _root(parent, index):  # type: ignore[no-untyped-def]
    while parent[index] != index:
        parent[index] = parent[parent[index]]
        index = parent[index]
    return index


@numba.njit(nogil=True, cache=True)
def _joined_level(values, order, shape, wanted):  # type: ignore[no-untyped-def]
    slices, rows, columns = shape
    parent = np.full(values.size, -1, np.int64)
    size = np.ones(values.size, np.int64)
    for n in range(order.size):
        here = order[n]
        parent[here] = here
        k, rest = divmod(here, rows * columns)
        j, i = divmod(rest, columns)
        for dk in range(-1, 2):
            for dj in range(-1, 2):
                for di in range(-1, 2):
                    c, b, a = k + dk, j + dj, i + di
                    if not (0 <= c < slices and 0 <= b < rows and 0 <= a < columns):
                        continue
                    there = (c * rows + b) * columns + a
                    if parent[there] < 0 or there == here:
                        continue
                    first, second = _root(parent, here), _root(parent, there)
                    if first != second:
                        parent[second] = first
                        size[first] += size[second]
        if size[_root(parent, here)] >= wanted:
            return values[here]
    return -np.inf


def joined_level_c(values_c: NDArray[np.float32], where: NDArray[np.bool_], voxels: int = 3) -> float:
    """The highest temperature that at least `voxels` joined voxels of `where` all reach, degC.

    `values_c` and `where` are [slice, row, column]; voxels are joined by faces, edges or corners.
    -inf where no such group exists.
    """
    flat = np.ascontiguousarray(values_c, np.float32).reshape(-1)
    inside = np.flatnonzero(where.reshape(-1) & np.isfinite(flat))
    order = inside[np.argsort(-flat[inside], kind="stable")]
    return float(_joined_level(flat, order, values_c.shape, voxels))
