"""What can be wrong with a frame, found before and after its temperature is computed."""

from collections import deque
from collections.abc import Sequence
from typing import Any

import numpy as np
from fastcrc import crc64
from numpy.typing import NDArray
from scipy import ndimage

from guidance.thermometry.plain import PassOutputs
from guidance.thermometry.settings import ThermometrySettings

Fault = tuple[str, str] | None
RELATIVE_TOLERANCE = 1e-3  # of echo time and field: 0.1 % of 60 degC is 0.06 degC
NOT_FINITE_SHARE = 0.01
SLICE_SHARE = 0.2
SLICE_VOXELS = 16
COOL_VOXELS = 9
REMEMBERED = 4  # frames: buffers handed out again; a recording that is played in a loop has longer laps


def sequence_fault(settings: ThermometrySettings, echo_times_s: Sequence[float] | None, field_t: float | None) -> Fault:
    """Echo times and field of this frame (None = the scanner did not say) against the settings."""
    if echo_times_s is not None:
        wanted = settings.echo_times_s
        same = len(echo_times_s) == len(wanted) and np.allclose(echo_times_s, wanted, rtol=RELATIVE_TOLERANCE, atol=0.0)
        if not same:
            shown = (", ".join(f"{1e3 * value:g}" for value in values) for values in (echo_times_s, wanted))
            return "echo_time_changed", "{} ms, the plan says {} ms".format(*shown)
    if field_t is not None and not abs(field_t / settings.field_t - 1.0) <= RELATIVE_TOLERANCE:
        return "field_changed", f"{field_t:.4f} T, the plan says {settings.field_t:.4f} T"
    return None


class SeenPixels:
    """The last REMEMBERED frames by their CRC: a scanner that repeats itself may also send an older one again."""

    def __init__(self) -> None:
        self._codes: deque[tuple[int, ...]] = deque(maxlen=REMEMBERED)

    def again(self, images: Sequence[NDArray[Any]]) -> int:
        """How many frames ago the very same pixels came, 0 for never; they are remembered from now on.

        Frames without any signal are alike and no repetition.
        """
        code = tuple(crc64.ecma_182(np.ascontiguousarray(image).reshape(-1).view(np.uint8).data) for image in images)
        ago = next((n for n, known in enumerate(reversed(self._codes), start=1) if known == code), 0)
        if not ago:
            self._codes.append(code)
        return ago if all(image.any() for image in images) else 0


def dark_slices(image: NDArray[Any], mask_fraction: float, heated: NDArray[np.bool_] | None) -> str:
    """Slices of a reference [(coil,) slice, row, column] where next to nothing is as bright as tissue, in words.

    No later frame could miss their signal: they have no tissue to lose. Where it is known what is `heated` or
    guarded, only slices that hold some of it count: a volume may reach out of the body.
    """
    magnitude = np.sqrt(np.sum(np.square(np.abs(image)), axis=0)) if image.ndim == 4 else np.abs(image)
    bright = np.count_nonzero(magnitude > mask_fraction * magnitude.max(), axis=(1, 2))
    dark = bright < min(SLICE_VOXELS, SLICE_SHARE * bright.max())
    if heated is not None and heated.shape == magnitude.shape:
        dark &= heated.any(axis=(1, 2))
    dark = np.flatnonzero(dark)
    return "slice " + ", ".join(str(index) for index in dark) if dark.size else ""


def result_fault(settings: ThermometrySettings, found: PassOutputs, tissue: NDArray[np.bool_]) -> Fault:
    """What the finished maps reveal: non-finite pixels, no signal, a lost slice, few valid voxels, cooling."""
    if found.not_finite > NOT_FINITE_SHARE * tissue.size:
        return "not_finite", f"{found.not_finite} of {tissue.size} voxels"
    valid = found.valid & tissue
    per_slice, wanted = (np.array([np.count_nonzero(plane) for plane in mask]) for mask in (valid, tissue))
    if not per_slice.any():
        return "no_signal", ""
    lost = np.flatnonzero((per_slice < SLICE_SHARE * wanted) & (wanted >= SLICE_VOXELS))
    if lost.size:
        return "missing_slice", "slice " + ", ".join(str(index) for index in lost)
    share = per_slice.sum() / wanted.sum()
    if share < settings.valid_share_min:
        return "few_valid_voxels", f"{100.0 * share:.0f} %"
    if settings.cooling_alarm_c is not None:
        cold = valid & (found.temperature_c < np.float32(settings.t0_c - settings.cooling_alarm_c))
        if np.count_nonzero(cold) >= COOL_VOXELS:
            cold &= settings.t0_c - found.temperature_c > 4.0 * found.sigma_c
            if (count := largest_group(cold)) >= COOL_VOXELS:
                return "cooling", f"{count} connected voxels"
    return None


def largest_group(mask: NDArray[np.bool_]) -> int:
    """Number of voxels in the largest group connected by faces."""
    labels, groups = ndimage.label(mask)
    return int(np.bincount(labels.ravel())[1:].max()) if groups else 0
