"""The iceball around freezing needles: its edge against organs, what in it is lethal, and how often it was."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from devices.messages import Matrix
from guidance.lanes.box import Box, cut_box, outlines
from guidance.lesion_settings import Cryo
from guidance.plan import Plan, Structure
from guidance.settings import RoomSettings
from guidance.thermometry.cryo import Iceball, iceball, temperature_in_ice
from guidance.thermometry.hot import joined_level_c

Facts = dict[str, float | int | str | bool | None]
Result = tuple[Facts, dict[str, Any]]
USABLE = ("ok", "few_valid_voxels")  # states of thermometry in which the magnitude can be trusted
RISK = "organ_at_risk"
LETHAL_C = (-20.0, -40.0)
RATE_SHARE = 0.5  # of the newest frame in the speed at which the ice comes nearer


class CryoWork:
    """State of the guard lane for the needles of one target; `iceball` is called once a frame."""

    def __init__(self, settings: RoomSettings, plan: Plan | None) -> None:
        self._row: Cryo | None = settings.cryo
        self._plan = plan
        thermometry = settings.thermometry
        self._period_s = next(
            (s.period_ms / 1e3 for s in settings.streams if thermometry and s.name == thermometry.stream), 1.0
        )
        self._organs: list[Structure] = [s for s in plan.structures if s.role == RISK] if plan else []
        self._box: Box | None = None
        self._place = b""
        self._first: list[NDArray[np.float32]] = []
        self._before: NDArray[np.float32] | None = None
        self._needles: list[NDArray[np.intp]] = []  # (3, N) points of the fine grid
        self._shafts: NDArray[np.bool_] = np.zeros((0, 0, 0), np.bool_)
        self._model: NDArray[np.float32] | None = None
        self._coldest: NDArray[np.float32] | None = None
        self._lethal: dict[int, NDArray[np.bool_]] = {}  # by cycle
        self._gaps: dict[str, tuple[float, float, float]] = {}  # organ -> (mm, s, mm/s)

    def iceball(
        self, state: str, time_s: float, ras_from_image: Matrix, freezing: tuple[float, ...], cycle: int, begun: bool,
        magnitude: NDArray[np.float32], **volume: Any,
    ) -> Result:  # fmt: skip
        """Take one frame. `freezing` is the share at which each needle froze since the last; `begun`: ever before."""
        if begun and ras_from_image.tobytes() != self._place:
            return {"state": "plane_moved", "known": False}, {}  # there is no image of these slices before the ice
        box = self._here(ras_from_image, magnitude.shape)
        now = magnitude[box.part]
        if not begun and state in (*USABLE, "acquiring_reference"):
            self._learn(now)
        if state not in USABLE or self._before is None:
            return {"state": state, "known": False}, {}
        row = self._row
        assert row is not None
        found = iceball(now, self._before, self._shafts, box.spacing_mm, margin_mm=row.margin_mm)
        self._freeze(found, freezing, box)
        if cycle > 0 and max(freezing, default=0.0) > 0.0:
            self._lethal[cycle] = found.lethal | self._lethal.get(cycle, np.zeros_like(found.lethal))
        facts = self._facts(found, box) | self._organ_facts(found, box, time_s, volume)
        return self._drawn(found, box, facts)

    def _here(self, ras_from_image: Matrix, shape: tuple[int, ...]) -> Box:
        row, plan = self._row, self._plan
        assert row is not None and plan is not None, "a room without [cryo] sends no such job"
        if self._box is None or ras_from_image.tobytes() != self._place:
            self._place = ras_from_image.tobytes()
            self._box = box = cut_box(plan, row.target, row.reach_mm, ras_from_image, shape)
            self._first, self._before, self._model, self._coldest = [], None, None, None
            self._lethal, self._gaps = {}, {}
            self._shafts = np.zeros(box.target.shape, np.bool_)
            self._needles = [self._line(box, name) for name in row.needles]
        return self._box

    def _line(self, box: Box, name: str) -> NDArray[np.intp]:
        """The active length of a needle on the fine grid; its shaft is marked on the voxels."""
        row, plan = self._row, self._plan
        assert row is not None and plan is not None
        way = plan.trajectory(name)
        steps = np.arange(0.0, min(way.length_mm, 3.0 * row.reach_mm), 0.25 * min(box.spacing_mm))
        at = np.linalg.solve(box.ras_from_box, np.vstack(((way.target_mm - steps[:, None] * way.direction).T, np.ones(
            len(steps)))))[2::-1]  # fmt: skip
        inside = _inside(np.rint(at), self._shafts.shape)
        self._shafts[tuple(np.rint(at[:, inside]).astype(int))] = True
        between = max(1, round(box.spacing_mm[0] / min(box.spacing_mm[1:])))
        fine = np.rint(at[:, steps <= row.active_mm] * [[between], [1.0], [1.0]]).astype(int)
        size = (between * (self._shafts.shape[0] - 1) + 1, *self._shafts.shape[1:])
        return np.unique(fine[:, _inside(fine, size)], axis=1)

    def _learn(self, now: NDArray[np.float32]) -> None:
        """Mean of the newest frames before anything was frozen."""
        assert self._row is not None
        self._first = [*self._first, now][-self._row.reference_frames :]
        if len(self._first) == self._row.reference_frames:
            self._before = np.mean(self._first, axis=0).astype(np.float32)

    def _freeze(self, found: Iceball, freezing: tuple[float, ...], box: Box) -> None:
        """Isotherms of the model while needles freeze; the coldest that each voxel has been by it."""
        row = self._row
        assert row is not None
        if self._coldest is None:
            self._coldest = np.full(found.depth_mm.shape, np.inf, np.float32)
        needles = [(at, row.needle_c) for at, share in zip(self._needles, freezing, strict=True) if share > 0.0]
        if not needles:
            self._model = None
            return
        step_mm = float(min(box.spacing_mm[1:]))
        self._model = temperature_in_ice(
            found.fine_mm, needles, step_mm, needle_radius_mm=row.needle_radius_mm, start_c=self._model
        )
        now = np.where(found.ice, self._model[:: found.between], np.float32(np.inf))
        self._coldest = np.minimum(self._coldest, now)

    def _facts(self, found: Iceball, box: Box) -> Facts:
        target, treated = box.target, box.treated
        twice = sum((mask.astype(int) for mask in self._lethal.values()), np.zeros(target.shape, int)) >= 2
        fine_cm3 = box.voxel_cm3 / found.between
        assert self._row is not None and self._coldest is not None
        facts: Facts = {
            "state": "ok",
            "known": True,
            "ice_cm3": float(np.count_nonzero(found.fine_mm > 0.0)) * fine_cm3,
            "lethal_cm3": float(np.count_nonzero(found.fine_mm >= self._row.margin_mm)) * fine_cm3,
            "covered": _share(found.ice, target),
            "lethal_covered": _share(found.lethal, target),
            "margin_lethal_covered": _share(found.lethal, treated),
            "lethal_twice_covered": _share(twice, target),
        }
        return facts | {f"below_{-level:g}_covered": _share(self._coldest <= level, target) for level in LETHAL_C}

    def _organ_facts(self, found: Iceball, box: Box, time_s: float, volume: dict[str, Any]) -> Facts:
        """For each organ: gap to the visible edge, what it may be when the next frame comes, the nearest needle.

        `cold_c` is how cold three joined voxels of it may be by then: T - fall until then - 2 sigma.
        """
        assert self._row is not None
        facts: Facts = {}
        edge = found.ice & ~ndimage.binary_erosion(found.ice, np.ones((1, 3, 3)))
        points = box.points_mm[edge]
        for organ in self._organs:
            if len(points):
                away = organ.signed_distance_mm(points) - 0.5 * min(box.spacing_mm[1:])
                nearest = int(np.argmin(away))
                gap, at = float(away[nearest]), points[nearest]
            else:
                gap, at = float(organ.signed_distance_mm(box.points_mm[self._shafts]).min()), None
            facts[f"{organ.name}.gap_mm"] = gap
            facts[f"{organ.name}.gap_next_mm"] = self._next_gap(organ.name, gap, time_s)
            facts[f"{organ.name}.needle"] = self._nearest_needle(at) if at is not None else -1
            facts |= self._cold(organ, box, volume)
        return facts

    def _next_gap(self, organ: str, gap_mm: float, time_s: float) -> float:
        assert self._row is not None
        last = self._gaps.get(organ)
        speed = 0.0
        if last is not None and time_s > last[1]:
            fresh = (gap_mm - last[0]) / (time_s - last[1])
            speed = RATE_SHARE * fresh + (1.0 - RATE_SHARE) * last[2]
        self._gaps[organ] = (gap_mm, time_s, speed)
        return gap_mm + min(speed, 0.0) * self._period_s - 2.0 * self._row.edge_sigma_mm

    def _nearest_needle(self, at: NDArray[np.float64]) -> int:
        """Number of the needle whose line passes nearest to a point."""
        assert self._row is not None and self._plan is not None
        ways = [self._plan.trajectory(name) for name in self._row.needles]
        offsets = [(at - way.target_mm) - ((at - way.target_mm) @ way.direction) * way.direction for way in ways]
        return int(np.argmin([float(offset @ offset) for offset in offsets]))

    def _cold(self, organ: Structure, box: Box, volume: dict[str, Any]) -> Facts:
        temperature, sigma, valid = (volume[key][box.part] for key in ("temperature_c", "sigma_c", "valid"))
        mask = (organ.signed_distance_mm(box.points_mm.reshape(-1, 3)) <= 0.0).reshape(valid.shape)
        seen = mask & valid & np.isfinite(temperature)
        if not mask.any() or np.count_nonzero(seen) < 0.5 * np.count_nonzero(mask):
            return {}
        lower = np.where(seen, temperature - 2.0 * sigma, np.float32(37.0)).astype(np.float32)
        return {f"{organ.name}.cold_c": -joined_level_c(-lower, seen)}

    def _drawn(self, found: Iceball, box: Box, facts: Facts) -> Result:
        assert self._row is not None
        arrays: dict[str, Any] = {
            "lesion_ras": box.ras_from_box,
            "ice_depth_mm": found.depth_mm,
            "ice_lethal_mm": (found.depth_mm - np.float32(self._row.margin_mm)).astype(np.float32),
        }
        if self._model is not None:
            model = self._model[:: found.between]
            arrays |= {f"ice_below_{level:g}": (np.float32(level) - model).astype(np.float32) for level in LETHAL_C}
        else:
            arrays |= {f"ice_below_{level:g}": np.full(found.depth_mm.shape, -1.0, np.float32) for level in LETHAL_C}
        for name in ("ice_depth_mm", "ice_lethal_mm"):
            points, counts = outlines(arrays[name], 0.0, box.ras_from_box)
            arrays[f"{name}.points"], arrays[f"{name}.counts"] = points, counts
            facts[f"{name}_lines"] = len(counts)
        return facts, arrays


def warm_cryo() -> None:
    """Load what is compiled for isotherms."""
    ball = np.full((3, 4, 4), 1.0, np.float32)
    temperature_in_ice(ball, [(np.array([[1], [1], [1]]), -140.0)], 1.0)


def _inside(at: NDArray[Any], size: tuple[int, ...]) -> NDArray[np.bool_]:
    return np.asarray(((at >= 0) & (at < np.array(size)[:, None])).all(axis=0))


def _share(what: NDArray[np.bool_], of: NDArray[np.bool_]) -> float:
    return float(np.count_nonzero(what & of)) / max(int(np.count_nonzero(of)), 1)
