"""Coils and echoes: many complex images into one with the same temperature and the right noise.

Coils: sum over c of S_c conj(R_c), here as a projection on the unit vector of the reference's coil
values, which keeps the noise of one channel. Echoes: weights TE^2 |S|^2, the inverse variance of each.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Complex = NDArray[np.complexfloating[Any, Any]]


class CoilCombiner:
    """Projects [coil, slice, row, column] on the coil values of the mean reference."""

    def __init__(self, references: Sequence[Complex]) -> None:
        mean = np.mean(np.stack(references), axis=0)
        norm = np.sqrt((np.abs(mean) ** 2).sum(axis=0))
        with np.errstate(divide="ignore", invalid="ignore"):
            self._weights = np.where(norm > 0.0, mean.conj() / norm, 0.0).astype(references[0].dtype)

    def combine(self, image: Complex) -> Complex:
        """One image [slice, row, column]; its phase against the projected reference is that of sum S_c conj(R_c)."""
        return np.asarray(np.einsum("c...,c...->...", image, self._weights))


def combine_echoes(
    images: Sequence[Complex],
    references: Sequence[Complex],
    scales: Sequence[float],
    expected_change_c: NDArray[Any],
) -> tuple[Complex, Complex, float]:
    """Several echoes as one image, reference and degC per radian (that of the last echo).

    Each echo is unwrapped towards `expected_change_c` (NaN = no expectation) and weighted by
    (|S| / scale)^2, which is TE^2 |S|^2; the magnitudes that come back give the variance of the weighted mean.
    """
    shape = images[0].shape
    total, own, base = np.zeros(shape), np.zeros(shape), np.zeros(shape)
    expected = np.asarray(expected_change_c, dtype=np.float64)
    for image, reference, scale in sorted(zip(images, references, scales, strict=True), key=lambda echo: -abs(echo[2])):
        change = np.angle(image * np.conj(reference)) * scale
        turn = 2.0 * np.pi * abs(scale)
        towards = np.where(np.isfinite(expected), expected, change)
        change = change + turn * np.round((towards - change) / turn)
        expected = np.where(np.isfinite(expected), expected, change)  # the shortest echo leads the longer ones
        weight = (np.abs(image) / scale) ** 2
        total += weight * change
        own += weight
        base += (np.abs(reference) / scale) ** 2
    last = scales[-1]
    with np.errstate(divide="ignore", invalid="ignore"):
        phase = np.where(own > 0.0, total / own, 0.0) / last
    dtype = images[0].dtype
    combined = np.sqrt(own) * abs(last) * np.exp(1j * phase)
    return combined.astype(dtype), (np.sqrt(base) * abs(last)).astype(dtype), last
