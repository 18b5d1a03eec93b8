"""Whether the picture jumped: a patient who moved has no baseline any more.

Brightness only, since phase is what heat changes: sums over blocks of tissue outside of the heat, which carry little
noise, compared as directions, so that the receiver's gain does not count. How far apart reference frames lie from
each other says what breathing does; a frame much further from all of them, and from the frames that followed, shows
tissue elsewhere. A breath deeper than the references saw is reached through frames that lie close together.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Complex = NDArray[np.complexfloating[Any, Any]]
SIDE = 4  # voxels of a block along rows and columns
BLOCKS_MAX = 2000  # spread evenly over the tissue
BLOCKS_MIN = 32  # fewer do not show where the tissue lies
FRAMES_MIN = 6  # fewer do not show how far breathing goes
LEAST = 0.004  # sin^2 of the angle between two pictures: below it nothing has moved that matters
TIMES = 4.0  # what the references differ by
RECENT = 64  # frames that followed


class Likeness:
    """The brightness of the reference frames [slice, row, column] in the tissue `fit`, and of the last good ones."""

    def __init__(self, frames: Sequence[Complex], fit: NDArray[np.bool_]) -> None:
        self._index, self._inside = _blocks(fit)
        self._looks = np.stack([self._look(frame) for frame in frames])
        self._recent = np.zeros((RECENT, len(self._index)))
        self._number = 0
        self.limit = self._limit()

    def distance(self, image: Complex) -> float:
        """sin^2 of the angle to the nearest frame; 0 where there is too little to tell by.

        A frame within the limit is remembered.
        """
        if not self._judges:
            return 0.0
        look = self._look(image)
        found = float(1.0 - max(np.square(looks @ look).max() for looks in (self._looks, self._recent)))
        if found <= self.limit:
            self._recent[self._number % RECENT] = look
            self._number += 1
        return found

    def learn(self, image: Complex) -> None:
        """One more reference frame."""
        self._looks = np.concatenate((self._looks, self._look(image)[None]))
        self.limit = self._limit()

    @property
    def _judges(self) -> bool:
        return len(self._index) >= BLOCKS_MIN and len(self._looks) >= FRAMES_MIN

    def _limit(self) -> float:
        cosines = np.square(self._looks @ self._looks.T)
        np.fill_diagonal(cosines, 0.0)
        return max(LEAST, TIMES * float(1.0 - cosines.max(axis=1).min()))

    def _look(self, image: Complex) -> NDArray[np.float64]:
        """Direction of the block sums; pixels that are not finite count as dark."""
        brightness = np.nan_to_num(np.abs(image.reshape(-1)[self._index]), posinf=0.0)
        sums = np.where(self._inside, brightness, np.float32(0.0)).sum(axis=1, dtype=np.float64)
        return np.asarray(sums / max(float(np.linalg.norm(sums)), 1e-30))


def _blocks(fit: NDArray[np.bool_]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Flat indices (blocks, SIDE^2) of blocks that are at least half in `fit`, and which of their voxels are."""
    slices, rows, columns = fit.shape
    size = rows // SIDE * SIDE, columns // SIDE * SIDE
    index = np.arange(fit.size).reshape(fit.shape)[:, : size[0], : size[1]]
    split = index.reshape(slices, size[0] // SIDE, SIDE, size[1] // SIDE, SIDE)
    whole = np.moveaxis(split, 2, 3).reshape(-1, SIDE * SIDE)
    whole = whole[2 * np.count_nonzero(fit.reshape(-1)[whole], axis=1) >= SIDE * SIDE]
    whole = whole[:: max(1, -(-len(whole) // BLOCKS_MAX))]
    return whole, fit.reshape(-1)[whole]
