"""How well a lesion that grew from an applicator was told and made: the truth of the tissue against the outputs."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from devices.messages import AnyMessage, Metrics, Outlines
from sim.phantom.anatomy import Grid
from sim.phantom.freezing import FrozenTissue
from sim.phantom.laser import LaserTissue
from sim.phantom.world import World

Told = Sequence[tuple[int, AnyMessage]]
COVERED = 0.95
CONTOUR_MM = 1.0  # mean distance of a told outline from the true surface
ICE_CONTOUR_MM = 1.5
VISIBLE_C, LETHAL_C = -1.5, -20.0
SPARED_C = 50.0  # the tract's true temperature


def lesion_score(world: World, told: Told, switched: Sequence[tuple[int, float]]) -> dict[str, Any]:
    """Score of a burnt or frozen lesion, {} where this patient has none."""
    if isinstance(world.tissue, LaserTissue):
        return {"lesion": (found := burn_score(world.tissue, told, switched)), "ok": found["ok"]}
    if isinstance(world.tissue, FrozenTissue):
        return {"lesion": (found := ice_score(world.tissue, told)), "ok": found["ok"]}
    return {}


def burn_score(tissue: LaserTissue, told: Told, switched: Sequence[tuple[int, float]]) -> dict[str, Any]:
    """Damage at the end against the outlines told last, and against the forecast told when the light last went off."""
    dead = tissue.omega >= 1.0
    target, tract = tissue.where("tumour"), tissue.where("tract")
    voxel_cm3 = (tissue.grid.voxel_mm / 10) ** 3
    offs = [at for at, power_w in switched if power_w == 0.0]
    before_off = [row for row in told if not offs or row[0] <= offs[-1]]
    numbers = newest(told, "laser")
    contour = outline_distance_mm(last_lines(told, "Damage"), dead, tissue.grid)
    covered = float(dead[target].mean())
    tract_c = tissue.solver.arterial_c + float(tissue.hottest[tract].max())
    return {
        "covered": covered,
        "told_covered": numbers.get("covered"),
        "lesion_cm3": float(dead.sum()) * voxel_cm3,
        "told_cm3": numbers.get("damage_cm3"),
        "beyond_target_cm3": float((dead & ~target).sum()) * voxel_cm3,
        "contour_mm": contour,
        "sure_outside_mm": outside_mm(last_lines(told, "DamageSure"), dead, tissue.grid),
        "forecast_contour_mm": outline_distance_mm(last_lines(before_off, "DamageForecast"), dead, tissue.grid),
        "unforecast_contour_mm": outline_distance_mm(last_lines(before_off, "Damage"), dead, tissue.grid),
        "hottest_c": tissue.solver.arterial_c + float(tissue.hottest.max()),
        "tract_c": tract_c,
        "tract_dead": float(dead[tract].mean()),
        "ok": covered >= COVERED and contour.get("mean", np.inf) <= CONTOUR_MM and tract_c < SPARED_C,
    }


def ice_score(tissue: FrozenTissue, told: Told) -> dict[str, Any]:
    """The ice at its largest, as told, against all that was ever frozen; what is lethal; what the organs felt."""
    frozen, lethal = tissue.coldest_c < VISIBLE_C, tissue.coldest_c <= LETHAL_C
    target = tissue.where("tumour")
    rows = [(at, m.values) for at, m in told if isinstance(m, Metrics) and m.name == "cryo" and m.values.get("known")]
    largest_ns = max(rows, key=lambda row: row[1]["ice_cm3"])[0] if rows else 0
    then = [row for row in told if row[0] <= largest_ns]
    numbers = rows[-1][1] if rows else {}
    voxel_cm3 = (tissue.grid.voxel_mm / 10) ** 3
    contour = outline_distance_mm(last_lines(then, "Iceball"), frozen, tissue.grid)
    depth = depth_mm(frozen, tissue.grid.voxel_mm)
    covered = float((tissue.times[target] >= 2).mean())
    organs = {name: float(-depth[where].max()) for name, where in tissue.organs.items()}
    lethal_outside = outside_mm(last_lines(then, "Lethal"), lethal, tissue.grid)
    return {
        "frozen_cm3": float(frozen.sum()) * voxel_cm3,
        "told_cm3": max((values["ice_cm3"] for _, values in rows), default=0.0),
        "contour_mm": contour,
        "covered": float(frozen[target].mean()),
        "below_20_covered": float(lethal[target].mean()),
        "below_40_covered": float((tissue.coldest_c[target] <= -40.0).mean()),
        "twice_below_20_covered": covered,
        "told_lethal_twice_covered": numbers.get("lethal_twice_covered"),
        "told_below_20_covered": numbers.get("below_20_covered"),
        "told_below_40_covered": numbers.get("below_40_covered"),
        "lethal_outside_mm": lethal_outside,
        "organ_gap_mm": organs,
        "organ_coldest_c": {name: float(tissue.coldest_c[where].min()) for name, where in tissue.organs.items()},
        "ok": covered >= COVERED
        and contour.get("mean", np.inf) <= ICE_CONTOUR_MM
        and lethal_outside <= ICE_CONTOUR_MM
        and min(organs.values()) > 0.0,
    }


def newest(told: Told, name: str) -> dict[str, float]:
    """Values of the last Metrics of that name that hold a lesion's."""
    rows = [m.values for _, m in told if isinstance(m, Metrics) and m.name == name and m.values.get("known")]
    return rows[-1] if rows else {}


def last_lines(told: Told, name: str) -> Outlines | None:
    """The last outline of that name."""
    rows = [m for _, m in told if isinstance(m, Outlines) and m.name == name]
    return rows[-1] if rows else None


def depth_mm(inside: NDArray[np.bool_], voxel_mm: float) -> NDArray[np.float64]:
    """Distance from the surface of a mask, mm: positive inside, zero half a voxel beyond its outermost voxels."""
    within = ndimage.distance_transform_edt(inside) - 0.5
    without = ndimage.distance_transform_edt(~inside) - 0.5
    return np.asarray(np.where(inside, within, -without) * voxel_mm)


def _depth_at(lines: Outlines, inside: NDArray[np.bool_], grid: Grid) -> NDArray[np.float64]:
    index = ((lines.points_mm - np.asarray(grid.origin_mm)) / grid.voxel_mm).T
    return np.asarray(ndimage.map_coordinates(depth_mm(inside, grid.voxel_mm), index, order=1, mode="nearest"))


def outline_distance_mm(lines: Outlines | None, inside: NDArray[np.bool_], grid: Grid) -> dict[str, float]:
    """How far told points lie from the true surface, mm; `bias` above 0: told too small."""
    if lines is None or not inside.any():
        return {}
    away = _depth_at(lines, inside, grid)
    return {
        "mean": float(np.abs(away).mean()),
        "p95": float(np.percentile(np.abs(away), 95)),
        "bias": float(away.mean()),
    }


def outside_mm(lines: Outlines | None, inside: NDArray[np.bool_], grid: Grid) -> float:
    """How far the worst told point lies outside of the truth, mm (0: none does)."""
    if lines is None or not inside.any():
        return 0.0
    return float(max(-_depth_at(lines, inside, grid).min(), 0.0))
