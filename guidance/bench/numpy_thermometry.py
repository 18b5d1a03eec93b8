"""The rivals of the fused pass in NumPy: as one would write it first, and with every buffer reused."""

import math

import numpy as np
from numpy.typing import NDArray

from guidance.thermometry.plain import GRADED_BIT, HOT_BIT, MISSED_MASK, PassInputs

LN2, LN4 = math.log(2.0), math.log(4.0)


class NaivePass:
    """Phase difference, temporal unwrapping, order-0 drift, mask, CEM43: one expression a step."""

    def __init__(self, given: PassInputs) -> None:
        self.given = given

    def __call__(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Temperature and dose."""
        g = self.given
        change = np.angle(g.image * np.conj(g.reference)) * np.float32(g.degrees_per_radian)
        turn = np.float32(2.0 * math.pi * abs(g.degrees_per_radian))
        change = change + turn * np.round((g.last_c - np.float32(g.t0_c) - change) / turn)
        mask = np.abs(g.image) > 15.0
        change = change - change[mask].mean()
        temperature = np.where(mask, change + np.float32(g.t0_c), np.float32(np.nan))
        rate = np.where(mask, self._mean_rate(g.last_c, temperature), np.float32(0.0))
        dose = g.dose_min + rate * np.float32(g.step_min)
        return np.asarray(temperature, np.float32), np.asarray(dose, np.float32)

    @staticmethod
    def _mean_rate(last: NDArray[np.float32], now: NDArray[np.float32]) -> NDArray[np.float32]:
        areas = []
        for temperature in (last, now):
            e = np.exp2(np.minimum(temperature - np.float32(43.0), np.float32(25.0)))
            areas.append((np.maximum(e, 1.0) - 1.0) / np.float32(LN2) + np.minimum(e, 1.0) ** 2 / np.float32(LN4))
        step = now - last
        return np.asarray((areas[1] - areas[0]) / np.where(np.abs(step) < 1e-3, np.float32(1e-3), step))


class NaiveFullPass(NaivePass):
    """The naive pass with all that ours answers: sigma map, validity, de-biased dose, its variance, marks."""

    def __call__(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Temperature and dose."""
        g, one = self.given, np.float32(1.0)
        temperature, _ = super().__call__()
        magnitude, base = np.abs(g.image), np.abs(g.reference)
        own = np.float32((g.degrees_per_radian * g.noise) ** 2)
        shared = own * np.float32(g.reference_share) / base**2
        sigma = np.sqrt(own / magnitude**2 + shared)
        self.valid = sigma <= np.float32(g.sigma_display_c)
        graded = sigma <= np.float32(g.sigma_dose_c)
        counted = graded & ((g.marks & GRADED_BIT) > 0)
        log_r2 = np.where(temperature + g.last_c >= np.float32(86.0), np.float32(LN2**2), np.float32(LN4**2))
        v = log_r2 * (sigma**2 - shared)
        gain = self._mean_rate(g.last_c, temperature) * np.float32(g.step_min)
        gain = gain * np.exp(-(v / np.float32(3.0) + v * v / np.float32(360.0) + np.float32(0.5) * log_r2 * shared))
        gain = np.where(counted, gain, np.float32(0.0))
        self.variance = g.variance + (one - np.exp(-v)) * gain * gain
        missed = np.minimum((g.marks & MISSED_MASK) + ~counted, MISSED_MASK)
        hot = (g.marks & HOT_BIT) | np.where(counted & (temperature >= np.float32(43.0)), HOT_BIT, 0)
        self.marks = (missed | hot | np.where(graded, GRADED_BIT, 0)).astype(np.uint8)
        return temperature, g.dose_min + gain


class TunedPass:
    """The same with preallocated buffers, in place, and the exponential of the last frame kept."""

    def __init__(self, given: PassInputs) -> None:
        self.given = given
        shape = given.image.shape
        self.product = np.empty(shape, np.complex64)
        self.a, self.b, self.area = (np.empty(shape, np.float32) for _ in range(3))
        self.mask = np.empty(shape, np.bool_)
        self.dose = given.dose_min.copy()
        self.last_area = np.empty(shape, np.float32)
        self._area(given.last_c, self.last_area)

    def __call__(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Temperature and dose."""
        g, a, b = self.given, self.a, self.b
        np.conjugate(g.reference, out=self.product)
        np.multiply(self.product, g.image, out=self.product)
        np.arctan2(self.product.imag, self.product.real, out=a)
        a *= np.float32(g.degrees_per_radian)
        turn = np.float32(2.0 * math.pi * abs(g.degrees_per_radian))
        np.subtract(g.last_c, a, out=b)
        b -= np.float32(g.t0_c)
        b *= np.float32(1.0) / turn
        np.rint(b, out=b)
        b *= turn
        a += b
        np.abs(g.image, out=b)
        np.greater(b, 15.0, out=self.mask)
        a += np.float32(g.t0_c - float(a.mean(where=self.mask)))
        self._area(a, self.area)
        np.subtract(a, g.last_c, out=b)
        b[np.abs(b) < 1e-3] = 1e-3
        np.subtract(self.area, self.last_area, out=self.last_area)
        np.divide(self.last_area, b, out=b)
        b *= np.float32(g.step_min)
        b *= self.mask
        self.dose += b
        return a, self.dose

    def _area(self, temperature: NDArray[np.float32], out: NDArray[np.float32]) -> None:
        np.subtract(temperature, np.float32(43.0), out=out)
        np.exp2(out, out=out)
        low = np.minimum(out, 1.0)
        np.maximum(out, 1.0, out=out)
        out -= 1.0
        out *= np.float32(1.0 / LN2)
        low *= low
        low *= np.float32(1.0 / LN4)
        out += low
