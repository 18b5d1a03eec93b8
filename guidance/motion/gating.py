"""When the beam may be on: target inside its boundary, at its place, in its plane, seen, and seen lately.

Beam on iff at most 10 % of the target lies outside boundary = planned target + 3 mm, *and* the centroid is within
its own limit, *and* nothing moved through the plane, *and* the estimate is usable. Off at once; on after two good
frames in a row; off when no frame came for two intervals. All times are ns of acquisition or of arrival, and the
latency counts from acquisition (ALGORITHMS: published beam-off latency 47-302 ms).
"""

from dataclasses import dataclass, field
from enum import StrEnum

import cv2
import numpy as np
from numpy.typing import NDArray

Mask = NDArray[np.bool_]


class GateReason(StrEnum):
    """Why the gate is as it is; every reason but IN_GATE keeps the beam off."""

    IN_GATE = "in_gate"
    NOT_STARTED = "not_started"
    WAITING = "waiting"  # good, but not yet often enough in a row
    SHARE = "share_outside"
    CENTROID = "centroid"
    AHEAD = "leaving"  # in the gate now, predicted outside when the beam can answer
    THROUGH_PLANE = "through_plane"
    ESTIMATE = "bad_estimate"
    SUDDEN = "sudden_motion"  # a cough, a shift, or an estimate that went astray: never the ground for beam on
    STALE = "stale"


@dataclass(frozen=True)
class GateSettings:
    """`boundary_mm` widens the planned target; `centroid_mm` limits the centroid's way; `interval_ns` 0 = learnt."""

    boundary_mm: float = 3.0
    most_outside_share: float = 0.10
    centroid_mm: float = 4.0
    good_frames: int = 2
    stale_intervals: float = 2.0
    interval_ns: int = 0
    most_age_ns: int = 500_000_000  # from acquisition to decision


@dataclass(frozen=True)
class Target:
    """The planned target in one image plane: where it should be, and how wide the boundary is.

    `planned` (rows, columns) in the reference image; `spacing_mm` (row, column). `distance_mm` is positive outside.
    """

    planned: Mask
    spacing_mm: tuple[float, float]
    distance_mm: NDArray[np.float32]
    centroid_px: tuple[float, float]  # x, y

    @classmethod
    def of(cls, planned: Mask, spacing_mm: tuple[float, float]) -> "Target":
        """Raises ValueError when the mask is empty or a spacing not positive."""
        if planned.ndim != 2 or not planned.any() or min(spacing_mm) <= 0:
            raise ValueError(f"gating target: needs a non-empty mask (rows, columns), got {planned.shape}")
        rows, columns = (int(np.ceil(n * s / min(spacing_mm))) for n, s in zip(planned.shape, spacing_mm, strict=True))
        even = cv2.resize(planned.astype(np.uint8), (columns, rows), interpolation=cv2.INTER_NEAREST)
        away = cv2.distanceTransform(1 - even, cv2.DIST_L2, cv2.DIST_MASK_PRECISE) * min(spacing_mm)
        distance = cv2.resize(away, planned.shape[::-1], interpolation=cv2.INTER_LINEAR)
        y, x = np.nonzero(planned)
        return cls(planned, spacing_mm, np.asarray(distance, np.float32), (float(x.mean()), float(y.mean())))


@dataclass(frozen=True)
class Sighting:
    """Where the target is in one frame: share beyond the boundary and the way of its centroid."""

    outside_share: float
    centroid_mm: tuple[float, float]  # x, y
    usable: bool = True
    through_plane: bool = False
    sudden: bool = False


def sight(target: Target, displacement_px: NDArray[np.float32], boundary_mm: float, usable: bool = True) -> Sighting:
    """Move the target's pixels by the field and see how many leave the boundary.

    `displacement_px` (rows, columns, 2): current(p + u(p)) = reference(p), so tissue at p is now at p + u(p).
    """
    y, x = np.nonzero(target.planned)
    u = displacement_px[y, x]
    there_x, there_y = (x + u[:, 0]).astype(np.float32), (y + u[:, 1]).astype(np.float32)
    away = cv2.remap(
        target.distance_mm, there_x[:, None], there_y[:, None], cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_CONSTANT, borderValue=1e6,
    )  # fmt: skip
    middle = u.mean(axis=0, dtype=np.float64)
    way = (float(middle[0]) * target.spacing_mm[1], float(middle[1]) * target.spacing_mm[0])
    return Sighting(float((away > boundary_mm).mean()), way, usable)


@dataclass(frozen=True)
class GateDecision:
    """The gate after an event: whether the beam may be on, why, and since when it counts.

    `acquired_ns` is the time of acquisition that the decision rests on; `latency_ns` decision minus acquisition.
    """

    beam_on: bool
    reason: GateReason
    decided_ns: int
    acquired_ns: int
    latency_ns: int
    changed: bool


@dataclass
class GateBook:
    """What the gate did: on-time, frames, and how far the target was from its place while the beam was on."""

    on_ns: int = 0
    total_ns: int = 0
    frames: int = 0
    switches: int = 0
    squares_on_mm2: float = 0.0
    squares_all_mm2: float = 0.0
    frames_on: int = 0
    most_on_mm: float = 0.0
    reasons: dict[GateReason, int] = field(default_factory=dict)

    @property
    def duty_cycle(self) -> float:
        return self.on_ns / self.total_ns if self.total_ns else 0.0

    @property
    def residual_rms_mm(self) -> float:
        """RMS distance of the centroid from its planned place over frames that found the beam on."""
        return float((self.squares_on_mm2 / self.frames_on) ** 0.5) if self.frames_on else 0.0

    @property
    def ungated_rms_mm(self) -> float:
        return float((self.squares_all_mm2 / self.frames) ** 0.5) if self.frames else 0.0


