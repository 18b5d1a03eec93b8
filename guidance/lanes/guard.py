"""The guard lane: thermometry of every frame and what the guards read from it."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from devices.messages import Image, Matrix
from guidance.lanes.following import Followed, Follower, with_motion
from guidance.lanes.places import PlacedRegions
from guidance.plan import Plan
from guidance.plan.checks import UNSEEN_BY_PRF
from guidance.settings import RoomSettings, Thermometry
from guidance.thermometry import ThermometryFrame, ThermometryPipeline, ThermometrySettings
from guidance.thermometry.hot import expected_c, joined_level_c
from guidance.thermometry.inputs import sequence_tags, split_echoes
from guidance.thermometry.unseen import RegionDose, Worst

Facts = dict[str, float | int | str | bool | None]
Result = tuple[Facts, dict[str, Any]]
GUARD_VALID_SHARE = 0.8  # of a guard's voxels must have a temperature for the guard to be known


def pipeline_settings(row: Thermometry) -> ThermometrySettings:
    """The lane's settings from the room's; without a measured T0 the map is relative to 37 degC."""
    return ThermometrySettings(
        echo_time_s=row.echo_time_s,
        more_echo_times_s=row.more_echo_times_s,
        field_t=row.field_t,
        t0_c=37.0 if row.t0_c is None else row.t0_c,
        t0_sigma_c=row.t0_sigma_c,
        alpha_ppm=row.alpha_ppm,
        phase_sign=row.phase_sign,
        baseline=row.baseline,
        reference_dynamics=row.reference_dynamics,
        drift_order=row.drift_order,
        **row.options | ({"cooling_alarm_c": None} if row.cools else {}),  # type: ignore[arg-type]
    )


def worst_case(row: Thermometry) -> Worst:
    """What tissue can do while it is not seen, from the room's settings."""
    return Worst(
        heat_c_per_s=row.unseen_heat_c_per_s, rest_c_per_s=row.unseen_rest_c_per_s, ceiling_c=row.unseen_ceiling_c
    )


