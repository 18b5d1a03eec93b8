"""Hand-eye desk: how an eye sits on a hand, from a target that both are turned about, pose by pose."""

from collections import deque
from collections.abc import Iterable
from typing import Any

import numpy as np

from guidance.core.results import ResultTeller, matrix_of, rows_of
from guidance.core.scene import ActHandler, Answer, Desk, Scene
from guidance.events import Act, Effect, JobDone
from guidance.exact import Matrix
from guidance.space.frames import FramePath
from guidance.space.results import CalibrationResult

DWELL_TICKS = 20  # poses of a hand that stands, averaged
STILL_MM = 0.7  # root mean square about their mean that counts as standing


class HandEyeDesk(Desk):
    """Acts HAND_EYE_START, HAND_EYE_COLLECT (the hand stands, the eye sees the target), HAND_EYE."""

    jobs = frozenset({"hand_eye"})

    def __init__(self, scene: Scene) -> None:
        self._scene, self._tracking = scene, scene.tracking
        self._row = scene.settings.navigation.hand_eye
        self._tell = ResultTeller(scene)
        self._ways: tuple[FramePath, FramePath] | None = None
        self._recent: deque[tuple[Matrix, Matrix]] = deque(maxlen=DWELL_TICKS)
        self.collected: list[list[tuple[Matrix, Matrix]]] = []
        if self._row is not None:
            hand, target = (self._tracking.tracks[self._tracking.tools[n].stream].edge for n in self._names())
            self._ways = (self._tracking.graph.path(*hand), self._tracking.graph.path(*target))

    def _names(self) -> tuple[str, str]:
        return (self._row.hand, self._row.target) if self._row else ("", "")

    @property
    def verbs(self) -> dict[str, ActHandler]:
        """What an operator does, in this order."""
        return {"HAND_EYE_START": self._start, "HAND_EYE_COLLECT": self._collect, "HAND_EYE": self._end}

    def measure(self, now_ns: int) -> None:
        """Hand and target as they are now."""
        if self._ways is None:
            return
        hand, target = (self._tracking.live(way, now_ns) for way in self._ways)
        if hand is None or target is None:
            self._recent.clear()
        else:
            self._recent.append((hand, target))

    def _start(self, act: Act) -> Answer:
        if self._row is None:
            return ("this room calibrates no hand-eye: no [navigation.hand_eye]",), []
        self.collected.clear()
        return (), []

    def _collect(self, act: Act) -> Answer:
        """Both stand still: their mean over the last ticks is one pair."""
        if self._row is None:
            return ("this room calibrates no hand-eye",), []
        if len(self._recent) < DWELL_TICKS:
            return (f"{self._row.hand} and {self._row.target} are not both live for long enough",), []
        moved = max(_spread_mm([pair[n] for pair in self._recent]) for n in (0, 1))
        if moved > STILL_MM:
            return (f"{self._row.hand} or {self._row.target} moves by {moved:.1f} mm: hold still",), []
        self.collected.append(list(self._recent))
        values = {"collected": float(len(self.collected)), "spread_mm": moved}
        return (), self._tell.numbers("collected-hand-eye", values, act.now_ns)

    def _end(self, act: Act) -> Answer:
        """Solve for the eye on the hand; the answer comes as Metrics and as a result file."""
        if self._row is None:
            return ("this room calibrates no hand-eye",), []
        if len(self.collected) < self._row.least_poses:
            return (f"{len(self.collected)} poses were collected, {self._row.least_poses} are needed",), []
        inputs: dict[str, Any] = {
            name: np.array([[pair[n] for pair in pairs] for pairs in self.collected])
            for n, name in enumerate(("hands", "targets"))
        }
        return (), [self._scene.job("study", "", "hand_eye", inputs, {})]

    def done(self, result: JobDone, told: dict[str, int]) -> Iterable[Effect]:
        """The fit: used or refused, and told either way."""
        if result.failed or self._row is None:
            return self._tell.words(f"hand_eye: {result.failed}", result.now_ns)
        row = self._row
        values = {key: float(value) for key, value in result.facts.items() if isinstance(value, (int, float))}
        eye = self._tracking.tracks[self._tracking.tools[row.target].stream].edge[1]
        hand = self._tracking.own_frame(row.hand)
        found = CalibrationResult(
            kind="hand_eye", moving=eye, fixed=hand, fixed_from_moving=rows_of(matrix_of(values)),
            made_ns=self._scene.wall_ns, valid_s=row.valid_s,
            errors={key: values[key] for key in ("rms_mm", "rms_deg", "span_deg", "sigma_mm")},
            limits={"rms_mm": row.rms_mm, "rms_deg": row.rms_deg, "span_deg_least": row.span_deg},
        )  # fmt: skip
        faults = found.faults(self._scene.wall_ns)
        if not faults:
            self._tracking.join(eye, hand, matrix_of(values), values["sigma_mm"], 0.0)
        return self._tell.result(found, values, faults, result.now_ns)


def _spread_mm(poses: list[Matrix]) -> float:
    places = np.array([pose[:3, 3] for pose in poses])
    return float(np.sqrt(((places - places.mean(axis=0)) ** 2).sum(axis=1).mean()))
