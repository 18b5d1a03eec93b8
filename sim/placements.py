"""Placements against the truth: where a needle or core really was when the service recorded it."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import msgspec
import numpy as np

from devices.messages import Alert, AnyMessage, Metrics
from sim.implant import ImplantRow, implant_score, told_implant
from sim.space import Matrix, Vector, unit, vector

_SAMPLES = 200
NOTCH_MM = (0.0, 18.0)


class TargetRow(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A ball that is to be hit."""

    name: str
    center_mm: tuple[float, float, float]
    radius_mm: float = 0.0


TipAt = Callable[[str, int], tuple[Vector, Vector] | None]  # (stream, ns) -> true tip and axis towards the hand


def placement_score(
    told: Iterable[tuple[int, AnyMessage]],
    targets: Sequence[TargetRow],
    tip_at: TipAt,
    implant: ImplantRow | None = None,
) -> dict[str, Any]:
    """Every core and placement once: tip error against its stated bound, distance to the nearest target, hits, dose."""
    rows: dict[str, dict[str, Any]] = {}
    alarms: dict[str, str] = {}
    coverage: dict[str, dict[str, float]] = {}
    registered: dict[str, float] = {}
    needles: dict[str, tuple[Vector, Vector]] = {}
    doses: list[dict[str, float]] = []
    for _, message in told:
        if isinstance(message, Alert) and message.state == "active":
            alarms.setdefault(message.name, message.text)
        if not isinstance(message, Metrics):
            continue
        if message.name.startswith(("core-", "placed-")) and message.name not in rows:
            truth = _truth(message, tip_at)
            if truth is not None:
                rows[message.name] = _row(message, truth, targets)
                needles[message.name.removeprefix("placed-")] = truth
        if message.name.startswith("coverage-") and message.values.get("final"):
            kept = ("minimal_mm", "pessimistic_mm", "covered_0mm", "complete")
            coverage[message.name] = {key: message.values[key] for key in kept if key in message.values}
        if message.name.startswith("dose-"):
            doses.append(message.values)
        if message.name.startswith(("points-", "pivot-")):
            registered |= {f"{message.name}.{key}": message.values[key] for key in message.values if key[0] != "m"}
    found: dict[str, Any] = {}
    if implant is not None and doses:
        ball = next(target for target in targets if target.name == implant.target)
        true = implant_score(implant, needles, vector(ball.center_mm), ball.radius_mm)
        found["dose"] = told_implant(doses) | true
    errors = [row["error_mm"] for row in rows.values()]
    return {
        "rows": rows,
        "coverage": coverage,
        "registered": registered,
        "alarms": sorted(alarms),
        "worst_error_mm": max(errors, default=None),
        "within_bound": sum(row["error_mm"] <= row["bound_mm"] for row in rows.values()),
        "recorded": len(rows),
        **found,
    }


def _truth(message: Metrics, tip_at: TipAt) -> tuple[Vector, Vector] | None:
    truths = (tip_at(stream, at_ns) for stream, at_ns in message.evidence.items())
    return next((truth for truth in truths if truth is not None), None)


def _row(message: Metrics, truth: tuple[Vector, Vector], targets: Sequence[TargetRow]) -> dict[str, Any]:
    tip, axis = truth
    values = message.values
    told = vector([values["tip_r_mm"], values["tip_a_mm"], values["tip_s_mm"]])
    row = {"error_mm": float(np.linalg.norm(told - tip)), "bound_mm": values.get("bound_mm", 0.0)}
    if not targets:
        return row
    nearest = min(targets, key=lambda target: float(np.linalg.norm(vector(target.center_mm) - tip)))
    off = vector(nearest.center_mm) - tip
    row |= {"target_mm": float(np.linalg.norm(off)), "lateral_mm": float(np.linalg.norm(off - (off @ axis) * axis))}
    if message.name.startswith("core-"):
        line = tip - np.linspace(*NOTCH_MM, _SAMPLES)[:, None] * axis
        for target in targets:
            depth = target.radius_mm - float(np.linalg.norm(line - vector(target.center_mm), axis=1).min())
            row[f"{target.name}.true_depth_mm"] = depth
            row[f"{target.name}.told"] = values.get(f"{target.name}.hit", -1.0)
    return row


def axis_of(ras_from_tool: Matrix) -> Vector:
    """Unit vector towards the hand of a tool whose z points to its tip."""
    return unit(-ras_from_tool[:3, 2])
