"""What scanners send as phase data, turned into complex images.

Pairs are real/imaginary or magnitude/phase; phase comes in several units and may alternate in sign by slice.
"""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from guidance.thermometry.prf import PLAUSIBLE_ECHO_TIME_S, PLAUSIBLE_FIELD_T
from guidance.units import GAMMA_BAR_MHZ_PER_T

# unit -> (radians per count, offset in counts, lowest and highest count that this unit can have)
PHASE_UNITS: dict[str, tuple[float, float, float, float]] = {
    "radian": (1.0, 0.0, -math.pi, math.pi),
    "milliradian": (1e-3, 0.0, -1000.0 * math.pi, 1000.0 * math.pi),
    "0..4095": (2.0 * math.pi / 4096.0, -2048.0, 0.0, 4095.0),
    "0..4095 inclusive": (2.0 * math.pi / 4095.0, -2047.5, 0.0, 4095.0),
    "-4096..4095": (math.pi / 4096.0, 0.0, -4096.0, 4095.0),
}
_SLACK = 0.01  # a scanner's rounding beyond the ends of its range


def from_magnitude_phase(
    magnitude: NDArray[Any], phase: NDArray[Any], *, unit: str, alternate_slices: bool = False
) -> NDArray[np.complex64]:
    """Complex image from `magnitude` and `phase`, [slice, row, column], `unit` a row of PHASE_UNITS.

    `alternate_slices` turns the sign of the phase of every second slice back. Raises ValueError
    for an unknown unit, phase outside of the unit's range (another unit), negative magnitude or shapes
    that differ.
    """
    if unit not in PHASE_UNITS:
        raise ValueError(f"no phase unit {unit!r}; known: {', '.join(PHASE_UNITS)}")
    _same_shape("magnitude", magnitude, "phase", phase)
    per_count, offset, low, high = PHASE_UNITS[unit]
    slack = _SLACK * (high - low)
    lowest, highest = float(np.min(phase)), float(np.max(phase))
    if not (low - slack <= lowest and highest <= high + slack):
        raise ValueError(f"phase runs from {lowest:g} to {highest:g}, not possible in {unit} ({low:g} to {high:g})")
    if not float(np.min(magnitude)) >= 0.0:
        raise ValueError("magnitude is negative or not finite: are magnitude and phase exchanged?")
    angle = (phase.astype(np.float32) + np.float32(offset)) * np.float32(per_count)
    if alternate_slices:
        angle[1::2] *= -1.0
    return np.asarray(magnitude.astype(np.float32) * np.exp(1j * angle), dtype=np.complex64)


def from_real_imaginary(real: NDArray[Any], imaginary: NDArray[Any]) -> NDArray[np.complex64]:
    """Complex image from its two parts (offset already removed). Raises ValueError for shapes that differ."""
    _same_shape("real", real, "imaginary", imaginary)
    image = np.empty(real.shape, np.complex64)
    image.real, image.imag = real, imaginary
    return image


def from_components(pixels: NDArray[Any]) -> NDArray[np.complex64]:
    """Complex image from [slice, row, column, 2] with real and imaginary parts, the form of OpenIGTLink."""
    if pixels.ndim != 4 or pixels.shape[-1] != 2:
        raise ValueError(f"needed: [slice, row, column, 2] with real and imaginary parts, not {pixels.shape}")
    return from_real_imaginary(pixels[..., 0], pixels[..., 1])


def field_from_frequency(imaging_frequency_mhz: float) -> float:
    """The real field in T; a scanner sold as 3 T may have 2.895 T."""
    field_t = imaging_frequency_mhz / GAMMA_BAR_MHZ_PER_T
    if not PLAUSIBLE_FIELD_T[0] <= field_t <= PLAUSIBLE_FIELD_T[1]:
        raise ValueError(f"imaging frequency {imaging_frequency_mhz} MHz is no proton frequency: is it in Hz?")
    return field_t


def sequence_tags(tags: dict[str, str]) -> tuple[tuple[float, ...] | None, float | None]:
    """Echo times (s) and field (T) that an image carries in its tags, None for what it does not say.

    Reads `EchoTimes_s` (several, separated by blanks or commas) or `EchoTime_s`, and `ImagingFrequency_MHz`. Raises
    ValueError where a tag is there and no such number.
    """
    name = "EchoTimes_s" if "EchoTimes_s" in tags else "EchoTime_s"
    told = tags.get(name, "").replace(",", " ").split()
    echoes = tuple(_number(name, value) for value in told)
    for echo_s in echoes:
        if not PLAUSIBLE_ECHO_TIME_S[0] <= echo_s <= PLAUSIBLE_ECHO_TIME_S[1]:
            raise ValueError(f"tag {name} is {tags[name]}: it must be in seconds")
    frequency = tags.get("ImagingFrequency_MHz")
    field_t = None if frequency is None else field_from_frequency(_number("ImagingFrequency_MHz", frequency))
    return echoes or None, field_t


def split_echoes(pixels: NDArray[Any], count: int) -> list[NDArray[Any]]:
    """The [slice, row, column] of each echo from [echo x slice, row, column]: the slices of one echo after the other.

    A single slice may come as [row, column]. Raises ValueError where the slices do not share out.
    """
    stack = pixels if pixels.ndim == 3 else pixels[np.newaxis]
    if len(stack) % count:
        raise ValueError(f"{len(stack)} slices are not {count} echoes of as many slices each")
    return np.split(stack, count)


def _number(name: str, value: str) -> float:
    try:
        return float(value)
    except ValueError as fault:
        raise ValueError(f"tag {name} is {value!r}, not a number") from fault


def _same_shape(first: str, a: NDArray[Any], second: str, b: NDArray[Any]) -> None:
    if a.shape != b.shape:
        raise ValueError(f"{first} has shape {a.shape} and {second} {b.shape}; they must be equal")
