"""What makes a plan unfit although every row of it reads well: sides, units, mix-ups, gaps in its safety."""

import math
from collections.abc import Callable

import numpy as np

from guidance.exact import Vector
from guidance.plan.dose import dose_volume
from guidance.plan.model import Plan
from guidance.plan.schema import PlanRows
from guidance.plan.shapes import Sphere, signed_distance_mm

REACH_MM = 1500.0  # no point of a patient is further from the scanner's centre
PATH_MM = (5.0, 400.0)  # shortest and longest way from entry to target
END_MM = 30.0  # of several needles around a target none ends further from its surface
PATH_STEPS = 256
UNSEEN_BY_PRF = {"bone", "fat", "gas"}
ORGANS_AT_RISK = {"organ_at_risk", "vessel", "eloquent", "forbidden"}
VOLUME_TOLERANCE = 0.05
DOSE_STEP_MM = 1.0
DOSE_SHARE = (0.9, 1.6)  # median dose of a target over its prescription: less is too little, more another unit


def plan_faults(plan: Plan, rows: PlanRows) -> list[str]:
    """Every fault of a resolved plan as `path: what`."""
    return [fault for check in _CHECKS for fault in check(plan, rows)]


def _names(plan: Plan, rows: PlanRows) -> list[str]:
    lists = {
        "structures": [row.name for row in rows.structures],
        "targets": [row.name for row in rows.targets],
        "trajectories": [row.name for row in rows.trajectories],
        "zones": [row.name for row in rows.zones],
        "landmarks": [row.name for row in rows.landmarks],
        "seeds": [row.trajectory for row in rows.seeds],
    }
    faults = [
        f"{what}.{n}: is defined twice" for what, names in lists.items() for n in set(names) if names.count(n) > 1
    ]
    uses = [(f"targets.{row.name}.structure", row.structure, "structures") for row in rows.targets]
    uses += [(f"trajectories.{row.name}.target", row.target, "targets") for row in rows.trajectories]
    uses += [(f"zones.{row.name}.trajectory", row.trajectory, "trajectories") for row in rows.zones]
    uses += [(f"seeds.{row.trajectory}.trajectory", row.trajectory, "trajectories") for row in rows.seeds]
    uses += [(f"landmarks.{row.name}.inside", row.inside, "structures") for row in rows.landmarks]
    uses += [(f"structures.{row.name}.surrogate", row.surrogate, "structures") for row in rows.structures]
    return faults + [
        f"{path}: {name!r} is not defined (have {sorted(lists[what])})"
        for path, name, what in uses
        if name is not None and name not in lists[what]
    ]


def _limits(plan: Plan, rows: PlanRows) -> list[str]:
    faults = []
    for row in rows.structures:
        limits, path = row.limits, f"structures.{row.name}"
        if limits.stop_mm > limits.warn_mm:
            faults.append(f"{path}.limits: stop_mm {limits.stop_mm} lies outside warn_mm {limits.warn_mm}")
        thermal = limits.temperature_c is not None or limits.cem43_min is not None
        if thermal and row.tissue in UNSEEN_BY_PRF and row.surrogate is None:
            faults.append(
                f"{path}.surrogate: PRF thermometry does not see {row.tissue}; name the structure beside it "
                "in which the temperature is taken"
            )
        if row.surrogate is not None and any(
            s.name == row.surrogate and s.tissue in UNSEEN_BY_PRF for s in rows.structures
        ):
            faults.append(f"{path}.surrogate: {row.surrogate!r} cannot be seen by PRF thermometry either")
    return faults


def _reach(plan: Plan, rows: PlanRows) -> list[str]:
    points = _all_points(plan)
    faults = [
        f"{path}: {np.round(point, 1).tolist()} mm is further than {REACH_MM:.0f} mm from the origin: in micrometres?"
        for path, point in points
        if float(np.abs(point).max()) > REACH_MM
    ]
    for trajectory in plan.trajectories:
        low, high = PATH_MM
        if not low <= trajectory.length_mm <= high:
            hint = ": is it in metres?" if trajectory.length_mm < 0.5 else ""
            faults.append(
                f"trajectories.{trajectory.name}: {trajectory.length_mm:.3f} mm from entry to target, "
                f"not {low:.0f} to {high:.0f} mm{hint}"
            )
    for structure in plan.structures:
        size = float((structure.shape.bounds_mm[1] - structure.shape.bounds_mm[0]).max())
        if size < 0.5:
            faults.append(f"structures.{structure.name}: is only {size:.4f} mm large: is it in metres?")
    return faults


