"""The guard lane's part of motion: every cine frame against the reference, and where the target is and will be."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from devices.messages import Image, Matrix
from guidance.motion import PROMPT, DenseFlow, Flow, PositionPredictor, PredictionState
from guidance.motion.compensation import points_to_current
from guidance.motion.disturbance import Disturbance, MotionWatch
from guidance.motion.gating import Target, sight
from guidance.motion.keyframe import most_frequented
from guidance.motion.surrogate import PrincipalBreath
from guidance.plan import Plan, Structure
from guidance.settings import Gating, RoomSettings

Facts = dict[str, float | int | str | bool | None]
Result = tuple[Facts, dict[str, Any]]
Plane = NDArray[np.float32]
UNSEEN: Facts = {"usable": False, "quality": 0.0}


class MotionWork:
    """State of one cine stream: its reference, flow, watch and predictor. Called by one thread, a frame at a time."""

    def __init__(self, settings: RoomSettings, plan: Plan | None) -> None:
        self._row = settings.motion
        self._boundary_mm = (settings.gating or Gating()).boundary_mm
        self._structure: Structure | None = plan.structure(self._row.target) if plan and self._row else None
        self._waiting: list[Plane] = []
        self._geometry: tuple[bytes, tuple[int, ...]] | None = None
        self._flow: DenseFlow | None = None
        self._target: Target | None = None
        self._watch = MotionWatch()
        self._breath: PrincipalBreath | None = None  # where the reference frames are enough to learn it from
        self._predictor = PositionPredictor()

    def cine(self, image: Image, acquired_ns: int, horizon_s: float) -> Result:
        """One frame (1, rows, columns), real: displacement, quality and the target's place now and `horizon_s` ahead.

        Raises ValueError for stacks and complex pixels, and where the plan's target does not cut the plane.
        """
        plane = _plane(image)
        geometry = (image.frame_from_image_mm.tobytes(), plane.shape)
        if self._geometry is not None and geometry != self._geometry:
            return {**UNSEEN, "state": "geometry_changed"}, {}
        self._geometry = geometry
        if self._flow is None:
            return self._acquire(plane, image.frame_from_image_mm)
        flow = self._flow.estimate(plane)
        facts = self._facts(flow, acquired_ns, horizon_s)
        if self._breath is not None:
            breath = self._breath.value(plane)
            facts |= {"breath": breath.value, "breath_quality": breath.quality, "breath_state": breath.verdict.value}
        return facts, {"displacement_px": flow.displacement_px}

    def _acquire(self, plane: Plane, ras_from_image: Matrix) -> Result:
        assert self._row is not None and self._structure is not None, "a room without motion sends no such job"
        self._target = self._target or _target(self._structure, plane.shape, ras_from_image)
        if np.ptp(plane) > 0:
            self._waiting.append(plane)
        wanted = self._row.reference_frames
        told: Facts = {**UNSEEN, "state": "acquiring_reference", "reference_frames": len(self._waiting)}
        if len(self._waiting) >= wanted:
            chosen = most_frequented(self._waiting)
            self._flow = DenseFlow(self._waiting[chosen], PROMPT)
            self._breath = _breath(self._waiting)
            self._waiting = []
            told["reference_frame"] = chosen
        return told, {}

    def _facts(self, flow: Flow, acquired_ns: int, horizon_s: float) -> Facts:
        assert self._target is not None
        quality, usable = flow.quality, flow.quality.verdict.usable
        seen = sight(self._target, flow.displacement_px, self._boundary_mm, usable)
        found = self._watch.frame(acquired_ns, seen.centroid_mm, quality)
        facts: Facts = {
            "state": quality.verdict.value,
            "usable": usable,
            "quality": max(quality.similarity, 0.0) if usable else 0.0,
            "through_plane": any(row.kind is Disturbance.THROUGH_PLANE for row in found),
            "unlike_frames": self._watch.unlike_frames,
            "drift_mm": self._watch.drift_mm,
            "share_outside": seen.outside_share,
            "x_mm": seen.centroid_mm[0],
            "y_mm": seen.centroid_mm[1],
            "similarity": quality.similarity,
            "folded_share": quality.folded_share,
            "inside_share": quality.inside_share,
            "innovation_px": quality.innovation_px,
            "residual": quality.residual,
        }
        for row in found:
            facts[row.kind.value] = row.value
        if (
            not usable or Disturbance.SUDDEN.value in facts
        ):  # what breathing does not do must not be learnt as breathing
            return facts
        return facts | self._ahead(flow, seen.centroid_mm, acquired_ns, horizon_s)

    def _ahead(self, flow: Flow, now_mm: tuple[float, float], acquired_ns: int, horizon_s: float) -> Facts:
        """Where the target will be when the beam can answer; rigidly beyond what the frame shows."""
        assert self._row is not None and self._target is not None
        if not self._row.predict:
            return {}
        self._predictor.update(acquired_ns / 1e9, np.array(now_mm))
        forecast = self._predictor.forecast(horizon_s)
        if forecast.state is not PredictionState.OK:
            return {"ahead.state": forecast.state.value, "ahead.s": horizon_s}
        x_mm, y_mm = (float(v) for v in forecast.position_mm)
        spacing = self._target.spacing_mm
        step_px = np.array([(x_mm - now_mm[0]) / spacing[1], (y_mm - now_mm[1]) / spacing[0]], np.float32)
        later = sight(self._target, flow.displacement_px + step_px, self._boundary_mm)
        return {
            "ahead.state": forecast.state.value,
            "ahead.s": horizon_s,
            "ahead.share_outside": later.outside_share,
            "ahead.x_mm": x_mm,
            "ahead.y_mm": y_mm,
            "ahead.sigma_mm": float(np.hypot(*forecast.sigma_mm)),
        }


def _plane(image: Image) -> Plane:
    pixels = image.pixels[0] if image.pixels.ndim == 3 and len(image.pixels) == 1 else image.pixels
    if pixels.ndim != 2 or np.iscomplexobj(pixels):
        raise ValueError(f"cine {image.name}: needs real (1, rows, columns), got {pixels.dtype} {image.pixels.shape}")
    return np.asarray(pixels, np.float32)


def _breath(frames: list[Plane]) -> PrincipalBreath | None:
    """The images' own respiratory signal; None where they are too few or do not change."""
    if len(frames) < PrincipalBreath.LEAST or not np.ptp(frames, axis=0).any():
        return None
    return PrincipalBreath(np.array(frames))


def _target(structure: Structure, shape: tuple[int, ...], ras_from_image: Matrix) -> Target:
    mask = structure.mask(ras_from_image, (1, shape[0], shape[1]))[0]
    if not mask.any():
        raise ValueError(f"gating target {structure.name!r} does not cut the plane of the cine images")
    spacing = np.linalg.norm(ras_from_image[:3, :2], axis=0)
    return Target.of(mask, (float(spacing[1]), float(spacing[0])))


def warm_motion(settings: RoomSettings, plan: Plan | None) -> None:
    """Compile and load every kernel that motion needs in this room, on state that is thrown away."""
    if settings.motion is None or plan is None:
        return
    y, x = np.mgrid[:64, :64]
    still = (100 + 50 * np.sin(x / 3.0) * np.sin(y / 4.0)).astype(np.float32)
    flow = DenseFlow(still, PROMPT)
    for shift in (0, 1, 3):
        field = flow.estimate(np.roll(still, shift, axis=0)).displacement_px
    points_to_current(np.zeros((3, 2)), field)
    predictor = PositionPredictor()
    for step in range(400):
        predictor.update(0.1 * step, np.array([np.sin(0.1 * step), np.cos(0.12 * step)]))
    predictor.predict(0.25)
