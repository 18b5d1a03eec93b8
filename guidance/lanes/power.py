"""Planning of power: which sonication point next, and how much, from the filtered map in tissue coordinates.

It asks; the interlock decides. One beam serves all points: what each should have is kept as a credit,
and the beam goes where most is owed.
"""

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from guidance.lanes.ahead import NearField, PlanAhead
from guidance.plan import Plan
from guidance.settings import Heating
from guidance.therapy import BinaryFeedback, BinarySettings, PidController, PidSettings
from guidance.thermometry.forecast import cooled_dose
from guidance.tissue import BioheatModel, Tissue

Facts = dict[str, float | int | str | bool | None]
Result = tuple[Facts, dict[str, Any]]
Map = NDArray[np.float32]
LONGEST_STEP_S = 5.0
EASE_C = 4.0  # within this of the hottest temperature allowed, power goes down to nothing
EASE_AHEAD_C = 1.0  # the same, where the way there was foreseen


class PowerPlanner:
    """State of the controller of one target; `plan` is called for every filtered map while energy may flow."""

    def __init__(
        self, row: Heating | None, power_max_w: float, t0_c: float, plan: Plan | None = None,
        limits_c: dict[str, float] | None = None,
    ) -> None:  # fmt: skip
        self._row, self._t0_c = row, t0_c
        self._max_w = min(power_max_w, row.power_max_w) if row else 0.0
        self._point, self._since_s, self._last_s = 0, -np.inf, -np.inf
        self._pid = PidController(
            PidSettings(row.proportional, row.integral, row.derivative, power_max_w=self._max_w)
            if row
            else PidSettings(0.0, 0.0)
        )
        self._binary: BinaryFeedback | None = None
        self._ahead: PlanAhead | None = None
        foreseen = row is not None and row.beam is not None and plan is not None
        self._near = NearField(row, plan, limits_c or {}, t0_c) if foreseen and row and plan else None
        self._delivered_j = 0.0
        self._credit = np.zeros(max(1, len(row.points_mm)) if row else 1)

    def plan(self, time_s: float, running: bool, delivered_j: float, region_temperature_c: Map,
             region_cells: NDArray[np.int64], **region: Any) -> Result:  # fmt: skip
        """Facts `power_w`, `point`, `done`; no power where nothing runs or the map is too hot."""
        row = self._row
        assert row is not None, "a room without [heating] sends no such job"
        step_s = time_s - self._last_s
        if self._near is not None and np.isfinite(step_s):
            self._near.emitted(delivered_j - self._delivered_j, step_s)
        self._last_s, self._delivered_j = time_s, delivered_j
        if not running:
            self._pid.reset()
            return {"power_w": 0.0, "point": self._point, "done": False}, {}
        modes = {"ablation": self._ablation, "hold": self._hold, "binary": self._cells, "predictive": self._predictive}
        step_s = step_s if 0.0 < step_s <= LONGEST_STEP_S else 0.0
        power, done = modes[row.mode](time_s, step_s, region_temperature_c, region_cells, region)
        room_c = row.hottest_c - float(region_temperature_c.max())
        power *= min(max(room_c / (EASE_AHEAD_C if row.mode == "predictive" else EASE_C), 0.0), 1.0)
        facts: Facts = {"power_w": float(power), "point": self._point, "done": done}
        modelled = self._near.hottest if self._near is not None else {}
        return facts | {f"{name}.model_c": value for name, value in modelled.items()}, {}

    def _ablation(
        self, time_s: float, step_s: float, temperature: Map, cells: NDArray[np.int64], region: dict[str, Any]
    ) -> tuple[float, bool]:
        """One point after the other; a point has enough when its cell's dose is forecast to be."""
        row = self._row
        assert row is not None
        size = temperature.shape
        spacing = region["region_spacing_mm"].tolist()
        model = BioheatModel((size[0], size[1], size[2]), tuple(spacing), Tissue(arterial_c=self._t0_c))
        expected = region["region_dose_min"] + cooled_dose(model, temperature)[0]
        enough = expected >= row.cem43_min
        open_points = [n for n in range(self._credit.size) if not self._has(enough, cells, n, row.done_share)]
        if not open_points:
            return self._pid.reset(), True
        waited = time_s - self._since_s
        if self._point not in open_points or waited > row.longest_s:
            others = [n for n in open_points if n != self._point] or open_points
            self._point = min(others, key=lambda n: float(np.mean(temperature[cells == n])))
            self._since_s = time_s
            self._pid.reset()
        here = temperature[cells == self._point]
        missing = ~enough[cells == self._point]
        weakest = float(here[missing].max()) if missing.any() else float(here.max())
        return self._pid.update(weakest, row.target_c, time_s), False

    @staticmethod
    def _has(enough: NDArray[np.bool_], cells: NDArray[np.int64], point: int, share: float) -> bool:
        cell = enough[cells == point]
        return cell.size == 0 or float(cell.mean()) >= share

    def _hold(
        self, time_s: float, step_s: float, temperature: Map, cells: NDArray[np.int64], region: dict[str, Any]
    ) -> tuple[float, bool]:
        """The median of the target at its temperature, every cell served by how cool it is."""
        row = self._row
        assert row is not None
        median = float(np.median(temperature[region["region_target"]]))
        power = self._pid.update(median, row.target_c, time_s)
        owed = np.array([max(row.target_c + 1.0 - _middle(temperature, cells, n), 0.0) for n in self._numbers()])
        self._serve(owed, step_s)
        return power, False

    def _cells(
        self, time_s: float, step_s: float, temperature: Map, cells: NDArray[np.int64], region: dict[str, Any]
    ) -> tuple[float, bool]:
        """Binary feedback: the beam visits the cells that are on; nothing is on, nothing is sent."""
        row = self._row
        assert row is not None
        if self._binary is None:
            limits = replace(BinarySettings(), on_below_c=row.target_c - 0.5, off_above_c=row.target_c + 0.5)
            self._binary = BinaryFeedback(cells, limits)
        on = self._binary.update(temperature, np.isfinite(temperature))
        self._serve(on.astype(np.float64), step_s)
        return self._max_w * float(on.mean()) if on.any() else 0.0, False

    def _predictive(
        self, time_s: float, step_s: float, temperature: Map, cells: NDArray[np.int64], region: dict[str, Any]
    ) -> tuple[float, bool]:
        """All points planned ahead; the beam serves them in turn, each for its share of the time."""
        assert self._row is not None
        if self._ahead is None:
            self._ahead = PlanAhead(self._row, self._max_w, self._t0_c, region)
        most = self._near.most_w(region["guards_c"]) if self._near else self._max_w
        power, done = self._ahead.update(time_s, temperature, region, most)
        self._serve(power, step_s)
        return float(power.sum()), done

    def _numbers(self) -> range:
        return range(self._credit.size)

    def _serve(self, owed: NDArray[np.float64], step_s: float) -> None:
        total = float(owed.sum())
        if total <= 0.0:
            return
        self._credit += owed / total * step_s
        self._point = int(np.argmax(self._credit))
        self._credit[self._point] -= step_s


def _middle(temperature: Map, cells: NDArray[np.int64], point: int) -> float:
    values = temperature[cells == point]
    return float(values.mean()) if values.size else float("inf")
