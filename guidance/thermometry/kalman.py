"""Bioheat Kalman filter: every voxel knows its temperature, its heating per unit of power, and how surely.

Prediction by the Pennes model with the source power * absorption, where the absorption (degC/s per unit
of power) is the second state; measurement with the map's own sigma. Power may be a map: the heating that is
expected of a known beam, and the absorption is then what the tissue makes of it. Planes between the slices of
the scanner, which it never sees, take over what their neighbours were corrected by. The part
of sigma that all frames share (reference noise) cannot be filtered away and is added to the answer. Innovations
beyond 4 sigma are artefacts and change nothing, unless they persist: then it is the filter that is wrong.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from guidance.thermometry.perfusion import Perfusion, PerfusionEstimate
from guidance.thermometry.placement import Placement
from guidance.tissue import BioheatModel

Map = NDArray[np.float32]
CONDUCTED_SHARE = 0.8  # of the decay that errors independent of their neighbours' would have


@dataclass(frozen=True)
class FilterSettings:
    """Process noise: of temperature (degC/sqrt(s)), of absorption with power on (degC/s/sqrt(s)).

    `persistent_frames` artefacts in a row restart a voxel from its measurement.
    """

    temperature_walk: float = 0.02
    model_share: float = 0.01  # 1/sqrt(s) of the rise: perfusion differs by half between tissues and patients
    absorption_walk: float = 0.02
    absorption_start: float = 0.5
    absorption_mean: float = 0.0
    between_planes: int = 0  # how far a slice speaks for planes that none passes
    between_kept: float = 0.8  # of a correction, from one plane to the next
    between_c: float = 0.3  # standard deviation of temperature and absorption that this adds
    between_absorption: float = 0.1
    perfusion_spread: float = 0.0  # of the factor on the model's perfusion, before anything is seen; 0: as it is
    gate_sigmas: float = 4.0
    persistent_frames: int = 3


@dataclass(frozen=True, eq=False)
class Filtered:
    """`temperature_c` and `sigma_c` after the frame; `artefact` marks measurements that were refused."""

    time_s: float
    temperature_c: Map
    sigma_c: Map
    artefact: NDArray[np.bool_]


class BioheatFilter:
    """State of the filter on one grid, from `start_c` with standard deviation `start_sigma_c`."""

    def __init__(
        self, model: BioheatModel, start_c: float, start_sigma_c: float, settings: FilterSettings | None = None
    ) -> None:
        self.model, self.settings = model, settings or FilterSettings()
        shape = model.shape
        self.temperature_c = np.full(shape, start_c, np.float32)
        self.absorption = np.full(shape, self.settings.absorption_mean, np.float32)
        self._tt = np.full(shape, start_sigma_c**2, np.float32)
        self._ta = np.zeros(shape, np.float32)
        self._aa = np.full(shape, self.settings.absorption_start**2, np.float32)
        self._refused = np.zeros(shape, np.uint8)
        self._time_s: float | None = None
        spread = self.settings.perfusion_spread
        self._perfusion = PerfusionEstimate(model, spread) if spread > 0.0 else None

    def update(
        self,
        temperature_c: Map,
        sigma_c: Map,
        time_s: float,
        *,
        power: float | Map = 0.0,
        shared_sigma_c: float | NDArray[Any] = 0.0,
        placement: Placement | None = None,
    ) -> Filtered:
        """Take the measured map at `time_s` (rising); `power` (any unit, always the same) was on since the last.

        `power` is one number, or a map of the heating that the beam is expected to give. `placement` says where
        the map was measured, if not in the middle of the voxels.

        A voxel with infinite `sigma_c` or no temperature is predicted only. Raises ValueError for time that does not
        rise, and where `shared_sigma_c` is more than the `sigma_c` of which it is a part.
        """
        if self._time_s is not None:
            if not time_s > self._time_s:
                raise ValueError(f"time {time_s} s does not follow {self._time_s} s")
            self._predict(time_s - self._time_s, power)
        self._time_s = time_s
        shared = np.square(np.float32(shared_sigma_c))
        own = np.square(sigma_c, dtype=np.float32) - shared
        seen = np.isfinite(temperature_c) & np.isfinite(own)
        if (own[seen] < -1e-6).any():
            raise ValueError("shared_sigma_c is more than sigma_c: has T0's error been left out of one of them?")
        noise = np.where(seen, np.maximum(own, 1e-6), 1.0).astype(np.float32)
        if placement is not None:
            temperature_c = temperature_c - placement.away_c(self.temperature_c)
            misplaced, always = placement.variances(self.temperature_c)
            noise, shared = noise + misplaced, shared + always
        innovation = np.where(seen, temperature_c - self.temperature_c, 0.0).astype(np.float32)
        total = self._tt + noise
        far = innovation**2 > self.settings.gate_sigmas**2 * (total + shared)
        artefact = seen & far
        self._refused = np.where(artefact, self._refused + 1, 0).astype(np.uint8)
        restart = self._refused >= self.settings.persistent_frames
        predicted_c = self.temperature_c
        self._correct(innovation, noise, total, seen & ~far)
        self._restart(restart, temperature_c, noise)
        if self.settings.between_planes and seen.any():
            self._between(seen, self.temperature_c - predicted_c)
        sigma = np.sqrt(self._tt + shared).astype(np.float32)
        return Filtered(time_s, self.temperature_c, sigma, artefact & ~restart)

    @property
    def perfusion(self) -> Perfusion | None:
        """What was learned of the perfusion; None where it is taken as the model has it."""
        return self._perfusion.now if self._perfusion else None

    @property
    def absorption_state(self) -> tuple[Map, Map]:
        """Absorption map of the present source and its variance, to be put back when that source is on again."""
        return self.absorption, self._aa

    def change_source(self, state: tuple[Map, Map] | None) -> None:
        """Another source is on from now: what was learned of it, or None where nothing was."""
        start = np.full(self.model.shape, self.settings.absorption_start**2, np.float32)
        mean = np.full(self.model.shape, self.settings.absorption_mean, np.float32)
        self.absorption, self._aa = state or (mean, start)
        self._ta = np.zeros(self.model.shape, np.float32)
        if self._perfusion:
            self._perfusion.change_source()

    def _between(self, seen: NDArray[np.bool_], corrected_c: Map) -> None:
        """Where no slice passes: the correction of the nearest planes that were seen, and what they learned.

        Only what neighbours were corrected by is taken over, so that a plane between follows them and never itself.
        """
        settings, mean = self.settings, np.float32(self.settings.absorption_mean)
        weights = np.zeros_like(corrected_c)
        sums = [np.zeros_like(corrected_c) for _ in range(4)]
        values = (corrected_c, self.absorption - mean, self._tt, self._aa)
        for far in range(1, settings.between_planes + 1):
            weight, kept = np.float32(1.0 / far**2), np.float32(settings.between_kept**far)
            for there, here in ((slice(far, None), slice(None, -far)), (slice(None, -far), slice(far, None))):
                share = np.where(seen[there], weight, np.float32(0.0))
                weights[here] += share
                for index, (total, value) in enumerate(zip(sums, values, strict=True)):
                    total[here] += share * value[there] * (kept if index < 2 else np.float32(1.0))
        filled = ~seen & (weights > 0.0)
        change, absorption, tt, aa = (total / np.where(filled, weights, np.float32(1.0)) for total in sums)
        self.temperature_c = np.where(filled, self.temperature_c + change, self.temperature_c)
        tt, aa = tt + np.float32(settings.between_c**2), aa + np.float32(settings.between_absorption**2)
        learned = filled & (aa < self._aa)  # else it knows better, from when a slice passed
        self.absorption = np.where(learned, mean + absorption, self.absorption)
        self._aa, self._ta = np.where(learned, aa, self._aa), np.where(filled, np.float32(0.0), self._ta)
        self._tt = np.where(filled, np.minimum(tt, self._tt), self._tt)

    def _predict(self, step_s: float, power: float | Map) -> None:
        gain = np.multiply(np.float32(step_s), power, dtype=np.float32)
        if self._perfusion:
            self._perfusion.predict(self.temperature_c, step_s, power)
        self.temperature_c = self.model.advance(self.temperature_c, step_s, self.absorption * np.float32(power))
        rise = self.temperature_c - np.float32(self.model.tissue.arterial_c)
        still = np.float32(self.settings.temperature_walk**2 * step_s)
        walk = still + np.float32(self.settings.model_share**2 * step_s) * rise * rise
        kept = self._kept(step_s)
        self._ta = self._ta * kept
        moved = self._tt * kept * kept + gain * (2.0 * self._ta + gain * self._aa) + walk
        self._tt = moved.astype(np.float32)
        self._ta = (self._ta + gain * self._aa).astype(np.float32)
        walked = np.float32(self.settings.absorption_walk**2 * step_s)
        self._aa = (self._aa + np.where(gain > 0.0, walked, np.float32(0.0))).astype(np.float32)

    def _kept(self, step_s: float) -> np.float32:
        """Share of an error that stays: perfusion takes some, neighbours that do not share it take some."""
        rate = self.model.tissue.perfusion_rate + CONDUCTED_SHARE * self.model.spreading_rate
        return np.float32(np.exp(-rate * step_s))

    def _correct(self, innovation: Map, noise: Map, total: Map, taken: NDArray[np.bool_]) -> None:
        gain_t = np.where(taken, self._tt / total, 0.0).astype(np.float32)
        gain_a = np.where(taken, self._ta / total, 0.0).astype(np.float32)
        self.temperature_c = self.temperature_c + gain_t * innovation
        self.absorption = self.absorption + gain_a * innovation
        if self._perfusion:
            warmer, absorbing = self._perfusion.learn(innovation, total, taken, gain_t, gain_a)
            self.temperature_c, self.absorption = self.temperature_c + warmer, self.absorption + absorbing
        self._aa = self._aa - gain_a * self._ta
        self._ta = self._ta - gain_t * self._ta
        self._tt = self._tt - gain_t * self._tt

    def _restart(self, where: NDArray[np.bool_], measured: Map, noise: Map) -> None:
        if where.any():
            near = ndimage.median_filter(np.where(np.isfinite(measured), measured, self.temperature_c), size=(1, 3, 3))
            self.temperature_c = np.where(where, near, self.temperature_c).astype(np.float32)
            self._tt = np.where(where, noise, self._tt).astype(np.float32)
            self._ta = np.where(where, np.float32(0.0), self._ta)
            self._aa = np.where(where, np.float32(self.settings.absorption_start**2), self._aa)
            self._refused = np.where(where, 0, self._refused).astype(np.uint8)