class GuardWork:
    """State of the guard lane; `thermometry` is called by its one thread, a frame at a time."""

    def __init__(self, settings: RoomSettings, plan: Plan | None) -> None:
        self._row = settings.thermometry
        self._plan = plan
        self._guards = [guard.structure for guard in settings.guards]
        self._pipeline = ThermometryPipeline(pipeline_settings(self._row)) if self._row else None
        self._follower = Follower(self._row.follow_frames) if self._row and self._row.follow_frames else None
        self._period_s = next(
            (s.period_ms / 1e3 for s in settings.streams if self._row and s.name == self._row.stream), 0.0
        )
        worst = worst_case(self._row) if self._row else Worst()
        self._placed = PlacedRegions()
        self._masks: dict[str, NDArray[np.bool_]] = {}
        self._doses = {name: RegionDose(self._period_s, worst) for name in self._guards}
        self._masked_for: tuple[bytes, tuple[int, ...]] = (b"", ())
        self._last: ThermometryFrame | None = None

    def thermometry(self, image: Image, time_s: float, energy_s: float, late_s: float = 0.0) -> Result:
        """One frame: temperature, dose and the numbers of each guard.

        `energy_s` is the time for which energy may have flowed since the room began; `late_s` how old the frame will
        be when this is answered.
        """
        assert self._pipeline is not None, "a room without thermometry sends no such job"
        echo_s, field_t = sequence_tags(image.tags)
        echoes = split_echoes(image.pixels, len(echo_s or self._pipeline.settings.echo_times_s))
        pixels = echoes[0]
        self._cut_masks(image.frame_from_image_mm, pixels.shape)
        followed = self._follower.follow(pixels) if self._follower else None
        if followed is not None:
            if followed.verdict != "ok":
                return self._not_followed(followed, image, time_s, energy_s)
            echoes = [pixels := followed.pixels]
        frame = self._pipeline.update(
            echoes,
            time_s,
            echo_times_s=echo_s,
            field_t=field_t,
            place=image.frame_from_image_mm,
        )
        if followed is not None:
            frame = with_motion(frame, followed, self._pipeline.settings.sigma_display_c)
        expected = expected_c(frame, self._last, self._period_s, late_s)
        facts = self._facts(frame, expected, energy_s)
        facts |= self._placed.facts(frame, expected, image.frame_from_image_mm)
        if followed is not None:
            facts["motion_px"] = followed.shift_px
        self._last = frame if frame.state == "ok" else self._last
        arrays = {
            "magnitude": np.abs(pixels).astype(np.float32),
            "temperature_c": frame.temperature_c,
            "sigma_c": frame.sigma_c,
            "valid": frame.valid,
            "dose_cem43_min": frame.dose_cem43_min,
            "ras_from_image": image.frame_from_image_mm,
        }
        return facts, arrays

    def re_zero(self, carry: bool) -> Result:
        """A new reference; the dose stays. `carry` keeps the residual heat, without it the tissue must have cooled."""
        assert self._pipeline is not None, "a room without thermometry sends no such job"
        residual = None
        if carry and self._last is not None:
            rise = self._last.temperature_c - np.float32(self._pipeline.settings.t0_c)
            residual = np.where(self._last.valid, rise, np.float32(0.0))
        self._pipeline.re_zero(residual)
        return {"done": True}, {}

    def place(self, name: str, at_mm: tuple[float, float, float], radius_mm: float) -> Result:
        """Watch the ball round a point from the next frame on; radius 0 takes it away."""
        return {"points": self._placed.place(name, at_mm, radius_mm)}, {}

    def _cut_masks(self, ras_from_image: Matrix, shape: tuple[int, ...]) -> None:
        key = (ras_from_image.tobytes(), shape)
        if self._plan is None or key == self._masked_for:
            return
        size = (shape[0], shape[1], shape[2])
        self._masks = {name: self._plan.structure(name).mask(ras_from_image, size) for name in self._guards}
        unseen = [s.mask(ras_from_image, size) for s in self._plan.structures if s.tissue in UNSEEN_BY_PRF]
        for name, mask in self._masks.items():
            self._doses[name].cut(mask)
        self._masked_for = key
        assert self._pipeline is not None
        self._pipeline.excluded = np.logical_or.reduce(unseen) if unseen else None
        self._pipeline.heated = self._heated(ras_from_image, size)
        if self._follower is not None:
            self._follower.heated = self._pipeline.heated

    def _not_followed(self, followed: Followed, image: Image, time_s: float, energy_s: float) -> Result:
        """A frame whose tissue was not found gives no temperature and moves no structure."""
        facts: Facts = {"state": followed.verdict, "reason": f"motion: {followed.verdict}", "valid_share": 0.0}
        for name in self._guards:
            facts |= {f"{name}.{key}": value for key, value in self._unknown(name, time_s, energy_s).items()}
        magnitude = np.abs(followed.pixels).astype(np.float32)
        return facts, {"magnitude": magnitude, "ras_from_image": image.frame_from_image_mm}

    def _heated(self, ras_from_image: Matrix, shape: tuple[int, int, int]) -> NDArray[np.bool_]:
        """Where heat may appear: targets with their margin and the way that they move, and every guard."""
        assert self._plan is not None and self._row is not None
        index = np.indices(shape)[::-1].reshape(3, -1).astype(np.float64)
        points = (ras_from_image[:3, :3] @ index).T + ras_from_image[:3, 3]
        heated = np.zeros(points.shape[0], np.bool_)
        for target in self._plan.targets:
            reach = target.margin_mm + self._row.heated_reach_mm
            if target.structure is None:
                heated |= ((points - target.center_mm) ** 2).sum(axis=1) <= reach**2
            else:
                heated |= self._plan.structure(target.structure).signed_distance_mm(points) <= reach
        for mask in self._masks.values():
            heated |= mask.ravel()
        return heated.reshape(shape)

    def _facts(self, frame: ThermometryFrame, expected: NDArray[np.float32], energy_s: float) -> Facts:
        facts: Facts = {"state": frame.state, "reason": frame.reason, "valid_share": frame.valid_share}
        facts["untracked_share"] = frame.untracked_share
        hottest_c = self._pipeline.settings.t0_c if self._pipeline else 0.0
        if frame.valid.any():
            facts["max_c"] = hottest_c = float(frame.temperature_c[frame.valid].max())
            facts["mean_sigma_c"] = float(frame.sigma_c[frame.valid].mean())
            facts["max_cem43_min"] = float(frame.dose_cem43_min[frame.dose_known].max(initial=0.0))
        for name, mask in self._masks.items():
            valid = mask & frame.valid if frame.state == "ok" else np.zeros_like(mask)  # other shapes have other masks
            if np.count_nonzero(valid) < max(GUARD_VALID_SHARE * np.count_nonzero(mask), 1.0):
                found = self._unknown(name, frame.time_s, energy_s)
            else:
                found = self._guard(name, frame, expected, valid, hottest_c, energy_s)
            facts |= {f"{name}.{key}": value for key, value in found.items()}
        return facts

    def _unknown(self, name: str, time_s: float, energy_s: float) -> Facts:
        """No temperature: what the dose may have become meanwhile."""
        bound = self._doses[name].unseen(time_s, energy_s)
        return {"known": False} if bound is None else {"known": False, "dose_upper_cem43_min": bound}

    def _guard(
        self, name: str, frame: ThermometryFrame, expected: NDArray[np.float32], valid: NDArray[np.bool_],
        hottest_c: float, energy_s: float,
    ) -> Facts:  # fmt: skip
        """What the rules compare: T + rise until the next answer + 2 sigma, and the dose's upper bound."""
        shown = frame.temperature_c[valid]
        warmest = float((shown + 2.0 * frame.sigma_c[valid]).max())
        return {
            "known": True,
            "region_c": joined_level_c(expected, valid),
            "voxel_c": float(expected[valid].max()),
            "max_c": float(shown.max()),
            "mean_c": float(shown.mean(dtype=np.float64)),
            "dose_upper_cem43_min": self._doses[name].seen(frame, warmest, hottest_c, energy_s),
        }
