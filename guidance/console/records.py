"""What was done where, as a page shows it: cores, applicators left in place, coverage, dose; and the acts for it."""

from collections.abc import Mapping
from typing import Any

from guidance.core import Core

PER_CENT = 100.0


def offered(core: Core) -> list[str]:
    """The acts of navigation that this room's plan has a use for."""
    plan, settings = core.plan, core.settings
    tools = [row for row in settings.tools if row.role == "tool"]
    if plan is None or not plan.trajectories or not tools:
        return []
    acts = ["AIM"] if len(plan.trajectories) > 1 else []
    if plan.zones or plan.seeds:
        return [*acts, "PLACE", "VERIFY"]
    if settings.navigation.groups or settings.robot is not None:
        return [*acts, "PLACE"]
    return [*acts, "CORE"] if settings.therapy is None else acts


def records(core: Core) -> dict[str, Any]:
    """Cores and applicators in the order in which they were recorded, and the newest numbers of every target."""
    desk = core.navigation
    taken = desk.cores.cores if desk.cores is not None else []
    return {
        "cores": [
            {
                "number": row.number,
                "tool": row.tool,
                "ends_mm": [row.start_mm.tolist(), row.end_mm.tolist()],
                "hits": row.hits,
                "depth_mm": row.depth_mm,
            }
            for row in taken
        ],
        "placed": [
            {"name": name, "tip_mm": tip.tolist(), "sigma_mm": sigma} for name, (tip, _, sigma) in desk.placed.items()
        ],
        "results": [*_coverage(desk.coverage), *_doses(desk.doses)],
    }


def _coverage(targets: Mapping[str, Mapping[str, float]]) -> list[dict[str, Any]]:
    """Of the treated zone: share of the target, thinnest margin, what was missed."""
    out = []
    for name, row in targets.items():
        when = "" if row["final"] else ", if it were applied now"
        out += [
            _row(f"{name} covered{when}", PER_CENT * row["covered_0mm"], "%", 0),
            _row(f"{name} thinnest margin", row["minimal_mm"], "mm", 1),
            _row("the same, less two sigma", row["pessimistic_mm"], "mm", 1),
            _row(f"{name} not treated", row["untreated_ml"], "ml", 2),
        ]
    return out


def _doses(targets: Mapping[str, Mapping[str, float]]) -> list[dict[str, Any]]:
    """Of the seeds that lie now, and with the rest as planned."""
    out = []
    for name, row in targets.items():
        out += [
            _row(f"D90 {name}", row["d90_gy"], "Gy", 0),
            _row("with the rest as planned", row["expected_d90_gy"], "Gy", 0),
            _row("prescribed", row["prescribed_gy"], "Gy", 0),
            _row(f"V100 {name}", PER_CENT * row["v100"], "%", 0),
        ]
    return out


def _row(name: str, value: float, unit: str, digits: int) -> dict[str, Any]:
    return {"name": name, "value": value, "unit": unit, "digits": digits}