def _all_points(plan: Plan) -> list[tuple[str, Vector]]:
    points = [(f"targets.{row.name}.center_mm", row.center_mm) for row in plan.targets]
    points += [(f"trajectories.{row.name}.entry_mm", row.entry_mm) for row in plan.trajectories]
    points += [(f"landmarks.{row.name}.position_mm", row.position_mm) for row in plan.landmarks]
    return points + [(f"structures.{row.name}", corner) for row in plan.structures for corner in row.shape.bounds_mm]


def _inside(plan: Plan, rows: PlanRows) -> list[str]:
    """Golden points: a target lies in its outline, a landmark where it says; names the mix-up that would explain it."""
    shapes = {row.name: row.shape for row in plan.structures}
    asked = [(f"targets.{row.name}.center_mm", row.center_mm, row.structure) for row in plan.targets]
    asked += [(f"landmarks.{row.name}.position_mm", row.position_mm, row.inside) for row in plan.landmarks]
    faults = []
    for path, point, name in asked:
        if name is None or name not in shapes:
            continue
        away = float(signed_distance_mm(shapes[name], point)[0])
        if away <= 0.0:
            continue
        explained = [
            text
            for text, change in _MIX_UPS.items()
            if float(signed_distance_mm(shapes[name], change(point))[0]) <= 0.0
        ]
        hint = f" (it would be inside if it were {' or '.join(explained)})" if explained else ""
        faults.append(f"{path}: lies {away:.1f} mm outside {name!r}{hint}")
    return faults


def _ends(plan: Plan, rows: PlanRows) -> list[str]:
    """A trajectory ends near the target that it names, nearer than it begins."""
    targets = {row.name: row for row in plan.targets}
    shapes = {row.name: row.shape for row in plan.structures}
    faults = []
    for way in plan.trajectories:
        target = targets.get(way.target or "")
        if target is None:
            continue
        shape = shapes.get(target.structure or "", Sphere(target.center_mm, 0.0))
        end, entry = (float(signed_distance_mm(shape, point)[0]) for point in (way.target_mm, way.entry_mm))
        explained = [
            text
            for text, change in _MIX_UPS.items()
            if float(signed_distance_mm(shape, change(way.target_mm))[0]) <= END_MM < end
        ]
        hint = f" (it would be there if it were {' or '.join(explained)})" if explained else ""
        if entry < end:
            faults.append(
                f"trajectories.{way.name}: begins nearer to {target.name!r} than it ends: from target to entry?"
            )
        if end > END_MM:
            faults.append(f"trajectories.{way.name}: ends {end:.1f} mm from its target {target.name!r}{hint}")
    return faults


_MIX_UPS: dict[str, Callable[[Vector], Vector]] = {
    "LPS": lambda p: p * np.array([-1.0, -1.0, 1.0]),
    "on the other side": lambda p: p * np.array([-1.0, 1.0, 1.0]),
    "in metres": lambda p: p * 1000.0,
    "in reverse order": lambda p: np.ascontiguousarray(p[::-1]),
}


def _side(plan: Plan, rows: PlanRows) -> list[str]:
    """RAS: the right side of the patient has the larger first coordinate."""
    sign = {"right": 1.0, "left": -1.0}.get(plan.laterality, 0.0)
    return [
        f"targets.{target.name}: lies {abs(target.center_mm[0] - rows.midline_r_mm):.1f} mm to the "
        f"{'left' if sign > 0 else 'right'} of the midline, the plan says {plan.laterality}"
        for target in plan.targets
        if (target.center_mm[0] - rows.midline_r_mm) * sign < 0.0
    ]


