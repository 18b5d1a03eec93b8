"""Which of the first frames shall be the reference: the one at the most frequented position, in most people exhale."""

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

SIDE_PX = 32
NEAR_PERCENTILE = 10.0  # of the distances between frames: what counts as the same position


def most_frequented(frames: Sequence[NDArray[Any]]) -> int:
    """Index of the frame (rows, columns) that most others resemble, by the RMS difference of small copies.

    Density with a Gaussian kernel as wide as the nearest tenth of all pairs; the first of equals. Raises
    ValueError without frames or where shapes differ.
    """
    if not frames or any(frame.shape != frames[0].shape for frame in frames):
        raise ValueError("reference: needs frames of one shape")
    size = (SIDE_PX, SIDE_PX)
    small = np.array([cv2.resize(f.astype(np.float32), size, interpolation=cv2.INTER_AREA) for f in frames])
    flat = small.reshape(len(frames), -1)
    apart = np.sqrt(np.mean((flat[:, None] - flat[None]) ** 2, axis=-1))
    pairs = apart[np.triu_indices(len(frames), 1)]
    width = float(np.percentile(pairs, NEAR_PERCENTILE)) if pairs.size else 0.0
    if not width > 0:
        return 0
    return int(np.exp(-((apart / width) ** 2)).sum(axis=1).argmax())
