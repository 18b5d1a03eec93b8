"""One stream of complex images in, temperature and dose with their uncertainty out."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from devices.quality import Quality
from guidance.thermometry.baselines import BASELINES, Baseline
from guidance.thermometry.combine import CoilCombiner, combine_echoes
from guidance.thermometry.drift import NO_DRIFT, DriftSample
from guidance.thermometry.elsewhere import resampler
from guidance.thermometry.faults import Fault, SeenPixels, dark_slices, result_fault, sequence_fault
from guidance.thermometry.frame import STATES, DoseState, SharedError, ThermometryFrame
from guidance.thermometry.kernel import fused_pass
from guidance.thermometry.likeness import Likeness
from guidance.thermometry.noise import measure_noise
from guidance.thermometry.plain import MISSED_MASK, PassInputs, PassOutputs, drift_plane
from guidance.thermometry.settings import ThermometrySettings
from guidance.thermometry.trust import TrackTrust
from guidance.thermometry.waterfat import FatSubtraction, separate

Complex = NDArray[np.complexfloating[Any, Any]]
Map = NDArray[np.float32]
FLOOR_SHARE = 1e-3  # of the largest magnitude: below this there is no signal at all
RE_ZERO_LIMIT_C = 1.0
PLACE_TOLERANCE_MM = 0.05
GAIN_LEAST = 1.25  # a median magnitude so much above the reference's is another receiver gain
GAIN_VOXELS = 500


class ThermometryPipeline:
    """State of one image stream. Arrays handed out are never written again.

    Frames are [slice, row, column], [coil, slice, row, column], or a sequence of such, one per
    echo. `excluded` (fat, bone; [slice, row, column]) never gets a temperature; `drift_region`
    limits the drift fit to a reference region; `heated` is where heat may appear: baselines and
    drift are fitted outside of it.
    """

    def __init__(
        self,
        settings: ThermometrySettings,
        *,
        excluded: NDArray[np.bool_] | None = None,
        drift_region: NDArray[np.bool_] | None = None,
        heated: NDArray[np.bool_] | None = None,
    ) -> None:
        self.settings = settings
        self.excluded, self.drift_region, self.heated = excluded, drift_region, heated
        self.number = 0
        self.tissue: NDArray[np.bool_] | None = None
        self.dose: DoseState | None = None
        self._heat = self._fit = np.zeros((0, 0, 0), np.bool_)
        self._heard = np.zeros(0, np.intp)  # voxels that tell the receiver's gain
        self._shape: tuple[tuple[int, ...], ...] = ()
        self._waiting: list[list[Complex]] = []
        self._baselines: list[Baseline] = []
        self._coils: list[CoilCombiner | None] = []
        self._fat: FatSubtraction | None = None
        self.fat_mask: NDArray[np.bool_] | None = None
        self._residual_c: Map | None = None
        self._noise = settings.noise or 0.0
        self._floor = 0.0
        self._drift: tuple[float, ...] = NO_DRIFT
        self._sample: DriftSample | None = None
        self._trust: TrackTrust | None = None
        self._place: NDArray[np.float64] | None = None
        self._likeness: Likeness | None = None
        self._pixels = SeenPixels()
        self._seen_s = -math.inf
        self._tracks: tuple[Map, Map] | None = None  # temperatures of the last two frames, gaps filled
        self._last_s: float | None = None
        self._step_s = 0.0
        self._bridge = False
        self._shared_c = SharedError(np.zeros((0, 0, 0), np.complex64), 0.0, settings.t0_sigma_c)

    def update(
        self,
        frame: Complex | Sequence[Complex],
        time_s: float,
        *,
        echo_times_s: Sequence[float] | None = None,
        field_t: float | None = None,
        place: NDArray[np.float64] | None = None,
    ) -> ThermometryFrame:
        """Take one frame acquired at `time_s`; `echo_times_s` and `field_t` as the scanner tagged it (None = unsaid).

        `place` (4, 4) is where the slices lie; a frame elsewhere than the reference has no temperature.

        Raises ValueError for real pixels, a number of echoes that the settings do not have where the scanner did not
        tag them, or a wrong number of axes; everything else that is wrong becomes the state of the answer.
        """
        self.number += 1
        told = len(echo_times_s or self.settings.echo_times_s)
        if told != len(self.settings.echo_times_s) and (fault := sequence_fault(self.settings, echo_times_s, field_t)):
            return self._nothing(time_s, fault)
        images = self._as_echoes(frame)
        fault = self._place_fault(place) or self._arrival_fault(images, time_s, echo_times_s, field_t)
        if fault is not None:
            return self._nothing(time_s, fault)
        self._seen_s = time_s
        if not self._baselines:
            return self._acquire(images, time_s)
        return self._measure(self._one_coil(images), time_s)

    def re_zero(self, residual_c: Map | None = None) -> None:
        """Start a new reference and keep the dose.

        `residual_c` is the temperature above T0 (degC, a map) that remains and is carried; without
        it the tissue must have cooled: ValueError when any connected warm spot exceeds 1 degC.
        """
        if residual_c is None and self._tracks is not None:
            with np.errstate(invalid="ignore"):
                rest = float(np.nanpercentile(self._tracks[0][self._require_tissue()], 99.0)) - self.settings.t0_c
            if rest > RE_ZERO_LIMIT_C:
                raise ValueError(f"tissue is still {rest:.1f} degC above T0: wait, or give the residual map to carry")
        self._residual_c = residual_c
        self._baselines, self._waiting, self._drift = [], [], NO_DRIFT
        self._bridge = True

    def learn(self, frame: Complex | Sequence[Complex]) -> None:
        """Add one frame that is known to be unheated to the baselines."""
        for baseline, image in zip(self._baselines, self._one_coil(self._as_echoes(frame)), strict=True):
            baseline.learn(image)
        if self._likeness is not None:
            self._likeness.learn(self._one_coil(self._as_echoes(frame))[0])

    def _carry(self, place: NDArray[np.float64]) -> None:
        """The slices lie elsewhere: dose, tracks and residual heat move to the voxels that now see their tissue.

        Where the old slices saw nothing the dose is unknown, and residual heat too: no temperature there.
        """
        if self._place is None or self.dose is None or np.array_equal(place, self._place):
            return
        resample = resampler(self._place, place, self.dose.dose_min.shape)
        dose, variance, marks = self.dose.dose_min, self.dose.variance, self.dose.marks
        self.dose = DoseState(
            resample(dose, 1, 0.0), resample(variance, 1, 0.0), resample(marks, 0, float(MISSED_MASK))
        )
        if self._residual_c is not None:
            self._residual_c = resample(self._residual_c, 1, math.nan)
        if self._tracks is not None:
            last_c, before_c = self._tracks
            self._tracks = resample(last_c, 0, math.nan), resample(before_c, 0, math.nan)

    def _as_echoes(self, frame: Complex | Sequence[Complex]) -> list[Complex]:
        images = [frame] if isinstance(frame, np.ndarray) else list(frame)
        wanted = len(self.settings.echo_times_s)
        if len(images) != wanted:
            raise ValueError(f"{len(images)} echoes given, the settings have {wanted} echo times")
        for image in images:
            if not np.iscomplexobj(image) or image.ndim not in (3, 4):
                raise ValueError(
                    f"a frame must be complex [slice, row, column] or [coil, ...], not {image.dtype} {image.shape}"
                )
        return [np.asarray(image, dtype=np.complex64) for image in images]

    def _place_fault(self, place: NDArray[np.float64] | None) -> Fault:
        if place is None:
            return None
        if self._place is None or not (self._baselines or self._waiting):
            self._carry(place)
            self._place = place
        moved = float(np.abs(place - self._place).max())
        return ("plane_moved", f"{moved:.2f} mm") if moved > PLACE_TOLERANCE_MM else None

    def _arrival_fault(
        self, images: list[Complex], time_s: float, echoes: Sequence[float] | None, field_t: float | None
    ) -> Fault:
        shape = tuple(image.shape for image in images)
        self._shape = self._shape or shape
        if shape != self._shape:
            return "shape_changed", f"{shape} after {self._shape}"
        if (fault := sequence_fault(self.settings, echoes, field_t)) is not None:
            return fault
        if not (math.isfinite(time_s) and time_s > self._seen_s):
            return "time_not_rising", f"{time_s:.3f} s after {self._seen_s:.3f} s"
        if (ago := self._pixels.again(images)) > 0:
            return "repeated_frame", f"{ago} before"
        return None

    def _acquire(self, images: list[Complex], time_s: float) -> ThermometryFrame:
        if not all(np.isfinite(image).all() for image in images):
            return self._nothing(time_s, ("not_finite", "refused as reference"))
        if not all(image.any() for image in images):
            return self._nothing(time_s, ("no_signal", "refused as reference"))
        if dark := dark_slices(images[0], self.settings.mask_fraction, self.heated):
            return self._nothing(time_s, ("missing_slice", f"{dark}, refused as reference"))
        self._waiting.append(images)
        wanted = max(self.settings.reference_dynamics, BASELINES[self.settings.baseline]().minimum_frames)
        if len(self._waiting) < wanted:
            return self._nothing(time_s, ("acquiring_reference", f"{len(self._waiting)} of {wanted}"))
        self._open(self._waiting)
        self._waiting = []
        return self._nothing(time_s, ("acquiring_reference", f"{wanted} of {wanted}"))

    def _open(self, waiting: list[list[Complex]]) -> None:
        """Everything that is fixed with the reference: coils, noise, tissue, baselines, drift sample."""
        echoes = list(zip(*waiting, strict=True))
        self._coils = [CoilCombiner(echo) if echo[0].ndim == 4 else None for echo in echoes]
        self._fat = self.fat_mask = None
        combined = [self._one_coil(images) for images in waiting]
        first = [images[0] for images in combined]
        self._noise = self.settings.noise or measure_noise(first)
        magnitude = np.mean([np.abs(image) for image in first], axis=0)
        tissue = magnitude > self.settings.mask_fraction * magnitude.max()
        self.tissue = tissue if self.excluded is None else tissue & ~self.excluded
        self._floor = FLOOR_SHARE * float(magnitude.max())
        if self.settings.fat != "ignore":
            combined = self._without_fat(combined)
        self._baselines = [BASELINES[self.settings.baseline]() for _ in echoes]
        for images in combined:
            for baseline, image in zip(self._baselines, images, strict=True):
                baseline.learn(image)
        self._heat = np.zeros_like(tissue) if self.heated is None else self.heated
        self._fit = self.tissue & ~self._heat
        fitted = np.flatnonzero(self._fit)
        self._heard = fitted[:: max(1, fitted.size // GAIN_VOXELS)]
        self._likeness = Likeness([images[0] for images in combined], self._fit)
        region = self._fit if self.drift_region is None else self._fit & self.drift_region
        self._sample = DriftSample(region, self.settings.drift_order) if self.settings.drift_order >= 0 else None
        self._trust = TrackTrust(self.tissue, self.settings.t0_c, self.settings.fastest_c_per_s)
        if self.dose is None or self.dose.dose_min.shape != tissue.shape:
            self.dose = DoseState.zero(tissue.shape)
            self._tracks = None

    def _without_fat(self, combined: list[list[Complex]]) -> list[list[Complex]]:
        """Mask the fat; with the model, take it out of the reference frames, and from now on out of every frame."""
        assert self.tissue is not None
        settings = self.settings
        means = [np.mean(echo, axis=0) for echo in zip(*combined, strict=True)]
        found = separate(means, settings.echo_times_s, settings.field_t, phase_sign=settings.phase_sign)
        self.fat_mask = found.mask(settings.fat_share)
        self.tissue = self.tissue & ~self.fat_mask
        if settings.fat == "mask":
            return combined
        self._fat = FatSubtraction(found, settings.echo_times_s, settings.field_t, settings.phase_sign)
        return [list(self._fat.water(images)) for images in combined]

    def _one_coil(self, images: list[Complex]) -> list[Complex]:
        one = [image if coil is None else coil.combine(image) for image, coil in zip(images, self._coils, strict=True)]
        if self._fat is None:
            return one
        hz_per_c = 1.0 / (2.0 * math.pi * self.settings.echo_time_s * self.settings.degrees_per_radian())
        return list(self._fat.water(one, drift_plane(self._drift, one[0].shape) * hz_per_c))

    def _require_tissue(self) -> NDArray[np.bool_]:
        assert self.tissue is not None, "the reference is not complete"
        return self.tissue

    def _measure(self, images: list[Complex], time_s: float) -> ThermometryFrame:
        given = self._given(images, time_s)
        found = fused_pass(given)
        self._hide_void(given, found)
        assert self._trust is not None, "the reference is not complete"
        fault = result_fault(self.settings, found, self._require_tissue())
        if fault is None or STATES[fault[0]][0] is Quality.SUSPECT:
            fault = self._jump(images[0]) or fault
        if fault is not None and STATES[fault[0]][0] is not Quality.SUSPECT:
            return self._nothing(time_s, fault)
        trusted = self._trust.judge(given, found)
        fault = result_fault(self.settings, found, self._require_tissue())
        track, last_c = trusted.track_c, trusted.before_c
        if found.lost:  # a voxel that comes back is unwrapped towards what it was
            track = np.where(np.isnan(track), last_c, track)
        self._tracks = (track, last_c)
        self._step_s = 0.0 if self._last_s is None else time_s - self._last_s
        self._last_s, self._bridge = time_s, False
        self.dose = DoseState(found.dose_min, found.variance, found.marks)
        state, detail = fault or ("ok", "")
        tissue = self._require_tissue()
        return ThermometryFrame(
            time_s=time_s,
            number=self.number,
            state=state,
            detail=detail,
            temperature_c=found.temperature_c,
            sigma_c=found.sigma_c,
            valid=found.valid,
            dose=self.dose,
            shared_error=self._shared_c,
            missed_frames_max=self.settings.missed_frames_max,
            valid_share=int(np.count_nonzero(found.valid & tissue)) / max(int(np.count_nonzero(tissue)), 1),
            noise=self._noise,
            drift_c=self._drift,
            untracked_share=trusted.lost / max(int(np.count_nonzero(tissue)), 1),
            warnings=self._warnings(found, last_c),
        )

    def _jump(self, image: Complex) -> Fault:
        """Whether the tissue lies where no frame before showed it: its baseline would be another tissue's."""
        if self.settings.void_share > 0.0 or self._likeness is None:
            return None
        distance, limit = self._likeness.distance(image), self._likeness.limit
        return ("picture_jumped", f"{distance:.3f}, limit {limit:.3f}") if distance > limit else None

    def _hide_void(self, given: PassInputs, found: PassOutputs) -> None:
        """Ice answers with noise, whose phase would read as any temperature."""
        if self.settings.void_share > 0.0:
            void = np.abs(given.image) < self.settings.void_share * np.abs(given.reference)
            found.temperature_c[void], found.sigma_c[void], found.valid[void] = np.nan, np.inf, False

    def _given(self, images: list[Complex], time_s: float) -> PassInputs:
        assert self.dose is not None
        settings, tissue = self.settings, self._require_tissue()
        estimates = [
            baseline.estimate(image, self._fit, self._heat)
            for baseline, image in zip(self._baselines, images, strict=True)
        ]
        references = [self._prepare(estimate.image, echo) for echo, estimate in enumerate(estimates)]
        nothing = np.full(tissue.shape, np.nan, np.float32)
        last_c, before_c = self._tracks or (nothing, nothing)
        image, reference, scale = images[0], references[0], settings.degrees_per_radian()
        if len(images) > 1:
            scales = [settings.degrees_per_radian(echo) for echo in range(len(images))]
            image, reference, scale = combine_echoes(images, references, scales, last_c - settings.t0_c)
        share = 1.0 / estimates[0].averaged
        model_c = np.atleast_1d(np.float32(abs(scale)) * np.asarray(estimates[0].model_rad, np.float32))
        self._shared_c = SharedError(
            reference, abs(scale) * self._noise * math.sqrt(share), settings.t0_sigma_c, model_c
        )
        gain = self._gain(image, reference)
        self._fit_drift(image, reference, scale, last_c, gain * self._noise)
        step_s, marks = self._step(time_s)
        return PassInputs(
            image=image,
            reference=reference,
            last_c=last_c,
            before_c=before_c,
            dose_min=self.dose.dose_min,
            variance=self.dose.variance,
            marks=marks,
            degrees_per_radian=scale,
            t0_c=settings.t0_c,
            drift_c=self._drift,
            lead=min(step_s / self._step_s, 2.0) if self._step_s > 0.0 else 0.0,
            step_min=step_s / 60.0,
            noise=gain * self._noise,
            reference_share=share / gain**2,
            model_c=model_c,
            floor=self._floor,
            sigma_display_c=settings.sigma_display_c,
            sigma_dose_c=settings.sigma_dose_c,
        )

    def _prepare(self, reference: Complex, echo: int) -> Complex:
        """The reference without excluded tissue, turned by the residual heat that a re-zero carries."""
        for hidden in (self.excluded, self.fat_mask):
            if hidden is not None:
                reference = np.where(hidden, np.complex64(0.0), reference)
        if self._residual_c is not None:
            unknown = np.isnan(self._residual_c)
            residual_c = np.where(unknown, np.float32(0.0), self._residual_c)
            turned = np.exp(-1j * residual_c / self.settings.degrees_per_radian(echo))
            reference = np.where(unknown, np.complex64(0.0), reference * turned).astype(np.complex64)
        return reference

    def _gain(self, image: Complex, reference: Complex) -> float:
        """How much louder the receiver is than it was with the reference: its noise is as well.

        A weaker signal may be loss without less noise, so nothing is taken off for that.
        """
        if not self._heard.size:
            return 1.0
        now, then = (float(np.median(np.abs(values.reshape(-1)[self._heard]))) for values in (image, reference))
        return now / then if then * GAIN_LEAST < now < math.inf else 1.0

    def _fit_drift(self, image: Complex, reference: Complex, scale: float, last_c: Map, noise: float) -> None:
        if self._sample is None:
            return
        change = last_c - np.float32(self.settings.t0_c)
        self._drift = self._sample.fit(image, reference, change, scale, noise, self._drift)

    def _step(self, time_s: float) -> tuple[float, NDArray[np.uint8]]:
        """Seconds over which dose is integrated, and the marks; a gap that is too long counts as missed."""
        assert self.dose is not None
        if self._last_s is None:
            return 0.0, self.dose.marks
        step_s = time_s - self._last_s
        if step_s <= self.settings.max_gap_s or self._bridge:
            return step_s, self.dose.marks
        return 0.0, (self.dose.marks | MISSED_MASK).astype(np.uint8)

    def _warnings(self, found: PassOutputs, last_c: Map) -> tuple[str, ...]:
        warnings = []
        if found.not_finite:
            warnings.append(f"{found.not_finite} pixels are not finite")
        if self._step_s > self.settings.slow_frame_s:
            rise = np.where(found.valid, found.temperature_c - last_c, 0.0)
            fastest = float(np.nanmax(rise)) / self._step_s
            if fastest > self.settings.fast_heating_c_per_s:
                warnings.append(
                    f"slow frames ({self._step_s:.1f} s) while heating {fastest:.1f} degC/s: dose is uncertain"
                )
        return tuple(warnings)

    def _nothing(self, time_s: float, fault: tuple[str, str]) -> ThermometryFrame:
        """An answer without temperature; the dose stays as it was."""
        shape = self._shape[0][-3:] if self._shape else (0, 0, 0)
        dose = self.dose or DoseState.zero(shape)
        return ThermometryFrame(
            time_s=time_s,
            number=self.number,
            state=fault[0],
            detail=fault[1],
            temperature_c=np.full(shape, np.nan, np.float32),
            sigma_c=np.full(shape, np.inf, np.float32),
            valid=np.zeros(shape, np.bool_),
            dose=dose,
            shared_error=self._shared_c,
            missed_frames_max=self.settings.missed_frames_max,
            noise=self._noise,
            drift_c=self._drift,
        )
