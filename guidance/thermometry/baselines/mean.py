"""The plain baselines: the first frame, or the complex mean of all."""

import numpy as np

from guidance.thermometry.baselines.face import Complex, Estimate, Mask


class FirstBaseline:
    """The first unheated frame, for ever."""

    minimum_frames = 1

    def __init__(self) -> None:
        self._estimate: Estimate | None = None

    def learn(self, image: Complex) -> None:
        """Keeps the first frame and ignores later ones."""
        if self._estimate is None:
            self._estimate = Estimate(image.copy(), 1.0, 0.0)

    def estimate(self, image: Complex, fit: Mask, heated: Mask) -> Estimate:
        """The first frame, whatever `image` is."""
        assert self._estimate is not None, "learn a frame first"
        return self._estimate


class MeanBaseline:
    """The complex mean of all frames learned; still tissue only."""

    minimum_frames = 1

    def __init__(self) -> None:
        self._sum: Complex | None = None
        self._count = 0
        self._estimate: Estimate | None = None

    def learn(self, image: Complex) -> None:
        """Adds the frame to the mean."""
        self._sum = image.astype(np.complex128) + (0.0 if self._sum is None else self._sum)
        self._count += 1
        self._estimate = Estimate((self._sum / self._count).astype(image.dtype), float(self._count), 0.0)

    def estimate(self, image: Complex, fit: Mask, heated: Mask) -> Estimate:
        """The mean, whatever `image` is."""
        assert self._estimate is not None, "learn a frame first"
        return self._estimate
