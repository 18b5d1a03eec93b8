"""Noise of a complex series, measured on frames that should be equal."""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

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
        difference = now.astype(np.complex64) - before
        for axis in (-1, -2):
            difference = np.diff(difference, 2, axis=axis)
        parts = np.stack((difference.real, difference.imag))
        present = parts[:, difference != 0]
        sigmas.append(_MAD_TO_SIGMA * float(np.median(np.abs(present))) / (6.0 * np.sqrt(2.0)) if present.size else 0.0)
    return float(np.median(sigmas))
