"""Noise of a complex series, measured on frames that should be equal."""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numba import njit, types
from numpy.typing import NDArray

_PLANES = types.Array(types.complex64, 3, "C", readonly=True)
_MAD_TO_SIGMA = 1.4826
PAIRS_MAX = 8  # of successive frames: each has thousands of voxels


def measure_noise(frames: Sequence[NDArray[np.complex64]]) -> float:
    """Standard deviation of the real part, from the differences of successive frames [slice, row, column].

    Each difference passes a second difference in rows and columns (Immerkaer 1996; norm 6), so that
    smooth changes of phase by breathing and drift do not count, and the median absolute deviation
    keeps moving edges out. Raises ValueError for fewer than two frames or images below 3x3.
    """
    if len(frames) < 2 or min(frames[0].shape[-2:]) < 3:
        raise ValueError("noise needs two frames of at least 3x3 voxels: give `noise` in the settings instead")
    sigmas = []
    pairs = list(pairwise(frames))
    for before, now in pairs[:: -(-len(pairs) // PAIRS_MAX)]:
        rest = _rest(_planes(before), _planes(now))
        sigmas.append(_MAD_TO_SIGMA * float(np.median(rest)) / (6.0 * np.sqrt(2.0)) if rest.size else 0.0)
    return float(np.median(sigmas))


def _planes(frame: NDArray[np.complex64]) -> NDArray[np.complex64]:
    return np.ascontiguousarray(frame, np.complex64).reshape(-1, *frame.shape[-2:])


@njit(types.float32[::1](_PLANES, _PLANES), cache=True, nogil=True)
def _rest(before, now):  # type: ignore[no-untyped-def]
    """|real| and |imaginary| of second differences in rows and columns of now - before; those of exact 0 left out."""
    slices, rows, columns = now.shape
    out = np.empty(2 * slices * max(rows - 2, 0) * max(columns - 2, 0), np.float32)
    bent = np.empty((rows, columns), np.complex64)
    count = 0
    for k in range(slices):
        for i in range(rows):
            for j in range(columns - 2):
                left, middle = now[k, i, j] - before[k, i, j], now[k, i, j + 1] - before[k, i, j + 1]
                right = now[k, i, j + 2] - before[k, i, j + 2]
                bent[i, j] = (right - middle) - (middle - left)
        for i in range(rows - 2):
            for j in range(columns - 2):
                value = (bent[i + 2, j] - bent[i + 1, j]) - (bent[i + 1, j] - bent[i, j])
                if value.real != 0.0 or value.imag != 0.0:
                    out[count], out[count + 1] = abs(value.real), abs(value.imag)
                    count += 2
    return out[:count]
