"""Work of the show lane for guided calibrations: wires in pictures, N-wire, hand-eye, surface."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from devices.messages import Image, Matrix
from guidance.outputs import draw
from guidance.plan import Plan
from guidance.plan.raster import surface_points
from guidance.plan.shapes import signed_distance_mm
from guidance.settings import RoomSettings
from guidance.space import NWire, WireFrame, calibrate_hand_eye, calibrate_nwire, register_surface, validate_nwire
from guidance.space.intervals import ErrorPart, error_bound_mm, rms_mm
from guidance.space.surface import refine_on_surface
from guidance.space.wires import WireError, find_wires

Facts = dict[str, float | int | str | bool | None]
Result = tuple[Facts, dict[str, Any]]
Triple = tuple[float, float, float]
HELD_BACK = 3  # every third block of pictures is left out of the fit and judges it
BLOCK = 10  # pictures that follow each other show nearly the same


class CalibrationWork:
    """Settings and plan; no state."""

    def __init__(self, settings: RoomSettings, plan: Plan | None) -> None:
        self._plan = plan
        row = settings.navigation.probe
        rows = row.wires if row else ()
        self._wires = tuple(NWire(_ends(w.first), _ends(w.middle), _ends(w.last)) for w in rows)
        self._pixel_mm = row.pixel_mm if row else 1.0

    def wires(self, image: Image, time_s: float) -> Result:
        """The wires' dots u0, v0 .. px (column, row) in one picture, and the picture with a ring around each."""
        pixels = np.asarray(image.pixels[0] if image.pixels.ndim >= 3 else image.pixels)
        picture = draw.grey_rgba(pixels, float(pixels.max()) or 1.0)
        facts: Facts = {"found": True, "time_s": time_s}
        try:
            dots = find_wires(pixels.astype(np.uint8, copy=False), self._wires, self._pixel_mm)
        except WireError as fault:
            facts["found"] = False
            draw.label(picture, f"WIRES NOT READ: {fault}", (8, 20))
        else:
            facts |= {f"{axis}{n}": float(dot[a]) for n, dot in enumerate(dots) for a, axis in enumerate("uv")}
            for n, dot in enumerate(dots):
                draw.ring(picture, dot, "way", 12.0)
                draw.label(picture, str(n + 1), (float(dot[0]) + 14.0, float(dot[1])))
            draw.label(picture, "PROBE CALIBRATION", (8, 20))
        return facts, {"frame": picture, "frame.ras": np.eye(4)}

    def nwire(self, dots: NDArray[np.float64], poses: NDArray[np.float64]) -> Result:
        """From dots (N, wires, 2) and probe_from_phantom (N, 4, 4): probe_from_image, judged on pictures left out."""
        frames = [WireFrame(points, pose) for points, pose in zip(dots, poses, strict=True)]
        back = [(n // BLOCK) % HELD_BACK == HELD_BACK - 1 for n in range(len(frames))]
        fitted = [frame for frame, held in zip(frames, back, strict=True) if not held]
        judges = [frame for frame, held in zip(frames, back, strict=True) if held]
        found = calibrate_nwire(fitted, self._wires)
        errors = validate_nwire(found.probe_from_image, judges, self._wires)
        facts = _matrix(found.probe_from_image)
        return facts | {
            "mean_mm": float(errors.mean()),
            "p95_mm": float(np.percentile(errors, 95)),
            "fitted_mm": found.mean_error_mm,
            "sigma_mm": float(np.sqrt((errors**2).mean() / 3)),
            "span_mm": _span_mm(poses, self._wires[0]),
            "pictures": len(frames),
            "judged_on": len(judges),
        }, {}

    def hand_eye(self, hands: NDArray[np.float64], targets: NDArray[np.float64]) -> Result:
        """From N stays of M poses (N, M, 4, 4) each: base_from_hand and eye_from_target."""
        mean_hands, mean_targets = (np.array([_mean_pose(stay) for stay in poses]) for poses in (hands, targets))
        found = calibrate_hand_eye(mean_hands, mean_targets)
        facts = _matrix(found.hand_from_eye)
        return facts | {
            "rms_mm": found.rms_mm,
            "rms_deg": found.rms_deg,
            "span_deg": found.span_deg,
            "sigma_mm": found.rms_mm / 3**0.5,
            "poses": len(hands),
        }, {}

    def surface(
        self, touched_mm: NDArray[np.float64], start: Matrix, structure: str, goal_fixed_mm: NDArray[np.float64],
        tip_sigma_mm: float,
    ) -> Result:  # fmt: skip
        """ICP from `start` (4, 4) onto a structure, then its distance itself; errors predicted at a goal (3,).

        An error of the pointer's tip (`tip_sigma_mm` per axis) moves all points alike and shows in no residual:
        it is added.
        """
        assert self._plan is not None, "a room without a plan asks for no such job"
        shape = self._plan.structure(structure).shape
        coarse = register_surface(touched_mm, surface_points(shape), start)
        fine = refine_on_surface(
            touched_mm, coarse.fixed_from_moving, lambda points: signed_distance_mm(shape, points), goal_fixed_mm
        )
        parts = [ErrorPart(fine.goal_covariance_mm2, fine.degrees), ErrorPart.isotropic(tip_sigma_mm)]
        tre = rms_mm(parts)
        facts = _matrix(fine.fixed_from_moving)
        return facts | {
            "rms_mm": fine.rms_mm,
            "tre_mm": tre,
            "sigma_mm": tre / 3**0.5,
            "bound_mm": error_bound_mm(parts, 0.95),
            "points": len(touched_mm),
            "kept": fine.kept,
            "converged": float(coarse.converged and fine.converged),
        }, {}


def _ends(wire: tuple[tuple[float, ...], tuple[float, ...]]) -> tuple[Triple, Triple]:
    (a, b, c), (d, e, f) = wire
    return (a, b, c), (d, e, f)


def _span_mm(poses: NDArray[np.float64], wire: NWire) -> float:
    """How far the probe's origin went along the wires."""
    front, back = np.array(wire.first[0]), np.array(wire.first[1])
    along = (back - front) / np.sqrt(((back - front) ** 2).sum())
    origins = np.array([-(pose[:3, :3].T @ pose[:3, 3]) for pose in poses])
    return float(np.ptp(origins @ along))


def _mean_pose(poses: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean of poses (M, 4, 4) that hardly differ: the rotation nearest to the mean matrix."""
    mean: NDArray[np.float64] = poses.mean(axis=0)
    u, _, vt = np.linalg.svd(mean[:3, :3])
    mean[:3, :3] = u @ np.diag([1.0, 1.0, float(np.linalg.det(u @ vt))]) @ vt
    return mean


def _matrix(matrix: Matrix) -> Facts:
    return {f"m{row}{column}": float(matrix[row, column]) for row in range(3) for column in range(4)}