class Gate:
    """Turns sightings and the passing of time into beam on or off. Starts off."""

    def __init__(self, settings: GateSettings | None = None) -> None:
        self.settings = settings or GateSettings()
        self.book = GateBook()
        self.beam_on = False
        self.reason = GateReason.NOT_STARTED
        self._good = 0
        self._last_arrival_ns = self._last_acquired_ns = -1
        self._last_seen_ns = -1
        self._interval_ns = self.settings.interval_ns

    @property
    def interval_ns(self) -> int:
        """The frame interval in use: as set, or the running median-like estimate; 0 until two frames came."""
        return self._interval_ns

    def frame(self, sighting: Sighting, acquired_ns: int, now_ns: int, ahead: Sighting | None = None) -> GateDecision:
        """A frame was understood. `acquired_ns` must rise and not lie after `now_ns`; ValueError otherwise.

        `ahead` is where the target is predicted to be when the beam can answer: the beam is off when either leaves.
        """
        if acquired_ns <= self._last_acquired_ns or acquired_ns > now_ns:
            raise ValueError(
                f"gate: frame acquired at {acquired_ns} ns; it must lie after the last one's"
                f" {self._last_acquired_ns} ns and not after its arrival at {now_ns} ns"
            )
        if self._last_acquired_ns >= 0 and not self.settings.interval_ns:
            self._learn_interval(acquired_ns - self._last_acquired_ns)
        self._pass(now_ns)
        self._last_acquired_ns, self._last_arrival_ns = acquired_ns, now_ns
        fault = self._fault(sighting, now_ns - acquired_ns)
        if fault is None and ahead is not None and self._fault(ahead, 0):
            fault = GateReason.AHEAD
        self._good = 0 if fault else self._good + 1
        ready = self.beam_on or self._good >= self.settings.good_frames
        reason = fault or (GateReason.IN_GATE if ready else GateReason.WAITING)
        was_on = self.beam_on
        decision = self._set(reason is GateReason.IN_GATE, reason, now_ns)
        self._write(sighting, was_on)
        return decision

    def tick(self, now_ns: int) -> GateDecision:
        """Time passed: off when no frame arrived for `stale_intervals`."""
        self._pass(now_ns)
        if self._last_acquired_ns < 0:
            return self._set(False, GateReason.NOT_STARTED, now_ns)
        if self._stale(now_ns):
            self._good = 0
            return self._set(False, GateReason.STALE, now_ns)
        return self._set(self.beam_on, self.reason, now_ns)

    @property
    def stale_at_ns(self) -> int:
        """Service time at which the gate goes stale without another frame; -1 before the first."""
        if self._last_arrival_ns < 0:
            return -1
        return self._last_arrival_ns + round(self.settings.stale_intervals * self._interval_ns)

    def _stale(self, now_ns: int) -> bool:
        return not self._interval_ns or now_ns > self.stale_at_ns

    def _learn_interval(self, seen_ns: int) -> None:
        """A tenth of the way towards each interval; a gap counts for no more than half as long again."""
        known = self._interval_ns
        self._interval_ns = seen_ns if not known else known + (min(seen_ns, known * 3 // 2) - known) // 10

    def _fault(self, sighting: Sighting, age_ns: int) -> GateReason | None:
        s = self.settings
        faults = (
            (not sighting.usable, GateReason.ESTIMATE),
            (sighting.through_plane, GateReason.THROUGH_PLANE),
            (sighting.sudden, GateReason.SUDDEN),
            (not sighting.outside_share <= s.most_outside_share, GateReason.SHARE),
            (not float(np.hypot(*sighting.centroid_mm)) <= s.centroid_mm, GateReason.CENTROID),
            (age_ns > s.most_age_ns, GateReason.STALE),
        )
        return next((reason for wrong, reason in faults if wrong), None)

    def _set(self, beam_on: bool, reason: GateReason, now_ns: int) -> GateDecision:
        changed = beam_on != self.beam_on
        self.beam_on, self.reason = beam_on, reason
        self.book.switches += changed
        return GateDecision(beam_on, reason, now_ns, self._last_acquired_ns, now_ns - self._last_acquired_ns, changed)

    def _pass(self, now_ns: int) -> None:
        if self._last_seen_ns >= 0:
            passed = now_ns - self._last_seen_ns
            if passed < 0:
                raise ValueError(f"gate: time ran back from {self._last_seen_ns} to {now_ns} ns")
            self.book.total_ns += passed
            self.book.on_ns += passed if self.beam_on else 0
        self._last_seen_ns = now_ns

    def _write(self, sighting: Sighting, was_on: bool) -> None:
        """Book the frame; where the target was counts for the beam as it was *before* the frame could change it."""
        book, away = self.book, float(np.hypot(*sighting.centroid_mm))
        book.reasons[self.reason] = book.reasons.get(self.reason, 0) + 1
        if not sighting.usable:
            return
        book.frames += 1
        book.squares_all_mm2 += away**2
        if was_on:
            book.frames_on += 1
            book.squares_on_mm2 += away**2
            book.most_on_mm = max(book.most_on_mm, away)
