"""Thermometry that follows the tissue: every complex stack is brought to the reference position before anything else.

The magnitude images give the displacement, slice by slice, against the most frequented of the first frames; the
complex pixels are carried there by cubic splines. From then on baselines, masks, temperature and dose all live at
material points, and what the estimate may be wrong by enters sigma.
"""

from collections import deque
from dataclasses import dataclass, replace
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from guidance.motion.compensation import motion_sigma, to_reference
from guidance.motion.keyframe import most_frequented
from guidance.motion.quality import Verdict
from guidance.motion.volume import StackFlow
from guidance.thermometry import ThermometryFrame

Complex = NDArray[np.complexfloating[Any, Any]]
RESIDUAL_PX = 0.17  # SD of the displacement at 3 % noise and 10 px of motion, measured (docs/motion.md)
GUARD_PX, RING_PX = 1, 5  # around the heated region: not trusted, and fitted to
LEAST_SEEN = 0.7  # of the slices must have a usable displacement
THROUGH_DROP = 0.03  # of the likeness, below its usual best: other tissue came into the plane (docs/motion.md)
THROUGH_PLANE = "through_plane"
MEMORY, LEAST_MEMORY = 300, 5


@dataclass(frozen=True, eq=False)
class Followed:
    """One stack in the reference position. `known` is False where its tissue is not in the image or not followed."""

    pixels: Complex
    known: NDArray[np.bool_]
    shift_px: float  # mean length over the slices that could be followed
    verdict: str  # ok | acquiring_reference | the first thing that is wrong
    displacement_px: NDArray[np.float32] | None = None  # (slices, rows, columns, 2)


class Follower:
    """State: the reference stack and one flow estimator a slice."""

    def __init__(self, reference_frames: int) -> None:
        self._wanted = reference_frames
        self.heated: NDArray[np.bool_] | None = None  # (slices, rows, columns) where heat may change the brightness
        self.chosen = -1  # which of the first frames became the reference
        self._waiting: list[Complex] = []
        self._flow: StackFlow | None = None
        self._alike: list[deque[float]] = []  # likeness of each slice's frames to its reference

    def follow(self, pixels: Complex) -> Followed:
        """Bring (slices, rows, columns) complex to the reference position.

        Raises ValueError when the shape changes or a value is not finite.
        """
        if self._flow is None:
            return self._acquire(pixels)
        flows = self._flow.estimate(np.abs(pixels).astype(np.float32))
        out, known = pixels.copy(), np.zeros(pixels.shape, np.bool_)
        fields = np.zeros((*pixels.shape, 2), np.float32)
        wrong: list[str] = []
        shifts = []
        for k, flow in enumerate(flows):
            if flow is None:
                continue
            if not flow.quality.verdict.usable or self._left_plane(k, flow.quality.similarity):
                wrong.append(THROUGH_PLANE if flow.quality.verdict.usable else flow.quality.verdict.value)
                continue
            field = flow.displacement_px
            if self.heated is not None and self.heated[k].any():
                field = bridged(field, self.heated[k])
            carried = to_reference(pixels[k], field)
            out[k], known[k], fields[k] = carried.values, carried.known, field
            shifts.append(flow.quality.shift_px)
        count = len(shifts) + len(wrong)
        bad = not count or len(shifts) < LEAST_SEEN * count
        verdict = (wrong[0] if wrong else Verdict.BLANK.value) if bad else Verdict.OK.value
        return Followed(out, known, float(np.mean(shifts)) if shifts else 0.0, verdict, fields)

    def _left_plane(self, k: int, similarity: float) -> bool:
        """Whether slice `k` shows other tissue than its reference: an organ does that when it moves through it."""
        trail = self._alike[k]
        trail.append(similarity)
        return len(trail) > LEAST_MEMORY and similarity < float(np.percentile(trail, 90)) - THROUGH_DROP

    def _acquire(self, pixels: Complex) -> Followed:
        if np.abs(pixels).max() > 0:
            self._waiting.append(pixels)
        if len(self._waiting) >= self._wanted:
            middle = pixels.shape[0] // 2
            chosen = most_frequented([np.abs(stack[middle]) for stack in self._waiting])
            self.chosen = chosen
            self._flow = StackFlow(np.abs(self._waiting[chosen]).astype(np.float32))
            self._alike = [deque(maxlen=MEMORY) for _ in pixels]
            self._waiting = []
        return Followed(pixels, np.zeros(pixels.shape, np.bool_), 0.0, "acquiring_reference")


def with_motion(frame: ThermometryFrame, followed: Followed, sigma_display_c: float) -> ThermometryFrame:
    """The frame with the displacement's own error in sigma, and without voxels whose tissue is not known."""
    filled = np.where(np.isfinite(frame.temperature_c), frame.temperature_c, np.float32(37.0)).astype(np.float32)
    moved = np.stack([motion_sigma(plane, RESIDUAL_PX) for plane in filled])
    sigma = np.hypot(frame.sigma_c, moved).astype(np.float32)
    return replace(frame, sigma_c=sigma, valid=frame.valid & followed.known & (sigma <= sigma_display_c))


def bridged(field: NDArray[np.float32], heated: NDArray[np.bool_]) -> NDArray[np.float32]:
    """The field (rows, columns, 2) with its values in the heated region (rows, columns) replaced by a plane.

    Heat changes the brightness (T1) and a flow follows brightness; the plane is fitted to a ring around the region.
    """
    inner = np.ones((2 * GUARD_PX + 1,) * 2, np.uint8)
    outer = np.ones((2 * (GUARD_PX + RING_PX) + 1,) * 2, np.uint8)
    hot = heated.astype(np.uint8)
    core = cv2.dilate(hot, inner).astype(np.bool_)
    ring = cv2.dilate(hot, outer).astype(np.bool_) & ~core
    y, x = np.nonzero(ring)
    middle = np.array([y.mean(), x.mean()]) if len(y) else np.zeros(2)
    terms = np.stack([np.ones(len(y)), x - middle[1], y - middle[0]], axis=1)
    found, *_ = np.linalg.lstsq(terms, field[ring].astype(np.float64), rcond=None)
    rows, columns = np.nonzero(core)
    inside = np.stack([np.ones(len(rows)), columns - middle[1], rows - middle[0]], axis=1) @ found
    out = field.copy()
    out[core] = inside.astype(np.float32)
    return out
