"""Permanent implants: where the seeds lie, the surface of a dose, and what each structure gets of it.

Needles that were placed carry their seeds where they really are, the others where they are planned. Names of
the numbers: V100 is the share of the target that gets the prescribed dose, D90 the dose that 90 % of it gets
at least, D2cc the dose that the hottest 2 cc of an organ get, D10 what its hottest tenth gets
(Salembier et al. 2007, Radiother. Oncol. 83, 3-10).
"""

from collections.abc import Mapping
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from guidance.exact import Matrix, Vector, invert
from guidance.plan import Plan, Seeds, Shape
from guidance.plan.distance import look_up
from guidance.plan.shapes import Points, canonical_mm, signed_distance_mm
from guidance.tissue.seeds import Implant

Needle = tuple[Vector, Vector]  # tip RAS mm, unit axis towards the hand
REACH_MM = 15.0  # no dose of interest is further from a seed
GRID_MM = 1.5
SAMPLES, QUICK_SAMPLES = 40_000, 12_000  # in a structure's box: at the end, and after every needle
SIGMAS = 2.0
COLD = 1e-3  # Gy: where there is none


def implant_of(rows: tuple[Seeds, ...], needles: Mapping[str, Needle]) -> Implant | None:
    """The seeds of all rows whose needle is known; None without any. All rows are of one model."""
    known = [row for row in rows if row.trajectory in needles]
    if not known:
        return None
    places = [row.places_mm(*needles[row.trajectory]) for row in known]
    strengths = [np.full(len(row.behind_mm), row.strength_u) for row in known]
    return Implant(known[0].model, np.concatenate(places), np.concatenate(strengths))


def planned_needles(plan: Plan) -> dict[str, Needle]:
    """Every needle that carries seeds, where the plan has it."""
    ways = {way.name: way for way in plan.trajectories}
    return {s.trajectory: (ways[s.trajectory].target_mm, -ways[s.trajectory].direction) for s in plan.seeds}


class IsoDose:
    """All points that get at least `level_gy`; a `Shape` whose distance is exact near its surface.

    To first order ln(level / dose) over the gradient of ln(dose), from a grid that is made at the first question.
    """

    def __init__(self, implant: Implant, level_gy: float) -> None:
        self._implant, self._level_gy = implant, level_gy
        low, high = implant.places_mm.min(axis=0), implant.places_mm.max(axis=0)
        self.bounds_mm: NDArray[np.float64] = np.stack([low - REACH_MM, high + REACH_MM])
        self.feature_mm = 4.0 * GRID_MM

    @cached_property
    def _field(self) -> tuple[NDArray[np.float32], Matrix]:
        """Distances [slice, row, column] and `field_from_ras`."""
        low, high = self.bounds_mm
        size = np.ceil((high - low) / GRID_MM).astype(int) + 1
        ras = np.diag([GRID_MM, GRID_MM, GRID_MM, 1.0])
        ras[:3, 3] = low
        dose = grid_dose(self._implant, ras, (int(size[2]), int(size[1]), int(size[0])))
        away = np.log(self._level_gy / np.maximum(dose, COLD))
        slope = np.sqrt(sum(part**2 for part in np.gradient(away, GRID_MM)))
        return np.ascontiguousarray(away / np.maximum(slope, 1e-3), np.float32), invert(ras)

    def distance_into(self, points: Points, out: Vector) -> None:
        """See `guidance.plan.Shape`."""
        field, field_from_ras = self._field
        look_up(field, field_from_ras, np.full(3, GRID_MM), 0.0, points, out)

    def canonical(self) -> Any:
        """See `guidance.plan.Shape`."""
        return ["isodose", self._level_gy, canonical_mm(self._implant.places_mm)]


def grid_dose(implant: Implant, ras_from_image: Matrix, size: tuple[int, int, int]) -> NDArray[np.float64]:
    """Dose in Gy [slice, row, column] at the voxels of a grid."""
    k, j, i = np.indices(size).reshape(3, -1)
    points = np.stack([i, j, k], axis=1) @ ras_from_image[:3, :3].T + ras_from_image[:3, 3]
    return implant.at(points).reshape(size)


def inside_points(shape: Shape, samples: int = SAMPLES) -> tuple[NDArray[np.float64], float]:
    """Points (N, 3) on an even grid inside a shape, and the volume in cc that each stands for."""
    low, high = shape.bounds_mm
    step = float(np.prod(high - low) / samples) ** (1 / 3)
    axes = [np.arange(low[a] + step / 2, high[a], step) for a in range(3)]
    grid = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)
    return grid[signed_distance_mm(shape, grid) <= 0.0], step**3 / 1000.0


def target_numbers(implant: Implant, points: NDArray[np.float64], dose_gy: float, sigma_mm: float) -> dict[str, float]:
    """D90, V100, V150 and V200 of a target's `points`; the `least` of D90 and V100 with all seeds two sigma aside."""
    dose = implant.at(points)
    found = {"d90_gy": float(np.quantile(dose, 0.1)), "mean_gy": float(dose.mean())}
    found |= {f"v{level}": float((dose >= dose_gy * level / 100).mean()) for level in (100, 150, 200)}
    aside = [sign * SIGMAS * sigma_mm * axis for axis in np.eye(3) for sign in (1.0, -1.0)]
    moved = [implant.at(points - shift) for shift in aside]
    found["d90_least_gy"] = min(float(np.quantile(one, 0.1)) for one in moved)
    found["v100_least"] = min(float((one >= dose_gy).mean()) for one in moved)
    return found


def organ_numbers(implant: Implant, points: NDArray[np.float64], cell_cc: float) -> dict[str, float]:
    """D10 and, of an organ that is that large, D2cc."""
    dose = np.sort(implant.at(points))[::-1]
    found = {"d10_gy": float(np.quantile(dose, 0.9))}
    hottest = round(2.0 / cell_cc)
    if hottest <= len(dose):
        found["d2cc_gy"] = float(dose[max(0, hottest - 1)])
    return found
