"""Work of the show lane beside pictures: verification of coverage, registrations and calibrations."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from devices.messages import Image, Matrix
from guidance.navigation.implants import (
    QUICK_SAMPLES,
    SAMPLES,
    inside_points,
    organ_numbers,
    target_numbers,
)
from guidance.navigation.verification import verify_coverage
from guidance.navigation.zones import Carried, Union
from guidance.plan import Shape
from guidance.space import calibrate_pivot, estimate_lag, line_depth, register_points
from guidance.tissue.seeds import Implant

Facts = dict[str, float | int | str | bool | None]
Result = tuple[Facts, dict[str, Any]]
LIVE_SAMPLES = 24  # grid steps along the target's longest side while the tool still moves


def verify(
    target: str, shape: Shape, zones: list[tuple[Shape, Matrix]], sigma_mm: float, margin_mm: float, final: bool
) -> Result:
    """Margin and coverage of one target outline by all zones."""
    treated = Union([Carried(zone, matrix) for zone, matrix in zones])
    margins = (0.0, margin_mm, 10.0)
    found = verify_coverage(shape, treated, sigma_mm, margins, **({} if final else {"samples": LIVE_SAMPLES}))
    facts: Facts = {
        "target": target,
        "final": float(final),
        "minimal_mm": found.minimal_mm,
        "pessimistic_mm": found.pessimistic_mm,
        "complete": float(found.complete(margin_mm)),
        "untreated_ml": found.untreated_ml,
        "excess_ml": found.excess_ml,
        "sigma_mm": sigma_mm,
    }
    facts |= {f"covered_{margin:g}mm": share for margin, share in found.by_margin.items()}
    facts |= {f"weakest_{axis}_mm": float(v) for axis, v in zip("ras", found.weakest_mm, strict=True)}
    return facts, {}


def dose(
    target: str, shape: Shape, organs: list[tuple[str, Shape]], implant: Implant, expected: Implant, dose_gy: float,
    sigma_mm: float, last: bool,
) -> Result:  # fmt: skip
    """What target and organs get of an implant, and would get with the rest of the needles as planned.

    `replan`: 1 where the seeds still to come, placed as planned, would not bring D90 to the prescribed dose.
    """
    samples = SAMPLES if last else QUICK_SAMPLES
    points, cell_cc = inside_points(shape, samples)
    facts: Facts = {"target": target, "prescribed_gy": dose_gy, "last": float(last), "seeds": len(implant.places_mm)}
    facts |= target_numbers(implant, points, dose_gy, sigma_mm)
    coming = target_numbers(expected, points, dose_gy, sigma_mm)
    facts |= {"expected_d90_gy": coming["d90_gy"], "expected_v100": coming["v100"]}
    facts["replan"] = float(coming["d90_gy"] < dose_gy)
    facts |= {"volume_cc": len(points) * cell_cc, "sigma_mm": sigma_mm}
    for name, organ in organs:
        found = organ_numbers(implant, *inside_points(organ, samples))
        facts |= {f"{name}.{key}": value for key, value in found.items()}
    return facts, {}


def register(
    moving_mm: NDArray[np.float64], fixed_mm: NDArray[np.float64], goal_fixed_mm: NDArray[np.float64],
    fle_mm: float | None,
) -> Result:  # fmt: skip
    """Paired points; errors predicted at a goal (3,) in fixed space. `bound_mm`: 95 %, few fiducials accounted for."""
    found = register_points(moving_mm, fixed_mm)
    goal = np.linalg.solve(found.fixed_from_moving, np.append(goal_fixed_mm, 1.0))[:3]
    tre = float(found.tre_mm(goal, fle_mm))
    facts: Facts = _matrix(found.fixed_from_moving)
    facts |= {
        "fre_mm": found.fre_mm,
        "tre_mm": tre,
        "sigma_mm": tre / 3**0.5,
        "bound_mm": found.tre_bound_mm(goal, 0.95, fle_mm),
        "points": found.count,
    }
    return facts, {}


def pivot(poses: NDArray[np.float64]) -> Result:
    """The tip of a tool from poses (N, 4, 4); `refused` says why it must not be used."""
    found = calibrate_pivot(poses)
    facts: Facts = {f"tip_{axis}_mm": float(v) for axis, v in zip("xyz", found.tip_mm, strict=True)}
    facts |= {
        "rms_mm": found.rms_mm,
        "span_deg": found.span_deg,
        "share": float(found.inliers.mean()),
        "sigma_mm": _pivot_sigma(poses[found.inliers], found.rms_mm),
        "refused": "; ".join(found.faults()),
    }
    return facts, {}


def _pivot_sigma(poses: NDArray[np.float64], rms_mm: float) -> float:
    """Sigma per axis of the tip: residual per axis times the root of the mean diagonal of the normal inverse."""
    count = len(poses)
    rows = np.concatenate([poses[:, :3, :3], np.broadcast_to(-np.eye(3), (count, 3, 3))], axis=2).reshape(-1, 6)
    spread = np.linalg.inv(rows.T @ rows)[:3, :3]
    return float(rms_mm / 3**0.5 * np.sqrt(np.trace(spread) / 3))


def line(image: Image, time_s: float) -> Result:
    """Row of the water tank's bottom in one picture."""
    plane = image.pixels[0] if image.pixels.ndim >= 3 else image.pixels
    return {"row": line_depth(plane), "time_s": time_s}, {}


def lag(
    signal: NDArray[np.float64], signal_s: NDArray[np.float64], reference: NDArray[np.float64],
    reference_s: NDArray[np.float64],
) -> Result:  # fmt: skip
    """Seconds by which a signal runs later than its reference."""
    return {"lag_s": estimate_lag(signal, signal_s, reference, reference_s)}, {}


def _matrix(matrix: Matrix) -> Facts:
    return {f"m{row}{column}": float(matrix[row, column]) for row in range(3) for column in range(4)}
