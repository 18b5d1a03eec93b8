"""The library: of all unheated frames the one that is most like this one."""

import numpy as np

from guidance.thermometry.baselines.face import Complex, Estimate, Mask


class NearestBaseline:
    """The frame with the largest complex correlation, outside of the heat, slice by slice."""

    minimum_frames = 5

    def __init__(self) -> None:
        self._frames: list[Complex] = []

    def learn(self, image: Complex) -> None:
        """Adds the frame to the library."""
        self._frames.append(image.copy())

    def estimate(self, image: Complex, fit: Mask, heated: Mask) -> Estimate:
        """One frame of the library for each slice."""
        assert self._frames, "learn a frame first"
        best = np.empty_like(image)
        for index, (plane, inside) in enumerate(zip(image, fit, strict=True)):
            now = plane[inside]
            candidates = [frame[index] for frame in self._frames]
            likeness = [abs(np.vdot(c[inside], now)) / max(float(np.linalg.norm(c[inside])), 1e-30) for c in candidates]
            best[index] = candidates[int(np.argmax(likeness))]
        return Estimate(best, 1.0, 0.0)
