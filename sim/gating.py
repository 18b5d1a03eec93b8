"""How well a gated beam kept to its target: the truth of the phantom against when the beam was on."""

from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from devices.messages import AnyMessage, Metrics
from sim.phantom.world import World

STEP_NS = 10_000_000
BOUNDARY_MM = 3.0
MOST_OUTSIDE = 0.10
CENTROID_MM = 4.0
OFF_WITHIN_NS = 500_000_000


def ball_outside_share(radius_mm: float, away_mm: float, margin_mm: float) -> float:
    """Share of a disc of `radius_mm`, moved by `away_mm`, outside the concentric disc widened by `margin_mm`."""
    reach = radius_mm + margin_mm
    if away_mm <= margin_mm:
        return 0.0
    if away_mm >= reach + radius_mm:
        return 1.0
    a = np.arccos((away_mm**2 + radius_mm**2 - reach**2) / (2 * away_mm * radius_mm))
    b = np.arccos((away_mm**2 + reach**2 - radius_mm**2) / (2 * away_mm * reach))
    lens = radius_mm**2 * (a - np.sin(2 * a) / 2) + reach**2 * (b - np.sin(2 * b) / 2)
    return float(1 - lens / (np.pi * radius_mm**2))


def gating_score(
    world: World, switched: Sequence[tuple[int, float]], outputs: Iterable[tuple[int, AnyMessage]], end_ns: int
) -> dict[str, Any]:
    """Position errors and what the beam met, from the first time that it was on.

    `missed_beam_off`: excursions out of the gate in which the beam was still on 500 ms after the target had left.
    The plane of the images is taken as sagittal: its x is posterior, its y is inferior.
    """
    errors = [_error_mm(world, message) for _, message in outputs if _placed(message)]
    first_ns = next((at for at, power in switched if power > 0), end_ns)
    times = np.arange(first_ns, end_ns, STEP_NS)
    away = np.array([np.linalg.norm(world.moved_mm(world.target_mm, int(t)) - world.target_mm) for t in times])
    on = _on(switched, times)
    radius = world.settings.body.target_radius_mm
    out = np.array([d > CENTROID_MM or ball_outside_share(radius, d, BOUNDARY_MM) > MOST_OUTSIDE for d in away], bool)
    missed, slowest_ns, left = _excursions(out, on)
    return {
        "position_error_mm": _spread(errors),
        "duty_cycle": float(on.mean()) if on.size else 0.0,
        "in_gate_share": float((~out).mean()) if out.size else 0.0,
        "on_while_outside_share": float((on & out).sum() / max(on.sum(), 1)),
        "residual_rms_mm": float(np.sqrt((away[on] ** 2).mean())) if on.any() else 0.0,
        "ungated_rms_mm": float(np.sqrt((away**2).mean())) if away.size else 0.0,
        "excursions": left,
        "missed_beam_off": missed,
        "slowest_beam_off_ms": slowest_ns / 1e6,
        "ok": bool(errors) and missed == 0 and bool(on.any()),
    }


def _placed(message: AnyMessage) -> bool:
    return isinstance(message, Metrics) and bool(message.values.get("usable")) and "x_mm" in message.values


def _error_mm(world: World, message: AnyMessage) -> float:
    assert isinstance(message, Metrics)
    at_ns = max(ns for key, ns in message.evidence.items() if key.endswith(".device_ns"))
    moved = world.moved_mm(world.target_mm, at_ns) - world.target_mm
    return float(np.hypot(message.values["x_mm"] + moved[1], message.values["y_mm"] + moved[2]))


def _on(switched: Sequence[tuple[int, float]], times: NDArray[np.int64]) -> NDArray[np.bool_]:
    when = np.array([at for at, _ in switched], np.int64)
    power = np.array([0.0, *(watt for _, watt in switched)])
    return np.asarray(power[np.searchsorted(when, times, side="right")] > 0)


def _excursions(out: NDArray[np.bool_], on: NDArray[np.bool_]) -> tuple[int, int, int]:
    """(missed, slowest beam-off in ns, all): runs of `out`, and how long the beam stayed on in each."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], out, [False]]).astype(np.int8)))
    missed = slowest = left = 0
    for begin, end in pairwise(edges):
        if not out[begin]:
            continue
        if not on[begin]:
            continue
        left += 1
        off = np.flatnonzero(~on[begin:end])
        took = int(off[0] if off.size else end - begin) * STEP_NS
        slowest = max(slowest, took)
        missed += took > OFF_WITHIN_NS
    return missed, slowest, left


def _spread(values: Sequence[float]) -> dict[str, float]:
    if not values:
        return {"n": 0}
    array = np.asarray(values)
    return {
        "n": len(values),
        "mean": float(array.mean()),
        "p95": float(np.percentile(array, 95)),
        "max": float(array.max()),
    }
