"""Respiratory surrogates: one number that rises and falls with the breath, from images, a navigator or a marker."""

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from guidance.motion.quality import Verdict
from guidance.motion.regions import navigator_shift

Array = NDArray[np.float64]


@dataclass(frozen=True)
class SurrogateValue:
    """`value` in the surrogate's own unit, `quality` 0..1 and what is wrong, if anything."""

    value: float
    quality: float
    verdict: Verdict


class PrincipalBreath:
    """First principal component of small, blurred images: needs no landmark, learns from a short series.

    `value` is in units of the SD over the training series, positive towards more of the first component's sign,
    which is fixed so that the largest pixel weight is positive. `quality` is the share of the image's departure
    from the mean that the components explain: low means an image unlike those learnt from.
    """

    LEAST = 10

    def __init__(self, series: NDArray[Any], side_px: int = 32, components: int = 4, most_strange: float = 3.0) -> None:
        """`series` (n, rows, columns), n >= 10. Raises ValueError on fewer or on images without change.

        An image is UNLIKE when the part that the components leave unexplained exceeds `most_strange` times the
        largest such part of the series.
        """
        if series.ndim != 3 or len(series) < self.LEAST:
            raise ValueError(
                f"surrogate: needs at least {self.LEAST} images (n, rows, columns), got shape {series.shape}"
            )
        self._side = side_px
        small = np.array([self._small(image) for image in series])
        self._mean = small.mean(axis=0)
        away = small - self._mean
        _, scale, axes = np.linalg.svd(away, full_matrices=False)
        if not scale[0] > 0:
            raise ValueError("surrogate: the images do not change")
        first = axes[0]
        self._axes = axes[:components] * (1.0 if first[np.abs(first).argmax()] > 0 else -1.0)
        self._sd = float(scale[0] / np.sqrt(len(series)))
        left = np.linalg.norm(away - (away @ self._axes.T) @ self._axes, axis=1)
        self._most_strange = most_strange * float(left.max()) + 0.1 * self._sd

    def _small(self, image: NDArray[Any]) -> Array:
        reduced = cv2.resize(np.asarray(image, np.float32), (self._side, self._side), interpolation=cv2.INTER_AREA)
        flat = reduced.astype(np.float64).ravel()
        spread = float(flat.std())
        return (flat - flat.mean()) / spread if spread > 0 else np.zeros_like(flat)

    def value(self, image: NDArray[Any]) -> SurrogateValue:
        """The surrogate of one image (rows, columns)."""
        if float(np.ptp(image)) <= 0:
            return SurrogateValue(0.0, 0.0, Verdict.BLANK)
        away = self._small(image) - self._mean
        scores = self._axes @ away
        explained = float(scores @ scores) / max(float(away @ away), 1e-12)
        strange = float(np.linalg.norm(away - scores @ self._axes)) > self._most_strange
        return SurrogateValue(float(scores[0]) / self._sd, explained, Verdict.UNLIKE if strange else Verdict.OK)


def navigator_mm(reference: NDArray[Any], profile: NDArray[Any], spacing_mm: float) -> SurrogateValue:
    """Shift in mm of a pencil-beam profile (n,) against the reference profile."""
    shift = navigator_shift(reference, profile)
    return SurrogateValue(shift.shift_px[0] * spacing_mm, shift.quality, shift.verdict)


class MarkerBreath:
    """An external marker's position along its main direction of motion, mm, learnt from a short series."""

    def __init__(self, positions_mm: NDArray[Any]) -> None:
        """`positions_mm` (n, coordinates) of one or several markers, n >= 10, that must have moved."""
        positions = np.asarray(positions_mm, np.float64).reshape(len(positions_mm), -1)
        if len(positions) < 10 or not np.ptp(positions, axis=0).max() > 0:
            raise ValueError("marker surrogate: needs at least 10 positions that differ")
        self._mean = positions.mean(axis=0)
        _, scale, axes = np.linalg.svd(positions - self._mean, full_matrices=False)
        self._axis = axes[0] * np.sign(axes[0][np.abs(axes[0]).argmax()])
        self._reach = 8 * float(scale[0]) / len(positions) ** 0.5

    def value(self, position_mm: NDArray[Any]) -> SurrogateValue:
        """Displacement along the main direction; UNLIKE where it lies beyond eight SD of what was learnt."""
        away = np.asarray(position_mm, np.float64).ravel() - self._mean
        along = float(away @ self._axis)
        total = float(np.linalg.norm(away))
        quality = abs(along) / total if total > 0 else 1.0
        return SurrogateValue(along, quality, Verdict.OK if total <= self._reach else Verdict.UNLIKE)
