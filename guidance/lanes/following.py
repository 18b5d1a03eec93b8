"""Thermometry that follows the tissue: every complex stack is brought to the reference position before anything else.

The magnitude images give the displacement, slice by slice, against the most frequented of the first frames; the
complex pixels are carried there by cubic splines. From then on baselines, masks, temperature and dose all live at
material points, and what the estimate may be wrong by enters sigma.
"""

from collections import deque
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from guidance.motion.bridge import Bridge
from guidance.motion.compensation import motion_sigma, to_reference
from guidance.motion.keyframe import most_frequented
from guidance.motion.quality import Verdict
from guidance.motion.volume import StackFlow
from guidance.thermometry import ThermometryFrame

Complex = NDArray[np.complexfloating[Any, Any]]
RESIDUAL_PX = 0.17  # SD of the displacement at 3 % noise and 10 px of motion, measured (docs/motion.md)
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
        self._heated: NDArray[np.bool_] | None = None
        self._bridges: dict[int, Bridge] = {}
        self._reference: NDArray[np.float32] | None = None
        self.chosen = -1  # which of the first frames became the reference
        self._waiting: list[Complex] = []
        self._flow: StackFlow | None = None
        self._alike: list[deque[float]] = []  # likeness of each slice's frames to its reference

    @property
    def heated(self) -> NDArray[np.bool_] | None:
        """(slices, rows, columns) where heat may change the brightness."""
        return self._heated

    @heated.setter
    def heated(self, where: NDArray[np.bool_] | None) -> None:
        self._heated, self._bridges = where, {}

    def _bridge(self, k: int) -> Bridge:
        if k not in self._bridges:
            assert self._reference is not None, "the reference was not chosen"
            reference = self._reference[k]
            nothing = np.zeros(reference.shape, np.bool_)
            self._bridges[k] = Bridge(reference, nothing if self._heated is None else self._heated[k])
        return self._bridges[k]

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
            field = self._bridge(k).fill(field, np.abs(pixels[k]))
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
            self._reference = np.abs(self._waiting[chosen]).astype(np.float32)
            self._flow, self._bridges = StackFlow(self._reference), {}
            self._alike = [deque(maxlen=MEMORY) for _ in pixels]
            self._waiting = []
        return Followed(pixels, np.zeros(pixels.shape, np.bool_), 0.0, "acquiring_reference")


def with_motion(frame: ThermometryFrame, followed: Followed, sigma_display_c: float) -> ThermometryFrame:
    """The frame with the displacement's own error in sigma, and without voxels whose tissue is not known."""
    filled = np.where(np.isfinite(frame.temperature_c), frame.temperature_c, np.float32(37.0)).astype(np.float32)
    moved = np.stack([motion_sigma(plane, RESIDUAL_PX) for plane in filled])
    sigma = np.hypot(frame.sigma_c, moved).astype(np.float32)
    return replace(frame, sigma_c=sigma, valid=frame.valid & followed.known & (sigma <= sigma_display_c))
