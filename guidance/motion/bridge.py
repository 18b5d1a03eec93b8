"""Displacement of tissue whose brightness heat changes, from the tissue around it.

A flow follows brightness, and heat changes it (T1): inside a heated region the field is a plane in each component.
It starts as the least-squares fit to the flow in a ring around the region and is refined on the ring's pixels by
Gauss-Newton, the images' gain and offset with it (Lucas & Kanade 1981; steepest descent images of the reference as
in Baker & Matthews 2004, whose noise is not that of the residual). Pixels that move otherwise, behind a sliding
border, lose weight (Huber 1964). The flow alone, smoothed by its prior, left 0.07 px at 7 px of motion.
"""

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from guidance.motion.spline import spline_coefficients, warp

GUARD_PX, RING_PX = 1, 5  # around the heated region: not trusted, and fitted to
ROUNDS, REWEIGHTS = 3, 3
HUBER_SIGMAS = 2.0
SIGMA_PER_MAD = 1.4826
Field = NDArray[np.float32]


class Bridge:
    """One slice's reference image (rows, columns) and its heated region (rows, columns, bool)."""

    def __init__(self, reference: NDArray[np.floating[Any]], heated: NDArray[np.bool_]) -> None:
        inner = np.ones((2 * GUARD_PX + 1,) * 2, np.uint8)
        outer = np.ones((2 * (GUARD_PX + RING_PX) + 1,) * 2, np.uint8)
        hot = heated.astype(np.uint8)
        self._core = cv2.dilate(hot, inner).astype(np.bool_)
        self._ring = cv2.dilate(hot, outer).astype(np.bool_) & ~self._core
        y, x = np.nonzero(self._ring)
        self._middle = np.array([y.mean(), x.mean()]) if len(y) else np.zeros(2)
        self._terms, self._inside = self._plane(self._ring), self._plane(self._core)
        values = np.asarray(reference, np.float64)
        dy, dx = (np.gradient(values, axis=axis)[self._ring][:, None] for axis in (0, 1))
        self._wanted = values[self._ring]
        light = np.stack([self._wanted, np.ones(len(y))], axis=1)
        self._slopes = np.concatenate([self._terms * dx, self._terms * dy, light], axis=1)

    def _plane(self, where: NDArray[np.bool_]) -> NDArray[np.float64]:
        y, x = np.nonzero(where)
        return np.stack([np.ones(len(y)), x - self._middle[1], y - self._middle[0]], axis=1)

    def fill(self, field: Field, current: NDArray[np.floating[Any]]) -> Field:
        """`field` (rows, columns, 2) px, from the reference to `current`, with a plane in the heated region.

        Unchanged where nothing is heated, or where no ring around it lies in the image.
        """
        if not self._core.any() or len(self._terms) <= self._slopes.shape[1]:
            return field
        plane, *_ = np.linalg.lstsq(self._terms, field[self._ring].astype(np.float64), rcond=None)
        coefficients = spline_coefficients(np.ascontiguousarray(current, np.float32))
        at = np.zeros_like(field)
        for _ in range(ROUNDS):
            at[self._ring] = self._terms @ plane
            seen, _ = warp(coefficients, at, where=self._ring)
            found = _robust(self._slopes, self._wanted - seen[self._ring])
            plane = plane + found[:6].reshape(2, 3).T
        out = field.copy()
        out[self._core] = (self._inside @ plane).astype(np.float32)
        return out


def _robust(slopes: NDArray[np.float64], values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Least squares in which what lies beyond HUBER_SIGMAS counts less."""
    weight = np.ones(len(values))
    for _ in range(REWEIGHTS):
        found, *_ = np.linalg.lstsq(slopes * weight[:, None], values * weight, rcond=None)
        away = np.abs(values - slopes @ found)
        sigma = SIGMA_PER_MAD * float(np.median(away))
        weight = np.sqrt(np.minimum(1.0, HUBER_SIGMAS * sigma / np.maximum(away, 1e-12)))
    return np.asarray(found)
