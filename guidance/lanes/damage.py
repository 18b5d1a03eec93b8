"""Damage around a laser fibre: what is dead, what will be when the light goes off, how hot the next frame will be."""

from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from devices.messages import Matrix
from guidance.lanes.box import Box, cut_box, outlines
from guidance.lesion_settings import Laser
from guidance.plan import Plan
from guidance.settings import RoomSettings
from guidance.thermometry.burn import DamageMap, Look, spread_after_power_off
from guidance.thermometry.damage import ARRHENIUS_SETS
from guidance.thermometry.hot import joined_level_c
from guidance.tissue import Tissue

Facts = dict[str, float | int | str | bool | None]
Result = tuple[Facts, dict[str, Any]]
GAP_PERIODS = 2.5  # a longer pause between two frames is not bridged
SEEN_SHARE = 0.8  # of the target with its margin must have a temperature
SMALLEST = 1e-6  # of omega, where its logarithm is drawn


class DamageWork:
    """State of the guard lane for one fibre; `damage` is called once a frame."""

    def __init__(self, settings: RoomSettings, plan: Plan | None) -> None:
        self._row: Laser | None = settings.laser
        self._plan = plan
        thermometry = settings.thermometry
        self._t0_c = 37.0 if thermometry is None or thermometry.t0_c is None else thermometry.t0_c
        self._t0_sigma_c = thermometry.t0_sigma_c if thermometry else 0.0
        self._references = thermometry.reference_dynamics if thermometry else 1
        self._period_s = next(
            (s.period_ms / 1e3 for s in settings.streams if thermometry and s.name == thermometry.stream), 1.0
        )
        self._box: Box | None = None
        self._map: DamageMap | None = None
        self._place = b""
        self._last: Look | None = None

    def damage(self, state: str, time_s: float, ras_from_image: Matrix, **volume: Any) -> Result:
        """Take one thermometry answer."""
        if state != "ok":
            return {"state": state, "known": False}, {}
        box, burnt = self._here(ras_from_image, volume["temperature_c"].shape)
        look = self._look(box, volume, time_s)
        if self._last is not None and time_s <= self._last.time_s:
            return {"state": "time_not_rising", "known": False}, {}
        burnt.add(look)
        facts = self._facts(box, burnt, look)
        self._last = look
        expected, arrays = self._expected(box, burnt, look)
        return facts | expected, arrays

    def _here(self, ras_from_image: Matrix, shape: tuple[int, ...]) -> tuple[Box, DamageMap]:
        row, plan = self._row, self._plan
        assert row is not None and plan is not None, "a room without [laser] sends no such job"
        if self._box is None or self._map is None or ras_from_image.tobytes() != self._place:
            if row.damage not in ARRHENIUS_SETS:
                known = ", ".join(sorted(ARRHENIUS_SETS))
                raise ValueError(f"laser.damage: no Arrhenius parameters named {row.damage!r}; known: {known}")
            self._place = ras_from_image.tobytes()
            old, was = self._box, self._map
            self._box = cut_box(plan, row.target, row.reach_mm, ras_from_image, shape)
            if old is None or was is None:
                gap_s = GAP_PERIODS * self._period_s
                self._map = DamageMap(self._box.target.shape, ARRHENIUS_SETS[row.damage], gap_s)
            else:  # other slices: what is burnt stays burnt
                self._map = was.carried(partial(_sampled, old, self._box))
            self._last = None
        return self._box, self._map

    def _look(self, box: Box, volume: dict[str, Any], time_s: float) -> Look:
        temperature, sigma, valid = (volume[key][box.part] for key in ("temperature_c", "sigma_c", "valid"))
        known = valid & np.isfinite(temperature)
        seen_sigma = np.where(known, sigma, 0.0).astype(np.float64)
        shared = np.hypot(seen_sigma / np.sqrt(self._references + 1.0), self._t0_sigma_c)
        filled = np.where(known, temperature, np.float32(self._t0_c)).astype(np.float64)
        return Look(filled, np.hypot(seen_sigma, self._t0_sigma_c), shared, known, time_s)

    def _facts(self, box: Box, burnt: DamageMap, look: Look) -> Facts:
        """What is, and how hot the next frame will be: T + rise until then + 2 sigma, in three joined voxels."""
        dead, sure = burnt.omega >= 1.0, burnt.sure >= 1.0
        seen = look.known
        expected = look.temperature_c + 2.0 * look.sigma_c
        rate = 0.0
        if self._last is not None:
            step_s = look.time_s - self._last.time_s
            both = seen & self._last.known
            rise = np.where(both, look.temperature_c - self._last.temperature_c, 0.0) / step_s
            noise = 2.0 * np.hypot(look.sigma_c, self._last.sigma_c) / step_s
            expected = expected + np.where(rise > noise, rise, 0.0) * self._period_s
            rate = max(joined_level_c(rise.astype(np.float32), both), 0.0)
        return {
            "state": "ok",
            "known": _share(seen, box.treated) >= SEEN_SHARE,
            "seen_share": _share(seen, box.treated),
            "hottest_c": joined_level_c(look.temperature_c.astype(np.float32), seen),
            "expected_c": joined_level_c(expected.astype(np.float32), seen),
            "heating_c_per_s": rate,
            "frame_s": self._period_s,
            "covered": _share(dead, box.target & seen),
            "margin_covered": _share(dead, box.treated & seen),
            "sure_covered": _share(sure, box.target & seen),
            "damage_cm3": float(np.count_nonzero(dead)) * box.voxel_cm3,
            "beyond_cm3": float(np.count_nonzero(dead & ~box.treated)) * box.voxel_cm3,
        }

    def _expected(self, box: Box, burnt: DamageMap, look: Look) -> Result:
        row = self._row
        assert row is not None
        parameters = ARRHENIUS_SETS[row.damage]
        tissue = Tissue(perfusion=row.perfusion_kg_m3_s, arterial_c=self._t0_c)
        after, seconds = spread_after_power_off(look.temperature_c, burnt.omega, box.spacing_mm, tissue, parameters)
        will = after >= 1.0
        beyond = float(np.count_nonzero(will & ~box.treated)) * box.voxel_cm3
        told: Facts = {
            "forecast_s": seconds,
            "forecast_covered": _share(will, box.target & look.known),
            "forecast_margin_covered": _share(will, box.treated & look.known),
            "forecast_cm3": float(np.count_nonzero(will)) * box.voxel_cm3,
            "forecast_beyond_cm3": beyond,
            "over_plan": beyond / row.over_treated_cm3,
        }
        arrays: dict[str, Any] = {"lesion_ras": box.ras_from_box}
        for name, omega in (("damage", burnt.omega), ("damage_sure", burnt.sure), ("damage_forecast", after)):
            shown = _closed(np.log10(np.maximum(omega, SMALLEST)), look.known)
            arrays[f"{name}_log10"] = shown.astype(np.float32)
            points, counts = outlines(shown, 0.0, box.ras_from_box)
            arrays[f"{name}.points"], arrays[f"{name}.counts"] = points, counts
            told[f"{name}_lines"] = len(counts)
        return told, arrays


def _sampled(old: Box, new: Box, values: NDArray[np.float64], nothing: float) -> NDArray[np.float64]:
    """`values` of the old box at the voxels of the new one, `nothing` beyond half a voxel of its border."""
    flat = np.vstack((new.points_mm.reshape(-1, 3).T, np.ones(new.target.size)))
    at = np.linalg.solve(old.ras_from_box, flat)[2::-1]
    size = np.array(old.target.shape)[:, None]
    inside = ((at >= -0.5) & (at <= size - 0.5)).all(axis=0)
    found = ndimage.map_coordinates(values, at, order=1, mode="nearest")
    return np.asarray(np.where(inside, found, nothing).reshape(new.target.shape))


def _share(what: NDArray[np.bool_], of: NDArray[np.bool_]) -> float:
    return float(np.count_nonzero(what & of)) / max(int(np.count_nonzero(of)), 1)


def _closed(log_omega: NDArray[np.float64], known: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Voxels without a temperature (the catheter) take what is nearest, so that they cut no hole into an outline."""
    if known.all() or not known.any():
        return log_omega
    nearest = ndimage.distance_transform_edt(~known, return_distances=False, return_indices=True, sampling=(1e3, 1, 1))
    return np.asarray(log_omega[tuple(nearest)])
