"""What thermometry answers for each frame, and the names of everything that can be wrong with one."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from devices.quality import Quality
from guidance.thermometry.dose import LN2
from guidance.thermometry.plain import HOT_BIT, MISSED_MASK

# state -> (quality, what the user reads). Only "ok" carries temperature that may be shown as live.
STATES: dict[str, tuple[Quality, str]] = {
    "ok": (Quality.OK, ""),
    "acquiring_reference": (Quality.MISSING, "acquiring reference"),
    "shape_changed": (Quality.INVALID, "image shape differs from the reference: take a new reference"),
    "plane_moved": (Quality.INVALID, "slices lie elsewhere than the reference: take a new reference"),
    "echo_time_changed": (Quality.INVALID, "echo time differs from the plan: temperature would be wrong"),
    "field_changed": (Quality.INVALID, "imaging frequency differs from the plan: temperature would be wrong"),
    "time_not_rising": (Quality.INVALID, "acquisition time does not rise"),
    "repeated_frame": (Quality.SUSPECT, "same pixels as a frame before"),
    "not_finite": (Quality.INVALID, "pixels are not finite"),
    "no_signal": (Quality.INVALID, "no signal"),
    "missing_slice": (Quality.INVALID, "a slice has no signal"),
    "picture_jumped": (Quality.INVALID, "tissue lies elsewhere than in any frame before: take a new reference"),
    "few_valid_voxels": (Quality.SUSPECT, "too few voxels have a temperature"),
    "cooling": (Quality.SUSPECT, "tissue cools where nothing cools: check phase_sign and the reference"),
}
Z_95 = 1.6448536269514722  # one-sided 95 %


@dataclass(frozen=True, eq=False)
class DoseState:
    """Dose of every voxel and what its uncertainty needs; arrays are never changed, only replaced.

    `dose_min` has the mean effect of noise removed, `variance` (min^2) is its variance from noise
    that is independent from frame to frame, `marks` holds the missed steps and two bits of the pass.
    """

    dose_min: NDArray[np.float32]
    variance: NDArray[np.float32]
    marks: NDArray[np.uint8]

    @classmethod
    def zero(cls, shape: tuple[int, ...]) -> "DoseState":
        """No dose, nothing missed."""
        return cls(np.zeros(shape, np.float32), np.zeros(shape, np.float32), np.zeros(shape, np.uint8))

    def known(self, missed_frames_max: int) -> NDArray[np.bool_]:
        """Where at most `missed_frames_max` steps went unobserved."""
        return (self.marks & MISSED_MASK) <= missed_frames_max

    def upper(self, shared_sigma_c: float | NDArray[Any], known: NDArray[np.bool_]) -> NDArray[np.float32]:
        """95 % upper bound in minutes, infinite where the dose is not `known`.

        Independent noise and the error shared by all frames (`shared_sigma_c`: reference noise and T0)
        add in the log domain; the dose is taken as log-normal around its unbiased estimate.
        """
        dose = self.dose_min.astype(np.float64)
        log_r = np.where(self.marks & HOT_BIT, LN2, 2.0 * LN2)
        with np.errstate(divide="ignore", invalid="ignore"):
            spread = np.where(dose > 0.0, self.variance / (dose * dose), 0.0) + (log_r * shared_sigma_c) ** 2
        log_variance = np.log1p(spread)
        bound = dose * np.exp(Z_95 * np.sqrt(log_variance) + 0.5 * log_variance)
        return np.where(known, bound, np.inf).astype(np.float32)


@dataclass(frozen=True, eq=False)
class SharedError:
    """The error that all frames of one reference share: noise of the `reference` and of T0, in degC.

    `model_c` is the baseline's own error (of the image's shape or of size 1): it comes again with every breath.
    """

    reference: NDArray[np.complex64]
    degrees_times_noise: float
    t0_sigma_c: float
    model_c: float | NDArray[np.float32] = 0.0

    def sigma_c(self) -> NDArray[np.float32]:
        """Standard deviation per voxel, infinite where the reference is empty."""
        with np.errstate(divide="ignore"):
            return np.hypot(np.float32(self.degrees_times_noise) / np.abs(self.reference), np.float32(self.t0_sigma_c))

    def repeated_c(self) -> NDArray[np.float32]:
        """The same with the baseline's own error: what a dose of many frames cannot count on to average out."""
        return np.asarray(np.hypot(self.sigma_c(), self.model_c), np.float32)


@dataclass(frozen=True, eq=False)
class ThermometryFrame:
    """Temperature and dose of one frame; arrays are [slice, row, column] and never change afterwards.

    `temperature_c` (degC, float32) is NaN and `sigma_c` infinite where a voxel has no signal;
    `valid` says where a temperature may be shown (tissue with a continuous track and sigma within the
    display limit); a voxel whose unwrapping is not trusted has infinite sigma, and `untracked_share` of
    the tissue is such. `drift_c` are
    the coefficients of the drift that was removed.
    """

    time_s: float
    number: int
    state: str
    detail: str
    temperature_c: NDArray[np.float32]
    sigma_c: NDArray[np.float32]
    valid: NDArray[np.bool_]
    dose: DoseState
    shared_error: SharedError
    missed_frames_max: int
    valid_share: float = 0.0
    untracked_share: float = 0.0
    noise: float = 0.0
    drift_c: tuple[float, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def quality(self) -> Quality:
        """The quality that belongs to the state."""
        return STATES[self.state][0]

    @property
    def reason(self) -> str:
        """What is wrong, in words; empty when nothing is."""
        words = STATES[self.state][1]
        return f"{words} ({self.detail})" if self.detail else words

    @property
    def dose_cem43_min(self) -> NDArray[np.float32]:
        """CEM43 in minutes with the mean effect of noise removed; a lower bound where not `dose_known`."""
        return self.dose.dose_min

    @cached_property
    def shared_sigma_c(self) -> NDArray[np.float32]:
        """The part of the error (degC) that averaging over frames does not reduce."""
        return self.shared_error.sigma_c()

    @cached_property
    def repeated_sigma_c(self) -> NDArray[np.float32]:
        """The same with the baseline's own error, which comes again with every breath (degC)."""
        return self.shared_error.repeated_c()

    @cached_property
    def dose_known(self) -> NDArray[np.bool_]:
        """Where the dose was observed throughout."""
        return self.dose.known(self.missed_frames_max)

    @cached_property
    def dose_upper_cem43_min(self) -> NDArray[np.float32]:
        """95 % upper bound of the dose in minutes, infinite where it is unknown."""
        return self.dose.upper(self.repeated_sigma_c, self.dose_known)
