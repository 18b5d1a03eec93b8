"""The per-frame pass in plain NumPy, float64: what the fused kernel is checked against.

Both take the same `PassInputs` and give the same `PassOutputs`.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from guidance.thermometry.dose import BREAK_C, LN2, mean_rates

MISSED_MASK, GRADED_BIT, HOT_BIT = 0x3F, 0x40, 0x80  # the bits of `marks`
PLAUSIBLE_C = (-80.0, 120.0)  # unwrapping expects nothing beyond: voxels of pure noise must not run away


@dataclass(frozen=True, eq=False)
class PassInputs:
    """Arrays [slice, row, column] and numbers of one frame.

    `last_c` and `before_c` are the temperatures of the two frames before (NaN = none), `lead` the
    ratio of this time step to the one before (0 = no slope yet), `step_min` the time step in
    minutes (0 = open a new step: no dose). `drift_c` are up to six coefficients of
    1, x, y, x^2, xy, y^2 on [-1, 1]^2 (x along columns) in degC. `reference_share` is
    1 / (number of averaged references). `model_c` is the baseline's own standard deviation in degC,
    of the image's shape or of size 1.
    """

    image: NDArray[np.complex64]
    reference: NDArray[np.complex64]
    last_c: NDArray[np.float32]
    before_c: NDArray[np.float32]
    dose_min: NDArray[np.float32]
    variance: NDArray[np.float32]
    marks: NDArray[np.uint8]
    degrees_per_radian: float
    t0_c: float
    drift_c: tuple[float, ...]
    lead: float
    step_min: float
    noise: float
    reference_share: float
    model_c: NDArray[np.float32]
    floor: float
    sigma_display_c: float
    sigma_dose_c: float


@dataclass(frozen=True, eq=False)
class PassOutputs:
    """New arrays of one frame.

    `variance` is that of the dose from independent noise, in min^2; `not_finite` counts
    pixels, `lost` the voxels that had a temperature in the frame before and have none now.
    """

    temperature_c: NDArray[np.float32]
    sigma_c: NDArray[np.float32]
    valid: NDArray[np.bool_]
    dose_min: NDArray[np.float32]
    variance: NDArray[np.float32]
    marks: NDArray[np.uint8]
    not_finite: int
    lost: int


def drift_plane(coefficients: tuple[float, ...], shape: tuple[int, ...]) -> NDArray[np.float64]:
    """The drift polynomial in degC on the (row, column) grid of `shape`, coordinates on [-1, 1]^2."""
    y, x = (np.linspace(-1.0, 1.0, n) if n > 1 else np.zeros(1) for n in shape[-2:])
    c = coefficients
    grid = c[0] + c[1] * x + c[3] * x * x + y[:, None] * (c[2] + c[4] * x) + c[5] * (y * y)[:, None]
    return np.asarray(grid)


def plain_pass(given: PassInputs) -> PassOutputs:
    """One frame: phase difference, temporal unwrapping, drift, sigma, mask, CEM43 without noise bias."""
    image, reference = given.image.astype(np.complex128), given.reference.astype(np.complex128)
    magnitude, base = np.abs(image), np.abs(reference)
    with np.errstate(all="ignore"):
        change = np.angle(image * reference.conj()) * given.degrees_per_radian
        change = change - drift_plane(given.drift_c, image.shape)
        last, before = given.last_c.astype(np.float64), given.before_c.astype(np.float64)
        slope = np.where(np.isfinite(before), (last - before) * given.lead, 0.0)
        expected = np.where(np.isfinite(last), np.clip(last + slope, *PLAUSIBLE_C) - given.t0_c, change)
        turn = 2.0 * np.pi * abs(given.degrees_per_radian)
        change = change + turn * np.round((expected - change) / turn)
        own = (given.degrees_per_radian * given.noise) ** 2
        sigma = np.sqrt(
            own * (magnitude**-2.0 + given.reference_share * base**-2.0) + given.model_c.astype(np.float64) ** 2
        )
        present = (magnitude > given.floor) & (base > given.floor) & np.isfinite(magnitude) & np.isfinite(base)
    temperature = np.where(present, given.t0_c + change, np.nan)
    sigma = np.where(present, sigma, np.inf)
    dose, variance, marks = _dose(given, temperature, sigma, base)
    return PassOutputs(
        temperature.astype(np.float32),
        sigma.astype(np.float32),
        sigma <= given.sigma_display_c,
        dose.astype(np.float32),
        variance.astype(np.float32),
        marks,
        int(np.count_nonzero(~np.isfinite(given.image))),
        int(np.count_nonzero(np.isnan(temperature) & np.isfinite(given.last_c))),
    )


def _dose(
    given: PassInputs, temperature: NDArray[np.float64], sigma: NDArray[np.float64], base: NDArray[np.float64]
) -> tuple[NDArray[Any], NDArray[Any], NDArray[np.uint8]]:
    graded = sigma <= given.sigma_dose_c
    counted = graded & ((given.marks & GRADED_BIT) > 0) & (given.step_min > 0.0)
    with np.errstate(all="ignore"):
        below, at_clamp = mean_rates(given.last_c.astype(np.float64), temperature)
        log_r = np.where(temperature + given.last_c >= 2.0 * BREAK_C, LN2, 2.0 * LN2)
        shared = given.reference_share * (log_r * given.degrees_per_radian * given.noise / base) ** 2
        own = np.maximum((log_r * sigma) ** 2 - shared, 0.0)
        raised = below * given.step_min * np.exp(-(own / 3.0 + own * own / 360.0 + shared / 2.0))
        gain = raised + at_clamp * given.step_min
        spread = -np.expm1(-own) * raised * raised
    missed = np.minimum((given.marks & MISSED_MASK) + ((~counted) & (given.step_min > 0.0)), MISSED_MASK)
    hot = (given.marks & HOT_BIT) | np.where(counted & (temperature >= BREAK_C), HOT_BIT, 0)
    marks = (missed | hot | np.where(graded, GRADED_BIT, 0)).astype(np.uint8)
    return (
        given.dose_min + np.where(counted, gain, 0.0),
        given.variance + np.where(counted, spread, 0.0),
        marks,
    )
