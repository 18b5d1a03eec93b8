"""Probe calibration with N-shaped wires: where the picture lies in the probe's frame.

Each N of three wires is cut by the picture in three points on one line; the middle point divides
the outer two by the same ratio in the picture and in the phantom, so its place on the middle wire is
known (Comeau et al. 2000; Chen et al. 2009). The picture's place in the probe is then a linear
least-squares problem over all middle points, with gross misses left out and fitted again.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from guidance.exact import Matrix

ROUNDS = 10
OUTLIER_MEDIANS = 6.0  # only points that belong to another wire are left out: finer trimming biases the fit


@dataclass(frozen=True)
class NWire:
    """Three wires of one N in the phantom, mm: front and back ends of the first, middle and last."""

    first: tuple[tuple[float, float, float], tuple[float, float, float]]
    middle: tuple[tuple[float, float, float], tuple[float, float, float]]
    last: tuple[tuple[float, float, float], tuple[float, float, float]]


@dataclass(frozen=True, eq=False)
class WireFrame:
    """One picture: `points_px` (3 per N, 2) of (column, row) in the wires' order, `probe_from_phantom` (4, 4)."""

    points_px: NDArray[np.float64]
    probe_from_phantom: Matrix


@dataclass(frozen=True, eq=False)
class ProbeCalibration:
    """`probe_from_image` (4, 4): (column, row, 0) px to mm in the probe's frame; errors over the middle points, mm.

    It holds for the picture it was made with: `spacing_mm` (column, row) is kept to notice a changed
    depth.
    """

    probe_from_image: Matrix
    errors_mm: NDArray[np.float64]
    inliers: NDArray[np.bool_]

    @property
    def mean_error_mm(self) -> float:
        """Mean distance over the points used."""
        return float(self.errors_mm[self.inliers].mean())

    @property
    def spacing_mm(self) -> tuple[float, float]:
        """Size of a pixel along columns and rows, as calibrated."""
        column, row = np.sqrt((self.probe_from_image[:3, :2] ** 2).sum(axis=0))
        return float(column), float(row)

    def faults(self, spacing_mm: tuple[float, float], tolerance: float = 0.03) -> list[str]:
        """Why it does not hold for a picture with this pixel size (mm): its depth or zoom was changed."""
        return [
            f"{name} are {now:.4f} mm apart, calibrated with {then:.4f} mm: the picture's depth was changed"
            for name, now, then in zip(("columns", "rows"), spacing_mm, self.spacing_mm, strict=True)
            if abs(now / then - 1) > tolerance
        ]


def calibrate_nwire(frames: Sequence[WireFrame], wires: Sequence[NWire]) -> ProbeCalibration:
    """Calibration from at least 10 pictures. ValueError for too few, or for pictures that do not fit the wires."""
    if len(frames) < 10:
        raise ValueError(f"{len(frames)} pictures of the wires; at least 10 are needed")
    picture, probe = middle_points(frames, wires)
    use = np.ones(len(picture), np.bool_)
    fit: NDArray[np.float64] = np.zeros((3, 3))
    for _ in range(ROUNDS):
        fit = np.asarray(np.linalg.lstsq(picture[use], probe[use], rcond=None)[0], np.float64)
        errors = np.sqrt(((picture @ fit - probe) ** 2).sum(axis=1))
        again = errors <= OUTLIER_MEDIANS * float(np.median(errors[use]))
        if np.array_equal(again, use):
            break
        use = again
    matrix = np.eye(4)
    matrix[:3, 0], matrix[:3, 1], matrix[:3, 3] = fit
    normal = np.cross(fit[0], fit[1])
    area = float(np.sqrt((normal**2).sum()))
    if area < 1e-9:
        raise ValueError("the pictures of the wires all lie on one line")
    matrix[:3, 2] = normal / np.sqrt(area)
    return ProbeCalibration(matrix, validate_nwire(matrix, frames, wires), use)


def validate_nwire(
    probe_from_image: Matrix, frames: Sequence[WireFrame], wires: Sequence[NWire]
) -> NDArray[np.float64]:
    """Distance in mm of every middle point as the picture shows it to where the wires say it is."""
    picture, probe = middle_points(frames, wires)
    shown = picture @ np.stack([probe_from_image[:3, 0], probe_from_image[:3, 1], probe_from_image[:3, 3]])
    found: NDArray[np.float64] = np.sqrt(((shown - probe) ** 2).sum(axis=1))
    return found


def middle_points(
    frames: Sequence[WireFrame], wires: Sequence[NWire]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Middle points of every N in every picture: (column, row, 1) px and (x, y, z) mm in the probe's frame."""
    picture, probe = [], []
    for frame in frames:
        points = np.asarray(frame.points_px, np.float64)
        if points.shape != (3 * len(wires), 2):
            raise ValueError(f"points {points.shape} in a picture of {len(wires)} N-wires")
        for n, wire in enumerate(wires):
            first, middle, last = points[3 * n : 3 * n + 3]
            whole = float(np.sqrt(((last - first) ** 2).sum()))
            share = float(np.sqrt(((middle - first) ** 2).sum())) / whole
            picture.append([middle[0], middle[1], 1.0])
            probe.append((frame.probe_from_phantom @ np.append(_on_middle(wire, share), 1.0))[:3])
    return np.array(picture), np.array(probe)


def _on_middle(wire: NWire, share: float) -> NDArray[np.float64]:
    """The point of the middle wire that divides the outer two by `share`.

    Outer wires are parallel and both ends of the middle wire lie in their plane: along the middle
    wire the share runs linearly from its front end to its back end.
    """
    front, back = np.array(wire.middle[0]), np.array(wire.middle[1])
    start, end = (_share_of(wire, point) for point in (front, back))
    t = (share - start) / (end - start)
    found: NDArray[np.float64] = front + t * (back - front)
    return found


def _share_of(wire: NWire, point: NDArray[np.float64]) -> float:
    first, last = np.array(wire.first[0]), np.array(wire.last[0])
    along = np.array(wire.first[1]) - first
    along = along / np.sqrt((along**2).sum())
    across = last - first - ((last - first) @ along) * along
    return float((point - first) @ across / (across @ across))
