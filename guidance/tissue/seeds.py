"""Dose of implanted seeds: the formalism of AAPM TG-43U1, line source with one-dimensional anisotropy.

Rivard et al. 2004, Med. Phys. 31, 633-674, eq. 11: D(r) = S_K Lambda G_L(r) / G_L(1 cm) g_L(r) phi_an(r) with G_L
on the transverse plane, taken over a permanent implant's whole life (half-life / ln 2). The direction of a seed
does not enter. Tables: consensus values of the same report (tables I, II and V).
"""

import math
from dataclasses import dataclass
from functools import lru_cache

import numba
import numpy as np
from numpy.typing import NDArray

from guidance.exact import F8, V_OUT, M, Matrix, V, Vector, kernel

STEP_MM = 0.25
REACH_MM = 100.0
Table = tuple[tuple[float, float], ...]  # (r in cm, value)
NEAREST_MM = 0.5  # no dose is told nearer to a seed's centre: the formalism ends there


@dataclass(frozen=True)
class SeedModel:
    """One model of seed: cGy/h/U at 1 cm, active length, half-life, and its tables over r in cm."""

    dose_rate_constant: float
    length_cm: float
    half_life_days: float
    radial: Table
    anisotropy: Table

    def dose_gy(self, distance_mm: NDArray[np.float64]) -> NDArray[np.float64]:
        """Dose in Gy of one U over the seed's whole life, at distances (N,) mm from its centre."""
        r = np.maximum(np.asarray(distance_mm, np.float64), NEAREST_MM) / 10.0
        (g_cm, g), (phi_cm, phi) = (np.array(rows).T for rows in (self.radial, self.anisotropy))
        rate = self.dose_rate_constant * _line(r, self.length_cm) / _line(np.ones(1), self.length_cm)
        rate *= np.exp(np.interp(r, g_cm, np.log(g))) * np.interp(r, phi_cm, phi)
        found: NDArray[np.float64] = rate / 100.0 * 24.0 * self.half_life_days / math.log(2.0)
        return found


def _line(r_cm: NDArray[np.float64], length_cm: float) -> NDArray[np.float64]:
    """Geometry function on the transverse plane: the angle under which the line is seen, over L r."""
    found: NDArray[np.float64] = 2.0 * np.arctan(length_cm / (2.0 * r_cm)) / (length_cm * r_cm)
    return found


# fmt: off
_RADIAL_6711 = (
    (0.1, 1.055), (0.15, 1.078), (0.25, 1.082), (0.5, 1.071), (0.75, 1.042), (1.0, 1.0), (1.5, 0.908), (2.0, 0.814),
    (3.0, 0.632), (4.0, 0.496), (5.0, 0.364), (6.0, 0.270), (7.0, 0.199), (8.0, 0.148), (9.0, 0.109), (10.0, 0.0803),
)
# fmt: on
SEED_MODELS = {
    "6711": SeedModel(  # iodine-125
        dose_rate_constant=0.965,
        length_cm=0.3,
        half_life_days=59.4,
        radial=_RADIAL_6711,
        anisotropy=((0.5, 0.973), (1.0, 0.944), (2.0, 0.941), (3.0, 0.942), (4.0, 0.943), (5.0, 0.944)),
    ),
}


@kernel(numba.void(M, M, V, V, F8, V_OUT))
def _add(points: Matrix, seeds: Matrix, strengths: Vector, table: Vector, step: float, out: Vector) -> None:
    last = table.shape[0] - 2
    for n in range(points.shape[0]):
        total = 0.0
        for s in range(seeds.shape[0]):
            x, y, z = points[n, 0] - seeds[s, 0], points[n, 1] - seeds[s, 1], points[n, 2] - seeds[s, 2]
            at = math.sqrt(x * x + y * y + z * z) / step
            low = min(int(at), last)
            share = min(at - low, 1.0)
            total += strengths[s] * math.exp(table[low] + share * (table[low + 1] - table[low]))
        out[n] = total


@lru_cache
def _table(model: str) -> NDArray[np.float64]:
    """ln Gy of one U at every STEP_MM."""
    found: NDArray[np.float64] = np.log(SEED_MODELS[model].dose_gy(np.arange(0.0, REACH_MM + STEP_MM, STEP_MM)))
    return found


class Implant:
    """Seeds at `places_mm` (N, 3) RAS with `strengths_u` (N,): their dose anywhere."""

    def __init__(self, model: str, places_mm: NDArray[np.float64], strengths_u: NDArray[np.float64]) -> None:
        self.places_mm = np.ascontiguousarray(places_mm, np.float64).reshape(-1, 3)
        self.strengths_u = np.ascontiguousarray(strengths_u, np.float64)
        self._table = _table(model)

    def at(self, points_mm: NDArray[np.float64]) -> NDArray[np.float64]:
        """Dose in Gy (M,) at points (M, 3) RAS mm."""
        rows = np.ascontiguousarray(points_mm, np.float64).reshape(-1, 3)
        out = np.zeros(len(rows))
        _add(rows, self.places_mm, self.strengths_u, self._table, STEP_MM, out)
        return out
