"""Heat in tissue coordinates: where the organ moved, what is filtered there, and its dose.

A grid around the target is fixed to the plan. The organ's shift in the image plane is found by correlation
(`organ.py`), slices are sampled where they pass the moved tissue (`region.py`), and the filter knows the beam: what it
put where since the last frame. Another scan plane samples the same grid, so filter and dose go on.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from devices.messages import Matrix
from guidance.lanes.forecast import lower_dose, upper_dose
from guidance.lanes.organ import OrganShift
from guidance.lanes.region import Region, Slices, coverage, cut_region
from guidance.plan import Plan
from guidance.settings import FocusedBeam, Heating
from guidance.thermometry.dose import mean_rate
from guidance.thermometry.kalman import BioheatFilter, Filtered, FilterSettings
from guidance.thermometry.placement import Placement
from guidance.thermometry.release import Carrier, ReleaseCount
from guidance.tissue import Beam, BioheatModel, Tissue

Facts = dict[str, float | int | str | bool | None]
Result = tuple[Facts, dict[str, Any]]
Map = NDArray[np.float32]
TRACK_SLICES = 1  # on either side of the middle
START_SIGMA_C = 0.5
LONGEST_STEP_S = 1.0  # of the prediction while nothing is measured
GAP_S = 5.0  # longer without a map, and the dose in between is told as not observed
KNOWN_SHARE = 0.8  # of the target's voxels in the slices must have a temperature
BEAM_FILTER = FilterSettings(absorption_mean=1.0, absorption_start=0.4, between_planes=1)


def beam_of(row: FocusedBeam) -> Beam:
    """The beam of the room's settings."""
    return Beam(
        row.direction, row.sigma_along_mm, row.sigma_across_mm, row.focal_share, row.near_share, row.half_angle_deg,
        row.path_mm,
    )  # fmt: skip


