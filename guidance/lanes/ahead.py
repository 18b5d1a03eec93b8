"""Planning ahead for one steered beam: from the filtered map and the known beam to the power of every focus.

What is asked and what is forbidden is said per voxel; what happens without power comes from the bioheat model, what
each focus adds from the beam as the tissue was found to take it.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from guidance.lanes.heating import beam_of
from guidance.plan import Plan
from guidance.settings import Heating
from guidance.therapy import Aim, PredictiveController, PredictiveSettings
from guidance.thermometry.dose import BREAK_C
from guidance.thermometry.forecast import cooled_dose
from guidance.tissue import BioheatModel, Tissue

Map = NDArray[np.float32]
Values = NDArray[np.float64]
HORIZON_S = 4.0
PLAN_S = 0.39  # a plan is carried out for so long before the next is made
COOL_S = 0.99  # ... and what cooling will add for so long
NEAR_MM = 8.0  # around the wanted volume: voxels whose ceiling counts
BEYOND_MM = 2.0  # further from the wanted volume than this nothing may reach the dose
BEYOND_S = 60.0  # ... in this time, if it stayed as it is
HOT_RESERVE_C = 3.0  # below the hottest temperature allowed
HOLD_SPAN_C = 0.9  # above the temperature that is held, the ceiling
TRIM_PER_S = 0.02  # how fast a lasting difference of the median is taken back
TRIM_MAX_C = 1.0
SPREAD_C = 0.8  # while it is warmed, the coldest tenth of the target may be so much below what is asked of all of it
CREEP_C_PER_S = 0.005  # ... which rises so fast in any case: what cools too well must not keep the rest from its heat
ABSORBS = {"bone": 8.0}  # against soft tissue; tissues that are not named absorb alike
COOLS_PER_S = {"bone": 0.01}  # to the tissue around it
LONGEST_STEP_S = 5.0
GUARD_S = 30.0  # a guard must bear the full power for this long
GUARD_RESERVE_C = 0.5


class PlanAhead:
    """Foci, response and aims of one target, made with its first map."""

    def __init__(self, row: Heating, most_w: float, t0_c: float, region: dict[str, Any]) -> None:
        assert row.beam is not None, "the settings ask for a beam in this mode"
        self._row, self._t0_c = row, t0_c
        shape, spacing = region["region_treated"].shape, tuple(region["region_spacing_mm"].tolist())
        tissue = Tissue(arterial_c=t0_c)
        self.model = BioheatModel(shape, spacing, tissue)
        ras = region["region_ras"]
        points = (ras[:3, :3] @ np.indices(shape)[::-1].reshape(3, -1)).T + ras[:3, 3]
        self._wanted, self._target = region["region_wanted"], region["region_target"]
        self._treated = region["region_treated"]
        self._far = _distance_mm(self._wanted, spacing)
        self._near = (self._far <= NEAR_MM).ravel()
        beam = beam_of(row.beam)
        foci = np.asarray(row.points_mm, float)
        still = np.full(shape, t0_c, np.float32)
        answers = [
            self.model.advance(still, HORIZON_S, beam.focal_c_per_s(points, focus, tissue).reshape(shape)) - t0_c
            for focus in foci
        ]
        self._response = np.stack([answer.ravel()[self._near] for answer in answers], axis=1).astype(np.float64)
        self.controller = PredictiveController(len(foci), PredictiveSettings(most_w))
        self._trim_c, self._asked_c = 0.0, t0_c
        self._planned_s = self._cooled_s = -np.inf
        self._done = False
        self._cooling = np.zeros(shape, np.float32)

    def update(self, time_s: float, temperature: Map, region: dict[str, Any], most_w: float) -> tuple[Values, bool]:
        """Power of each focus, W, and whether everything has its dose."""
        if time_s - self._planned_s < PLAN_S and np.isfinite(temperature).all():
            return self.controller.power_w * min(1.0, most_w / max(self.controller.power_w.sum(), 1e-9)), self._done
        step_s = min(time_s - self._planned_s, LONGEST_STEP_S)
        self._planned_s = time_s
        if self._row.goal == "dose":
            aim, self._done = self._dose_aim(time_s, temperature, region)
        else:
            aim = self._hold_aim(temperature, step_s)
        if self._done:
            self.controller.power_w = np.zeros_like(self.controller.power_w)
            return self.controller.power_w, True
        free = self.model.advance(temperature, HORIZON_S)
        factor = np.clip(region["region_absorption"], 0.2, 3.0).ravel()[self._near].astype(np.float64)
        power = self.controller.update(
            free.ravel()[self._near].astype(np.float64), self._response * factor[:, None], aim, most_w
        )
        return power, False

    def _dose_aim(self, time_s: float, temperature: Map, region: dict[str, Any]) -> tuple[Aim, bool]:
        """What still lacks dose is pulled to its temperature; what lies beyond may not earn it."""
        row = self._row
        dose = region["region_dose_lower_min"].astype(np.float64)
        sure = dose / np.maximum(region["region_dose_min"].astype(np.float64), 1e-9)
        if time_s - self._cooled_s >= COOL_S:
            self._cooled_s, self._cooling = time_s, cooled_dose(self.model, temperature)[0]
        expected = dose + np.clip(sure, 0.2, 1.0) * self._cooling
        lacks = self._wanted & (expected < row.cem43_min)
        most = region["region_dose_upper_min"].astype(np.float64)
        left = np.maximum(row.cem43_min - most, 1e-3) / (BEYOND_S / 60.0)
        beyond = np.where(most < row.cem43_min, BREAK_C + np.log2(left), np.inf)
        hottest = row.hottest_c - HOT_RESERVE_C
        ceiling = np.minimum(np.where(self._far > BEYOND_MM, beyond, hottest), hottest)
        near = self._near
        aim = Aim(
            np.full(np.count_nonzero(near), row.target_c), lacks.ravel()[near].astype(np.float64), ceiling.ravel()[near]
        )
        missing = np.count_nonzero(lacks & self._treated)
        return aim, bool(missing <= (1.0 - row.done_share) * np.count_nonzero(self._treated))

    def _hold_aim(self, temperature: Map, step_s: float) -> Aim:
        """All of the target at one temperature, which rises no faster than the coldest tenth can follow.

        Otherwise the middle enters its window minutes before the rim has come near it.
        """
        row, near = self._row, self._near
        inside = temperature[self._target]
        coldest, median = (float(value) for value in np.percentile(inside, (10.0, 50.0)))
        risen = max(coldest + SPREAD_C, self._asked_c + CREEP_C_PER_S * step_s)
        self._asked_c = min(row.target_c, max(self._asked_c, risen))
        lacking = row.target_c - median
        if abs(lacking) < 1.0 and self._asked_c >= row.target_c:
            self._trim_c = min(max(self._trim_c + TRIM_PER_S * step_s * lacking, -TRIM_MAX_C), TRIM_MAX_C)
        ceiling = np.full(np.count_nonzero(near), self._asked_c + HOLD_SPAN_C)
        want_c = self._asked_c + self._trim_c + float(inside.mean()) - median  # squares pull the mean: this the median
        return Aim(np.full(ceiling.size, want_c), self._target.ravel()[near].astype(np.float64), ceiling)


class NearField:
    """What the tissue before the focus may still bear, from its own temperature or, where none is seen, a model."""

    def __init__(self, row: Heating, plan: Plan, limits_c: dict[str, float], t0_c: float) -> None:
        """`limits_c`: limit of every guard; structures with a surrogate and a limit of their own are modelled."""
        assert row.beam is not None, "the settings ask for a beam in this mode"
        beam, tissue = beam_of(row.beam), Tissue(arterial_c=t0_c)
        self._t0_c, self._limits = t0_c, dict(limits_c)
        modelled = {s.name: s.limits.temperature_c for s in plan.structures if s.surrogate}
        self._limits |= {name: limit for name, limit in modelled.items() if limit is not None}
        self._modelled_c = {name: t0_c for name, limit in modelled.items() if limit is not None}
        self._rates, self._cools = {}, {}
        foci = np.asarray(row.points_mm, float)
        for name in self._limits:
            structure = plan.structure(name)
            points = _points_within(structure)
            rates = [beam.near_c_per_s(points, focus, tissue) + beam.focal_c_per_s(points, focus, tissue)
                     for focus in foci]  # fmt: skip
            self._rates[name] = float(np.mean(rates, axis=0).max()) * ABSORBS.get(structure.tissue, 1.0)
            self._cools[name] = COOLS_PER_S.get(structure.tissue, 0.0)

    def emitted(self, joules: float, seconds: float) -> None:
        """What went through the tissue in the last `seconds`."""
        for name, value in self._modelled_c.items():
            kept = np.exp(-self._cools[name] * seconds)
            self._modelled_c[name] = float(self._t0_c + (value - self._t0_c) * kept + self._rates[name] * joules)

    def most_w(self, seen_c: dict[str, float]) -> float:
        """The power that every guard could bear for GUARD_S, from what is measured or modelled of it."""
        known = {**self._modelled_c, **{name: value for name, value in seen_c.items() if name in self._limits}}
        return min(
            (max(self._limits[name] - GUARD_RESERVE_C - known[name], 0.0) / (self._rates[name] * GUARD_S)
             for name in known if self._rates[name] > 0.0),
            default=float("inf"),
        )  # fmt: skip

    @property
    def hottest(self) -> dict[str, float]:
        """Modelled temperature of what cannot be seen, degC."""
        return dict(self._modelled_c)


def _points_within(structure: Any) -> Values:
    """Points of a coarse grid within a structure, (N, 3) RAS; its middle where none is."""
    low, high = structure.shape.bounds_mm
    axes: Sequence[Values] = [np.linspace(a, b, 9) for a, b in zip(low, high, strict=True)]
    points = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)
    inside = structure.signed_distance_mm(points) <= 0.0
    return np.asarray(points[inside] if inside.any() else np.mean([low, high], axis=0, keepdims=True))


def _distance_mm(mask: NDArray[np.bool_], spacing: tuple[float, ...]) -> Values:
    """Distance of every voxel outside of `mask` to it."""
    return np.asarray(ndimage.distance_transform_edt(~mask, sampling=spacing))
