"""The part of an image around a target, and lines of a map in it as outlines in the patient's space."""

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from devices.messages import Matrix
from guidance.plan import Plan

FINER = 4  # a map is made this much finer (bilinear) before its lines are taken
SHORTEST = 3 * FINER  # points: shorter outlines are single voxels


@dataclass(frozen=True, eq=False)
class Box:
    """`part` of the image [slice, row, column], its place, and where the target (`treated`: with margin) lies in it."""

    part: tuple[slice, slice, slice]
    ras_from_box: Matrix
    spacing_mm: tuple[float, float, float]
    points_mm: NDArray[np.float64]  # (slice, row, column, 3)
    target: NDArray[np.bool_]
    treated: NDArray[np.bool_]

    @property
    def voxel_cm3(self) -> float:
        """Volume of one voxel."""
        return float(np.prod(self.spacing_mm)) / 1000.0


def cut_box(plan: Plan, name: str, reach_mm: float, ras_from_image: Matrix, shape: tuple[int, ...]) -> Box:
    """What lies within `reach_mm` of a target; ValueError where that is outside of the image."""
    target = plan.target(name)
    spacing = np.linalg.norm(ras_from_image[:3, :3], axis=0)
    middle = np.linalg.solve(ras_from_image, np.append(target.center_mm, 1.0))[:3]
    reach = reach_mm / spacing
    limits = [
        (max(0, round(middle[axis] - reach[axis])), min(shape[2 - axis], round(middle[axis] + reach[axis]) + 1))
        for axis in (2, 1, 0)
    ]
    if any(high - low < 2 for low, high in limits[1:]) or limits[0][1] <= limits[0][0]:
        raise ValueError(f"target {name!r} lies outside of the image: check the slices")
    ras = ras_from_image.copy()
    ras[:3, 3] = ras_from_image[:3, :3] @ [limits[2][0], limits[1][0], limits[0][0]] + ras_from_image[:3, 3]
    size = tuple(high - low for low, high in limits)
    points = (ras[:3, :3] @ np.indices(size)[::-1].reshape(3, -1)).T + ras[:3, 3]
    distance = plan.structure(target.structure or target.name).signed_distance_mm(points)
    return Box(
        (slice(*limits[0]), slice(*limits[1]), slice(*limits[2])),
        ras,
        (float(spacing[2]), float(spacing[1]), float(spacing[0])),
        points.reshape(*size, 3),
        (distance <= 0.0).reshape(size),
        (distance <= target.margin_mm).reshape(size),
    )


def outlines(values: NDArray[Any], level: float, ras_from_box: Matrix) -> tuple[NDArray[np.float64], NDArray[np.int32]]:
    """Lines where `values` [slice, row, column] reach `level`: points (N, 3) RAS mm and how many belong to each."""
    points, counts = [], []
    for number, plane in enumerate(values):
        fine = cv2.resize(plane.astype(np.float32), None, fx=FINER, fy=FINER, interpolation=cv2.INTER_LINEAR)
        found, _ = cv2.findContours((fine >= level).astype(np.uint8), cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
        for line in found:
            if len(line) < SHORTEST:
                continue
            at = (line[:, 0, :].astype(np.float64) + 0.5) / FINER - 0.5
            voxel = np.column_stack((at, np.full(len(at), number)))
            points.append(voxel @ ras_from_box[:3, :3].T + ras_from_box[:3, 3])
            counts.append(len(at))
    if not points:
        return np.zeros((0, 3)), np.zeros(0, np.int32)
    return np.concatenate(points), np.array(counts, np.int32)