def _paths(plan: Plan, rows: PlanRows) -> list[str]:
    """A plan must keep its own limits along every trajectory."""
    faults = []
    for trajectory in plan.trajectories:
        steps = np.linspace(0.0, 1.0, PATH_STEPS)[:, None]
        points = trajectory.entry_mm + steps * (trajectory.target_mm - trajectory.entry_mm)
        for row in plan.structures:
            if row.role not in ORGANS_AT_RISK or row.planned_contact:
                continue
            nearest = float(row.signed_distance_mm(points).min())
            if nearest < row.limits.stop_mm:
                faults.append(
                    f"trajectories.{trajectory.name}: passes {nearest:.1f} mm from {row.name!r}, whose stop limit is "
                    f"{row.limits.stop_mm:.1f} mm; move it, or declare planned_contact"
                )
    return faults


def _seeds(plan: Plan, rows: PlanRows) -> list[str]:
    """Seeds need a dose to be judged by, and lie within the patient on their way."""
    faults = []
    if plan.seeds and not any("dose_gy" in target.prescription and target.structure for target in plan.targets):
        faults.append("seeds: no target with a structure and a dose_gy says what they are for")
    lengths = {way.name: way.length_mm for way in plan.trajectories}
    for row in plan.seeds:
        length = lengths.get(row.trajectory)
        if length is not None and max(row.behind_mm) > length:
            faults.append(
                f"seeds.{row.trajectory}.behind_mm: {max(row.behind_mm):.1f} mm lies before the entry, "
                f"{length:.1f} mm from the target"
            )
    return faults


def _doses(plan: Plan, rows: PlanRows) -> list[str]:
    """In the planned dose organs keep their limits and targets get theirs."""
    if plan.dose is None:
        return []
    faults = []
    for structure in plan.structures:
        limit = structure.limits.dose_gy
        if (
            limit is not None
            and (most := dose_volume(plan.dose, structure.shape, spacing_mm=DOSE_STEP_MM).max_gy) > limit
        ):
            faults.append(
                f"structures.{structure.name}.limits.dose_gy: {most:.1f} Gy are planned, {limit:.1f} Gy allowed"
            )
    shapes = {row.name: row.shape for row in plan.structures}
    for target in plan.targets:
        asked = target.prescription.get("dose_gy")
        if asked is None or target.structure not in shapes:
            continue
        middle = dose_volume(plan.dose, shapes[target.structure], spacing_mm=DOSE_STEP_MM).dose_to(0.5)
        low, high = DOSE_SHARE
        if not low * asked <= middle <= high * asked:
            faults.append(
                f"targets.{target.name}.dose_gy: half of {target.structure!r} gets {middle:.2f} Gy as planned, "
                f"{asked:.2f} Gy are prescribed"
            )
    return faults


def _volumes(plan: Plan, rows: PlanRows) -> list[str]:
    stated = {row.name: row.volume_ml for row in rows.structures if row.volume_ml is not None}
    faults = []
    for structure in plan.structures:
        if structure.name not in stated:
            continue
        found, asked = volume_ml(structure.shape.bounds_mm, structure.signed_distance_mm), stated[structure.name]
        if not math.isclose(found, asked, rel_tol=VOLUME_TOLERANCE):
            faults.append(f"structures.{structure.name}.volume_ml: is {found:.2f} ml, the plan says {asked:.2f} ml")
    return faults


def volume_ml(bounds_mm: Vector, distance: Callable[[Vector], Vector], cells: int = 64) -> float:
    """Volume by counting the cells of a grid over the bounds, those at the surface in part."""
    step = (bounds_mm[1] - bounds_mm[0]) / cells
    axes = [bounds_mm[0][a] + (np.arange(cells) + 0.5) * step[a] for a in range(3)]
    points = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)
    share = np.clip(0.5 - distance(points) / float(step.mean()), 0.0, 1.0)
    return float(share.sum() * step.prod() / 1000.0)


_CHECKS: tuple[Callable[[Plan, PlanRows], list[str]], ...] = (
    _names,
    _limits,
    _reach,
    _inside,
    _ends,
    _side,
    _paths,
    _seeds,
    _volumes,
    _doses,
)
