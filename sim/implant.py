"""Seeds where they truly are: the dose that a ball gets of them, summed over random points of it.

Point dose of TG-43U1 (Rivard et al. 2004) for iodine-125 seeds of model 6711, as a sum over the active length
instead of its closed form.
"""

import math
from collections.abc import Mapping, Sequence

import msgspec
import numpy as np

from sim.space import Vector

_POINTS = 20_000
_PIECES = np.linspace(-1.5, 1.5, 31)  # of the active length, mm
_LIFE_H = 59.4 * 24.0 / math.log(2.0)
_RATE = 0.965  # cGy/h/U at 1 cm
_RADIAL_MM = (1, 1.5, 2.5, 5, 7.5, 10, 15, 20, 30, 40, 50, 60, 70, 80, 90, 100)
_RADIAL = (1.055, 1.078, 1.082, 1.071, 1.042, 1, 0.908, 0.814, 0.632, 0.496, 0.364, 0.27, 0.199, 0.148, 0.109, 0.0803)
_ANISOTROPY_MM = (5, 10, 20, 30, 40, 50)
_ANISOTROPY = (0.973, 0.944, 0.941, 0.942, 0.943, 0.944)


class NeedleRow(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Seeds that a needle leaves, mm behind its tip."""

    name: str
    strength_u: float
    behind_mm: tuple[float, ...]


class ImplantRow(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`target` names a ball among the scenario's targets."""

    target: str
    dose_gy: float
    needles: tuple[NeedleRow, ...]


def seed_gy(distance_mm: Vector) -> Vector:
    """Dose in Gy of one U in water, at distances (N,) mm across the middle of the seed."""
    r = np.maximum(distance_mm, 0.5)
    squares = (r[:, None] ** 2 + _PIECES**2) ** -1.0
    geometry = squares.mean(axis=1) / ((100.0 + _PIECES**2) ** -1.0).mean()
    radial = np.exp(np.interp(r, _RADIAL_MM, np.log(_RADIAL)))
    dose: Vector = _RATE / 100.0 * _LIFE_H * geometry * radial * np.interp(r, _ANISOTROPY_MM, _ANISOTROPY)
    return dose


def implant_score(
    row: ImplantRow, placed: Mapping[str, tuple[Vector, Vector]], center_mm: Vector, radius_mm: float
) -> dict[str, float]:
    """True D90 (Gy) and V100 of the ball, from needles' true tips and axes towards the hand."""
    chance = np.random.default_rng(1)
    ways = chance.standard_normal((_POINTS, 3))
    ways /= np.linalg.norm(ways, axis=1)[:, None]
    points = center_mm + ways * (radius_mm * chance.random(_POINTS) ** (1 / 3))[:, None]
    table_mm = np.arange(0.0, 120.0, 0.1)
    table = seed_gy(table_mm)
    dose = np.zeros(_POINTS)
    for needle in row.needles:
        if needle.name not in placed:
            continue
        tip, axis = placed[needle.name]
        for behind in needle.behind_mm:
            away = np.linalg.norm(points - (tip + behind * axis), axis=1)
            dose += needle.strength_u * np.interp(away, table_mm, table)
    return {"true_d90_gy": float(np.quantile(dose, 0.1)), "true_v100": float((dose >= row.dose_gy).mean())}


def told_implant(values: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """What the service said last about the dose."""
    kept = ("d90_gy", "d90_least_gy", "v100", "v100_least", "expected_d90_gy", "seeds")
    return {f"told_{key}": values[-1][key] for key in kept if key in values[-1]} if values else {}
