"""Motion that breathing does not explain: a cough or shift, a mean that drifts, tissue that leaves the plane.

Limits adapt to the motion at hand (trailing percentiles) and have floors in mm, so that a calm patient is not
watched with a microscope and a deep breather not with suspicion.
"""

from collections import deque
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from guidance.motion.quality import FlowQuality


class Disturbance(StrEnum):
    """Names handed to safety."""

    SUDDEN = "sudden_motion"
    DRIFT = "drift"
    THROUGH_PLANE = "through_plane"


@dataclass(frozen=True)
class DisturbanceSettings:
    """Floors, ratios and times of the three detectors."""

    sudden_mm: float = 4.0
    sudden_ratio: float = 2.0  # times the trailing 99th percentile of the speed
    drift_mm: float = 3.0
    drift_back_mm: float = 2.0
    baseline_s: float = 20.0
    drift_window_s: float = 15.0
    memory_s: float = 60.0
    least_frames: int = 20
    similarity_drop: float = 0.08  # below the lowest of the trailing memory
    through_frames: int = 2


@dataclass(frozen=True)
class Detection:
    """One disturbance in one frame: the value that was judged, its limit and their unit."""

    kind: Disturbance
    value: float
    limit: float
    unit: str


class MotionWatch:
    """Feeds on the region's mean position and the estimate's quality, frame by frame; names what is unusual."""

    def __init__(self, settings: DisturbanceSettings | None = None) -> None:
        self.settings = settings or DisturbanceSettings()
        self._path: deque[tuple[float, float, float]] = deque()
        self._speeds: deque[float] = deque(maxlen=600)
        self._similar: deque[float] = deque(maxlen=600)
        self._baseline: list[tuple[float, float]] = []
        self._start_s = -1.0
        self._low = 0
        self._drifting = False
        self.drift_mm = 0.0  # of the mean position from its baseline; 0 until both are known

    @property
    def unlike_frames(self) -> int:
        """Frames in a row that look like another plane."""
        return self._low

    def frame(self, time_ns: int, position_mm: tuple[float, float], quality: FlowQuality) -> tuple[Detection, ...]:
        """What was unusual in this frame. Frames whose estimate is not usable judge only the plane."""
        t_s = time_ns / 1e9
        if self._path and t_s <= self._path[-1][0]:
            raise ValueError(f"motion watch: time must rise, {t_s} s after {self._path[-1][0]} s")
        found = [self._through(quality)]
        if quality.verdict.usable:
            found += [self._sudden(t_s, position_mm), self._drift(t_s, position_mm)]
            self._path.append((t_s, *position_mm))
            while self._path[0][0] < t_s - self.settings.memory_s:
                self._path.popleft()
        return tuple(d for d in found if d is not None)

    def rebase(self) -> None:
        """Take the mean position from here on as the new baseline: an operator's act after a shift was dealt with."""
        self._baseline, self._start_s, self._drifting, self.drift_mm = [], -1.0, False, 0.0
        self._path.clear()

    def _sudden(self, t_s: float, position: tuple[float, float]) -> Detection | None:
        s = self.settings
        if not self._path:
            return None
        before_s, x, y = self._path[-1]
        jump, passed = float(np.hypot(position[0] - x, position[1] - y)), t_s - before_s
        usual = float(np.percentile(self._speeds, 99)) if len(self._speeds) >= s.least_frames else 0.0
        limit = max(s.sudden_mm, s.sudden_ratio * usual * passed)
        if jump > limit:
            return Detection(Disturbance.SUDDEN, jump, limit, "mm")
        self._speeds.append(jump / passed)
        return None

    def _drift(self, t_s: float, position: tuple[float, float]) -> Detection | None:
        s = self.settings
        if self._start_s < 0:
            self._start_s = t_s
        if t_s - self._start_s < s.baseline_s:
            self._baseline.append(position)
            return None
        lately = [(x, y) for at, x, y in self._path if at > t_s - s.drift_window_s]
        if len(lately) < s.least_frames or not self._baseline:
            return None
        away = float(np.hypot(*(np.median(lately, axis=0) - np.median(self._baseline, axis=0))))
        self.drift_mm = away
        limit = s.drift_back_mm if self._drifting else s.drift_mm
        self._drifting = away > limit
        return Detection(Disturbance.DRIFT, away, limit, "mm") if self._drifting else None

    def _through(self, quality: FlowQuality) -> Detection | None:
        s = self.settings
        lowest = min(self._similar) if len(self._similar) >= s.least_frames else -np.inf
        limit = lowest - s.similarity_drop
        low = quality.similarity < limit
        self._low = self._low + 1 if low else 0
        if not low and quality.verdict.usable:
            self._similar.append(quality.similarity)
        return (
            Detection(Disturbance.THROUGH_PLANE, quality.similarity, limit, "1")
            if self._low >= s.through_frames
            else None
        )