class HeatingWork:
    """State of the guard lane for one target; `heating` is called once a frame."""

    def __init__(self, row: Heating | None, plan: Plan | None, t0_c: float, t0_sigma_c: float = 0.0) -> None:
        self._row, self._plan, self._t0_c, self._t0_sigma_c = row, plan, t0_c, t0_sigma_c
        self._tissue = Tissue(arterial_c=t0_c)
        self._beam = beam_of(row.beam) if row and row.beam else None
        self._patterns: dict[int, Map] = {}
        self._region: Region | None = None
        self._slices: Slices | None = None
        self._filter: BioheatFilter | None = None
        self._point = -1
        self._learned: dict[int, tuple[Map, Map]] = {}
        self._last: tuple[Map, float] | None = None
        self._measured_s = 0.0
        self._unobserved_s = 0.0
        self._release: ReleaseCount | None = None

    def heating(
        self, state: str, time_s: float, beam: NDArray[np.float64], ras_from_image: Matrix, **volume: Any
    ) -> Result:
        """Take one thermometry answer; `beam` (n, 3) has seconds, W and sonication point since the last."""
        assert self._row is not None and self._plan is not None, "a room without [heating] sends no such job"
        if self._last is not None and time_s <= self._last[1]:
            return {"state": "time_not_rising", "known": False}, {}
        if state != "ok":
            self._pass(time_s, beam)
            return {"state": state, "known": False}, {}
        self._look(ras_from_image)
        assert self._slices is not None
        middle = min(max(self._slices.middle[0], 0), volume["magnitude"].shape[0] - 1)
        low = max(middle - TRACK_SLICES, 0)
        shift = self._shift.update(volume["magnitude"][low : middle + TRACK_SLICES + 1])
        if shift is None:
            self._pass(time_s, beam)
            return {"state": "settling", "known": False}, {}
        passed, placement, own, sigma = self._sample(shift, volume)
        found = self._step(time_s, beam, own, sigma, placement)
        self._unobserved_s += max(0.0, time_s - self._measured_s - GAP_S) if self._measured_s else 0.0
        self._measured_s = time_s
        return self._facts(found, passed, np.isfinite(sigma), shift), self._arrays(found)

    def _look(self, ras_from_image: Matrix) -> None:
        """Where these slices pass the grid; the first ones also say how its axes lie."""
        assert self._row is not None and self._plan is not None
        if self._slices is not None and self._slices.place == ras_from_image.tobytes():
            return
        if self._region is None:
            self._region = region = cut_region(self._plan, self._row, ras_from_image)
            model = BioheatModel(region.shape, region.spacing_mm, self._tissue)
            settings = BEAM_FILTER if self._beam else FilterSettings(between_planes=1)
            self._filter = BioheatFilter(model, self._t0_c, START_SIGMA_C, settings)
            self._dose, self._log_variance = np.zeros(region.shape), np.zeros(region.shape)
        self._slices = Slices(self._region, ras_from_image, self._row.motion_direction)
        self._shift = OrganShift(self._slices.middle[1:])

    def _sample(
        self, shift: tuple[float, float], volume: dict[str, Any]
    ) -> tuple[NDArray[np.bool_], Placement, Map, Map]:
        """Where slices pass the grid, how well; temperature and sigma there, infinite where there is none."""
        assert self._slices is not None
        temperature = volume["temperature_c"]
        valid = volume["valid"] & np.isfinite(temperature)
        maps = [
            (np.where(valid, temperature, np.float32(self._t0_c)), 3),
            (np.where(valid, volume["sigma_c"], np.float32(3.0)), 1),
            (valid.astype(np.float32), 1),
        ]
        passed, placement, (own, sigma, seen) = self._slices.sample(shift, temperature.shape, maps)
        usable = passed & (seen > 0.99)
        sigma = np.where(usable, np.maximum(sigma, 0.05), np.float32(np.inf)).astype(np.float32)
        return passed, placement, own, sigma

    def _pass(self, time_s: float, beam: NDArray[np.float64]) -> None:
        """Time goes on without a map: the model alone carries temperature and dose."""
        if self._region is not None and self._last is not None:
            nothing = np.full(self._region.shape, np.inf, np.float32)
            self._step(time_s, beam, nothing, nothing)

    def _step(
        self, time_s: float, beam: NDArray[np.float64], own: Map, sigma: Map, placement: Placement | None = None
    ) -> Filtered:
        """Predict up to `time_s`, in steps short enough for the dose, and take the map there."""
        kalman, dark = self._filter, np.full(own.shape, np.inf, np.float32)
        assert kalman is not None
        begin = time_s if self._last is None else self._last[1]
        whole = max(time_s - begin, 1e-9)
        parts = max(1, int(np.ceil(whole / LONGEST_STEP_S - 1e-6)))
        spans = beam[:, 0] * whole / max(float(beam[:, 0].sum()), 1e-9)
        ends = np.cumsum(spans)
        for part in range(1, parts + 1):
            until, since = whole * part / parts, whole * (part - 1) / parts
            share = np.clip(ends, since, until) - np.clip(ends - spans, since, until)
            drive = self._drive(share / (until - since), beam)
            last = part == parts
            at_s = time_s if last else begin + until
            found = kalman.update(
                own if last else dark, sigma if last else dark, at_s, power=drive, placement=placement if last else None
            )
            self._add_dose(found, at_s)
            self._add_release(found, float(share @ beam[:, 1]) if beam.size else 0.0, until - since)
        return found

    def _drive(self, share: NDArray[np.float64], beam: NDArray[np.float64]) -> Map | float:
        """Heating that the beam should have given, degC/s; without a known beam its mean power, W."""
        power = float(share @ beam[:, 1]) if beam.size else 0.0
        if self._beam is None:
            self._switch(int(beam[-1, 2]) if beam.size else 0)
            return power
        assert self._region is not None
        drive = np.zeros(self._region.shape, np.float32)
        for part, (_, watts, point) in zip(share, beam, strict=True):
            if part * watts > 0.0:
                drive += np.float32(part * watts) * self._pattern(int(point))
        return drive

    def _pattern(self, point: int) -> Map:
        """Heating by one watt at a sonication point, degC/s."""
        if point not in self._patterns:
            assert self._region is not None and self._beam is not None
            points, focus = self._region.points_mm, self._region.foci_mm[point]
            heat = self._beam.focal_c_per_s(points, focus, self._tissue)
            heat = heat + self._beam.near_c_per_s(points, focus, self._tissue)
            self._patterns[point] = heat.reshape(self._region.shape).astype(np.float32)
        return self._patterns[point]

    def _switch(self, point: int) -> None:
        """Each sonication point of an unknown beam has its own absorption map."""
        kalman = self._filter
        assert kalman is not None
        if point == self._point:
            return
        self._learned[self._point] = kalman.absorption_state
        kalman.change_source(self._learned.get(point))
        self._point = point

    def _add_dose(self, found: Filtered, time_s: float) -> None:
        if self._last is not None:
            before, before_s = self._last
            gain = mean_rate(before.astype(np.float64), found.temperature_c.astype(np.float64))
            self._dose = self._dose + gain * ((time_s - before_s) / 60.0)
            total = np.maximum(self._dose, 1e-6)
            grown = gain * ((time_s - before_s) / 60.0) / total
            self._log_variance = (1.0 - grown) * self._log_variance + grown * np.square(found.sigma_c)
        self._last = (found.temperature_c, time_s)

    def _add_release(self, found: Filtered, joules: float, step_s: float) -> None:
        """Counted from the first energy on: the infusion is taken to begin with it."""
        row = self._row.release if self._row else None
        if row is None or (self._release is None and joules <= 0.0):
            return
        if self._release is None:
            carrier = Carrier(row.half_c, row.width_c, row.most_per_s, row.transit_s, row.plasma_half_s)
            self._release = ReleaseCount(carrier, found.temperature_c.shape)
        self._release.add(found.temperature_c, step_s)

    def _release_facts(self) -> Facts:
        region, count = self._region, self._release
        if region is None or count is None:
            return {}
        r10, r50, r90 = np.percentile(count.share[region.target], (90.0, 50.0, 10.0))
        return {
            "release_mean": float(count.share[region.target].mean()),
            "release_10": float(r10),
            "release_50": float(r50),
            "release_90": float(r90),
            "window_share": float(count.window_s[region.target].mean() / max(count.seconds, 1e-9)),
            "release_s": count.seconds,
        }

    def _dose_sigma_c(self) -> NDArray[np.float64]:
        """The error of the temperature behind the dose, degC: the filter's where the dose was given, and T0's."""
        return np.sqrt(self._log_variance + self._t0_sigma_c**2)

    def _arrays(self, found: Filtered) -> dict[str, Any]:
        region, kalman = self._region, self._filter
        assert region is not None and kalman is not None
        sigma = self._dose_sigma_c()
        return {
            "region_ras": region.ras_from_box,
            "region_spacing_mm": np.asarray(region.spacing_mm),
            "region_temperature_c": found.temperature_c,
            "region_sigma_c": found.sigma_c,
            "region_dose_min": self._dose.astype(np.float32),
            "region_dose_lower_min": lower_dose(self._dose, sigma),
            "region_dose_upper_min": upper_dose(self._dose, sigma),
            "region_absorption": kalman.absorption,
            "region_treated": region.treated,
            "region_wanted": region.wanted,
            "region_target": region.target,
            "region_cells": region.cells,
        }

    def _facts(self, found: Filtered, passed: NDArray[np.bool_], seen: NDArray[np.bool_], shift: tuple[float, float]
               ) -> Facts:  # fmt: skip
        region, row = self._region, self._row
        assert region is not None and row is not None
        temperature = found.temperature_c
        t10, t50, t90 = np.percentile(temperature[region.target], (90.0, 50.0, 10.0))
        share, margin_share = coverage(region, self._dose, row.cem43_min)
        lower, margin_lower = coverage(region, lower_dose(self._dose, self._dose_sigma_c()), row.cem43_min)
        in_slices = passed & region.target
        known = seen[in_slices].mean() >= KNOWN_SHARE if in_slices.any() else False
        return {
            "state": "ok" if in_slices.any() else "target_not_in_slices",
            "known": bool(known),
            "t10_c": float(t10),
            "t50_c": float(t50),
            "t90_c": float(t90),
            "hottest_c": float(temperature[region.treated].max()),
            "coverage": share,
            "margin_coverage": margin_share,
            "coverage_lower": lower,
            "margin_coverage_lower": margin_lower,
            "unobserved_s": self._unobserved_s,
            "artefact_share": float(found.artefact[passed].mean()) if passed.any() else 0.0,
            "shift_column_px": shift[0],
            "shift_row_px": shift[1],
        } | self._release_facts()
