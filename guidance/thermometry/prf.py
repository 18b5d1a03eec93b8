"""Temperature from the proton resonance frequency (PRF) shift.

Source: Ishihara et al., Magn Reson Med 1995;34:814, and Rieke & Butts Pauly, J Magn Reson
Imaging 2008;27:376. The gyromagnetic ratio is CODATA 2018.
"""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from guidance.units import GAMMA_BAR_MHZ_PER_T

DEFAULT_ALPHA_PPM = -0.01
PLAUSIBLE_ALPHA_PPM = (0.005, 0.015)  # |alpha| of aqueous tissue is 0.007-0.011 ppm per degree
PLAUSIBLE_FIELD_T = (0.05, 12.0)
PLAUSIBLE_ECHO_TIME_S = (1e-4, 0.2)


def degrees_per_radian(
    echo_time_s: float, field_t: float, alpha_ppm: float = DEFAULT_ALPHA_PPM, phase_sign: int = 1
) -> float:
    """Temperature change in degC per radian of phase change: sign / (2 pi gamma_bar alpha B0 TE).

    `field_t` is the real field (imaging frequency / 42.577 MHz/T), not the nominal one.
    Raises ValueError for a value outside of what a scanner can have (a TE in ms, a field in MHz).
    """
    for name, value, (low, high) in (
        ("echo_time_s", echo_time_s, PLAUSIBLE_ECHO_TIME_S),
        ("field_t", field_t, PLAUSIBLE_FIELD_T),
        ("|alpha_ppm|", abs(alpha_ppm), PLAUSIBLE_ALPHA_PPM),
    ):
        if not low <= value <= high:
            raise ValueError(f"{name} is {value}; it must lie in {low}..{high}: check its unit")
    if phase_sign not in (1, -1):
        raise ValueError(f"phase_sign is {phase_sign}; it must be +1 or -1")
    return phase_sign / (2.0 * math.pi * GAMMA_BAR_MHZ_PER_T * alpha_ppm * field_t * echo_time_s)


def real_dtype(array: NDArray[Any]) -> type[np.floating[Any]]:
    """The real dtype that belongs to an array: float32 for complex64 and float32, else float64."""
    return np.float32 if array.dtype.newbyteorder("=") in (np.complex64, np.float32, np.float16) else np.float64


def prf_temperature_change(
    image: NDArray[np.complexfloating[Any, Any]],
    reference: NDArray[np.complexfloating[Any, Any]],
    *,
    echo_time_s: float,
    field_t: float,
    alpha_ppm: float = DEFAULT_ALPHA_PPM,
    phase_sign: int = 1,
) -> NDArray[np.floating[Any]]:
    """Temperature change in degC of `image` against `reference`, complex arrays of one shape.

    dT = angle(S conj(S_ref)) / (2 pi gamma_bar alpha B0 TE), wrapped at half a turn (24.5 degC at
    3 T and 16 ms). Returns float32 for complex64, float64 for complex128. A voxel without signal
    or with a non-finite value has no temperature and is NaN, never 0. Raises ValueError for real
    arrays, shapes that differ and implausible parameters.
    """
    image, reference = np.asarray(image), np.asarray(reference)
    for name, array in (("image", image), ("reference", reference)):
        if not np.iscomplexobj(array):
            raise ValueError(f"{name} is {array.dtype}; phase needs complex data (see guidance.thermometry.inputs)")
    if image.shape != reference.shape:
        raise ValueError(f"image has shape {image.shape} and reference {reference.shape}; they must be equal")
    scale = degrees_per_radian(echo_time_s, field_t, alpha_ppm, phase_sign)
    # Unit phasors first: the product of two large or two tiny values would overflow or vanish.
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        product = image / np.abs(image) * np.conj(reference / np.abs(reference))
        change = np.angle(product) * scale
    missing = ~(np.isfinite(image) & np.isfinite(reference)) | (image == 0) | (reference == 0)
    dtype = np.result_type(real_dtype(image), real_dtype(reference))
    return np.where(missing, np.nan, change).astype(dtype)


def temperature_sigma(
    magnitude: NDArray[np.floating[Any]], noise: float, *, degrees_per_rad: float, references: int
) -> NDArray[np.floating[Any]]:
    """Standard deviation in degC of the PRF change: sqrt(1 + 1/N) * noise / |S| * |degC per radian|.

    `noise` is the standard deviation of the real (and of the imaginary) part, `references` the
    number of averaged reference frames. Infinite where there is no signal.
    """
    with np.errstate(divide="ignore"):
        return abs(degrees_per_rad) * math.sqrt(1.0 + 1.0 / references) * noise / np.asarray(magnitude)
