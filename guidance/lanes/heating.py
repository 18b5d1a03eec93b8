"""Heat in tissue coordinates: where the organ moved, what is filtered there, its dose, and what is to be expected.

The box around the target follows the organ: its shift in the image plane is found by normalised correlation
of the magnitude against the most frequented position (exhale), to which the plan belongs.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from devices.messages import Matrix
from guidance.plan import Plan
from guidance.settings import Heating
from guidance.thermometry.dose import BREAK_C, LN2, mean_rate
from guidance.thermometry.forecast import Outlook, forecast_after_power_off
from guidance.thermometry.frame import Z_95
from guidance.thermometry.kalman import BioheatFilter
from guidance.tissue import BioheatModel, Tissue

Facts = dict[str, float | int | str | bool | None]
Result = tuple[Facts, dict[str, Any]]
Map = NDArray[np.float32]
TRACK_PX = 28  # side of the square whose magnitude is tracked
SEARCH_PX = 9
LIKENESS_MIN = 0.5
TRACK_SLICES = 1  # on either side of the middle
SETTLE_FRAMES = 20  # before the reference position is known
START_SIGMA_C = 0.5
LONGEST_GAP_S = 5.0


@dataclass(frozen=True, eq=False)
class Region:
    """The box in the image: slices, rows, columns; its place in space, and the parts of the plan in it."""

    box: tuple[slice, slice, slice]
    ras_from_box: Matrix
    spacing_mm: tuple[float, float, float]
    target: NDArray[np.bool_]
    treated: NDArray[np.bool_]  # target with its margin
    cells: NDArray[np.int64]  # nearest sonication point of each treated voxel, -1 elsewhere


def cut_region(plan: Plan, row: Heating, ras_from_image: Matrix, shape: tuple[int, int, int]) -> Region:
    """The box of `reach_mm` around the target of `row`, as much of it as the image holds."""
    target = plan.target(row.target)
    spacing = np.linalg.norm(ras_from_image[:3, :3], axis=0)
    middle = np.linalg.solve(ras_from_image, np.append(target.center_mm, 1.0))[:3]
    reach = row.reach_mm / spacing
    limits = [
        (max(0, round(middle[axis] - reach[axis])), min(shape[2 - axis], round(middle[axis] + reach[axis]) + 1))
        for axis in (2, 1, 0)
    ]
    if any(high - low < 1 for low, high in limits):
        raise ValueError(f"target {row.target!r} lies outside of the image: check the slices")
    box = (slice(*limits[0]), slice(*limits[1]), slice(*limits[2]))
    ras = ras_from_image.copy()
    ras[:3, 3] = ras_from_image[:3, :3] @ [limits[2][0], limits[1][0], limits[0][0]] + ras_from_image[:3, 3]
    size = tuple(high - low for low, high in limits)
    points = (ras[:3, :3] @ np.indices(size)[::-1].reshape(3, -1)).T + ras[:3, 3]
    name = target.structure or target.name
    distance = plan.structure(name).signed_distance_mm(points)
    treated = distance <= target.margin_mm
    foci = np.asarray(row.points_mm or [target.center_mm], float)
    nearest = np.argmin(((points[:, None] - foci[None]) ** 2).sum(axis=2), axis=1)
    cells = np.where(treated, nearest, -1).reshape(size)
    where = (float(spacing[2]), float(spacing[1]), float(spacing[0]))
    return Region(box, ras, where, (distance <= 0.0).reshape(size), treated.reshape(size), cells)


class OrganShift:
    """Shift of the organ in the image plane, px, against its most frequented position, by normalised correlation."""

    def __init__(self, centre: tuple[int, int]) -> None:
        self._centre = centre
        self._first: list[NDArray[np.float32]] = []
        self._seen: list[tuple[float, float]] = []
        self._rest: tuple[float, float] | None = None

    def update(self, planes: NDArray[np.floating[Any]]) -> tuple[float, float] | None:
        """(columns, rows) for the magnitude of a few slices.

        None until the rest position is known, and where the organ is not found: likeness below LIKENESS_MIN.
        """
        half, far = TRACK_PX // 2, TRACK_PX // 2 + SEARCH_PX
        rows, columns = planes.shape[1:]
        row, column = (max(far, min(c, n - far)) for c, n in zip(self._centre, (rows, columns), strict=True))
        wide = np.ascontiguousarray(planes[:, row - far : row + far, column - far : column + far], np.float32)
        if not self._first:
            inner = slice(SEARCH_PX, SEARCH_PX + 2 * half)
            self._first = [np.ascontiguousarray(plane[inner, inner]) for plane in wide]
        maps = [cv2.matchTemplate(w, f, cv2.TM_CCOEFF_NORMED) for w, f in zip(wide, self._first, strict=True)]
        likeness = np.mean(maps, axis=0)
        y, x = np.unravel_index(int(np.argmax(likeness)), likeness.shape)
        if likeness[y, x] < LIKENESS_MIN:
            return None
        dx = x - SEARCH_PX + _vertex(likeness[y, max(x - 1, 0) : x + 2])
        dy = y - SEARCH_PX + _vertex(likeness[max(y - 1, 0) : y + 2, x])
        if self._rest is None:
            self._seen.append((dx, dy))
            if len(self._seen) < SETTLE_FRAMES:
                return None
            self._rest = _densest(np.array(self._seen))
        return float(dx - self._rest[0]), float(dy - self._rest[1])


def _vertex(three: NDArray[np.floating[Any]]) -> float:
    """Where the parabola through three values is highest, from the middle one; 0 at the edge of the search."""
    if three.size < 3:
        return 0.0
    bend = float(three[0] - 2.0 * three[1] + three[2])
    return 0.5 * float(three[0] - three[2]) / bend if bend < 0.0 else 0.0


def _densest(values: NDArray[np.float64]) -> tuple[float, float]:
    """Middle of the closest half of the points, along the axis that varies most."""
    axis = int(np.argmax(values.std(axis=0)))
    order = values[np.argsort(values[:, axis])]
    half = len(order) // 2
    widths = order[half:, axis] - order[: len(order) - half, axis]
    best = int(np.argmin(widths))
    x, y = order[best : best + half + 1].mean(axis=0)
    return float(x), float(y)


def carried(volume: Map, shift_px: tuple[float, float], fill: float, order: int) -> Map:
    """Values at the tissue's rest position: `volume`(p + shift), cubic for temperature, nearest for masks."""
    moved = ndimage.shift(volume, (0.0, -shift_px[1], -shift_px[0]), order=order, mode="constant", cval=fill)
    return np.asarray(moved, np.float32)


class HeatingWork:
    """State of the guard lane for one target; `heating` is called once a frame."""

    def __init__(self, row: Heating | None, plan: Plan | None, t0_c: float) -> None:
        self._row, self._plan, self._t0_c = row, plan, t0_c
        self._region: Region | None = None
        self._filter: BioheatFilter | None = None
        self._place = b""
        self._point = -1
        self._learned: dict[int, tuple[Map, Map]] = {}
        self._last: tuple[Map, float] | None = None

    def heating(
        self, state: str, time_s: float, power_w: float, point: int, ras_from_image: Matrix, **volume: Any
    ) -> Result:
        """Take one thermometry answer; `power_w` and sonication `point` were in force since the last."""
        assert self._row is not None and self._plan is not None, "a room without [heating] sends no such job"
        if state != "ok":
            return {"state": state, "known": False}, {}
        temperature, sigma = volume["temperature_c"], volume["sigma_c"]
        if self._region is None or ras_from_image.tobytes() != self._place:
            self._start(ras_from_image, temperature.shape)
        region, kalman = self._region, self._filter
        assert region is not None and kalman is not None
        low = max(self._slice - TRACK_SLICES, 0)
        shift = self._shift.update(volume["magnitude"][low : self._slice + TRACK_SLICES + 1])
        if shift is None:
            return {"state": "settling", "known": False}, {}
        fill = np.float32(self._t0_c)
        valid = volume["valid"] & np.isfinite(temperature)
        own = self._halo(np.where(valid, temperature, fill), shift, float(fill), 3)
        seen = self._halo(valid.astype(np.float32), shift, 0.0, 1) > 0.99
        noise = self._halo(np.where(valid, sigma, np.float32(3.0)), shift, 3.0, 1)
        self._switch(point)
        if self._last is not None and time_s <= self._last[1]:
            return {"state": "time_not_rising", "known": False}, {}
        sigma_seen = np.where(seen, np.maximum(noise, 0.05), np.float32(np.inf)).astype(np.float32)
        found = kalman.update(own, sigma_seen, time_s, power=power_w)
        self._add_dose(found.temperature_c, found.sigma_c, time_s)
        arrays = {
            "region_ras": region.ras_from_box,
            "region_spacing_mm": np.asarray(region.spacing_mm),
            "region_temperature_c": found.temperature_c,
            "region_sigma_c": found.sigma_c,
            "region_dose_min": self._dose.astype(np.float32),
            "region_treated": region.treated,
            "region_target": region.target,
            "region_cells": region.cells,
        }
        return self._facts(found.temperature_c, seen, float(found.artefact.mean()), shift), arrays

    def _start(self, ras_from_image: Matrix, shape: tuple[int, ...]) -> None:
        assert self._row is not None and self._plan is not None
        self._place = ras_from_image.tobytes()
        self._region = region = cut_region(self._plan, self._row, ras_from_image, (shape[0], shape[1], shape[2]))
        size = region.treated.shape
        model = BioheatModel((size[0], size[1], size[2]), region.spacing_mm, Tissue(arterial_c=self._t0_c))
        self._filter = BioheatFilter(model, self._t0_c, START_SIGMA_C)
        self._dose = np.zeros(size)
        self._log_variance = np.zeros(size)
        middle = [(part.start + part.stop) // 2 for part in region.box]
        self._slice = middle[0]
        self._shift = OrganShift((middle[1], middle[2]))
        self._last, self._learned, self._point = None, {}, -1

    def _halo(self, volume: Map, shift: tuple[float, float], fill: float, order: int) -> Map:
        """The box of the shifted volume, computed on the box with a border as wide as the shift."""
        assert self._region is not None
        k, j, i = self._region.box
        pad = int(np.ceil(max(abs(shift[0]), abs(shift[1])))) + 3
        top, left = max(j.start - pad, 0), max(i.start - pad, 0)
        part = volume[k, top : j.stop + pad, left : i.stop + pad]
        moved = carried(part, shift, fill, order)
        row, column = j.start - top, i.start - left
        return moved[:, row : row + j.stop - j.start, column : column + i.stop - i.start]

    def _switch(self, point: int) -> None:
        """Each sonication point has its own absorption map."""
        kalman = self._filter
        assert kalman is not None
        if point == self._point:
            return
        self._learned[self._point] = kalman.absorption_state
        kalman.change_source(self._learned.get(point))
        self._point = point

    def _add_dose(self, temperature: Map, sigma: Map, time_s: float) -> None:
        now = temperature.astype(np.float64)
        if self._last is not None and time_s - self._last[1] <= LONGEST_GAP_S:
            before, before_s = self._last
            log_r = np.where(now + before >= 2.0 * BREAK_C, LN2, 2.0 * LN2)
            v = (log_r * sigma) ** 2
            self._dose = self._dose + mean_rate(before.astype(np.float64), now) * (time_s - before_s) / 60.0 * np.exp(
                -0.5 * v
            )
            self._log_variance = np.maximum(self._log_variance, v)
        self._last = (temperature, time_s)

    def _facts(self, temperature: Map, seen: NDArray[np.bool_], artefacts: float, shift: tuple[float, float]) -> Facts:
        region, row = self._region, self._row
        assert region is not None and row is not None
        inside, margin = temperature[region.target], temperature[region.treated]
        t10, t50, t90 = np.percentile(inside, (90.0, 50.0, 10.0))
        dose = self._dose
        return {
            "state": "ok",
            "known": bool(seen[region.target].mean() >= 0.8),
            "t10_c": float(t10),
            "t50_c": float(t50),
            "t90_c": float(t90),
            "hottest_c": float(margin.max()),
            "coverage": float((dose[region.target] >= row.cem43_min).mean()),
            "margin_coverage": float((dose[region.treated] >= row.cem43_min).mean()),
            "artefact_share": artefacts,
            "shift_column_px": shift[0],
            "shift_row_px": shift[1],
        }


def forecast(
    region_temperature_c: Map, region_sigma_c: Map, region_dose_min: Map, region_spacing_mm: NDArray[np.float64],
    region_target: NDArray[np.bool_], region_treated: NDArray[np.bool_], region_ras: Matrix,
    *, t0_c: float, cem43_min: float, over_limit_cm3: float, **rest: Any,
) -> Result:  # fmt: skip
    """The lesion to expect if power goes off now: coverage of target and margin, and what lies beyond, in cm3."""
    spacing: Sequence[float] = region_spacing_mm.tolist()
    where = (spacing[0], spacing[1], spacing[2])
    upper = (region_dose_min * np.exp(Z_95 * LN2 * region_sigma_c)).astype(np.float32)
    found = forecast_after_power_off(
        Outlook(region_temperature_c, region_sigma_c, region_dose_min, upper, where, Tissue(arterial_c=t0_c))
    )
    beyond = ~region_treated & (found.upper_min >= cem43_min)
    voxel_cm3 = float(np.prod(region_spacing_mm)) / 1000.0
    beyond_cm3 = float(np.count_nonzero(beyond)) * voxel_cm3
    facts: Facts = {
        "seconds": found.seconds,
        "coverage": float((found.dose_min[region_target] >= cem43_min).mean()),
        "margin_coverage": float((found.dose_min[region_treated] >= cem43_min).mean()),
        "beyond_cm3": beyond_cm3,
        "over_plan": beyond_cm3 / over_limit_cm3,
    }
    return facts, {"forecast_min": found.dose_min, "forecast_upper_min": found.upper_min, "forecast_ras": region_ras}


def forecast_worker(row: Heating | None, t0_c: float) -> Callable[..., Result]:
    """The forecast job of a room, held against its own limits."""
    cem43_min, over_cm3 = (row.cem43_min, row.over_treated_cm3) if row else (240.0, 1.0)
    return partial(forecast, t0_c=t0_c, cem43_min=cem43_min, over_limit_cm3=over_cm3)
