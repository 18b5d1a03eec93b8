"""Probe desk: a probe swept over N-shaped wires, its pictures searched for them, its calibration found and checked."""

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from devices.messages import Overlay
from devices.quality import Quality
from guidance.core.results import ResultTeller, matrix_of, rows_of
from guidance.core.scene import ActHandler, Answer, Desk, Scene
from guidance.events import Act, Effect, JobDone
from guidance.exact import Matrix, invert
from guidance.space.results import CalibrationResult
from guidance.timing.ring import Kind
from guidance.units import NS_PER_S

TOLD_NS = NS_PER_S  # how often progress is told
MOST_PICTURES = 2000


class ProbeDesk(Desk):
    """Acts PROBE_START and PROBE."""

    jobs = frozenset({"wires", "nwire"})

    def __init__(self, scene: Scene) -> None:
        self._scene, self._tracking = scene, scene.tracking
        self._row = scene.settings.navigation.probe
        self._tell = ResultTeller(scene)
        self._stream = next((row.name for row in scene.settings.streams if row.kind == "ultrasound"), "")
        self._waiting: list[tuple[int, NDArray[np.float64]]] = []  # (service time, dots) whose poses are still to come
        self.kept: list[tuple[NDArray[np.float64], Matrix]] = []  # dots, probe_from_phantom
        self.unread = self.unplaced = 0  # pictures without all wires, without poses
        self._told_ns = 0

    @property
    def verbs(self) -> dict[str, ActHandler]:
        """What an operator does, in this order."""
        return {"PROBE_START": self._start, "PROBE": self._end}

    def _start(self, act: Act) -> Answer:
        """From now on every picture is searched for the wires."""
        if self._row is None or not self._stream:
            return ("this room calibrates no probe: no [navigation.probe], or no ultrasound",), []
        self._scene.searched[self._stream] = "wires"
        self._waiting.clear()
        self.kept.clear()
        self.unread = self.unplaced = 0
        return (), []

    def _end(self, act: Act) -> Answer:
        """Fit what was collected; the answer comes as Metrics and as a result file."""
        row = self._row
        if row is None or self._scene.searched.get(self._stream) != "wires":
            return ("no probe calibration was started",), []
        self._place(act.now_ns)
        if len(self.kept) < row.least_pictures:
            return (f"the wires were read in {len(self.kept)} pictures, {row.least_pictures} are needed",), []
        del self._scene.searched[self._stream]
        inputs = {"dots": np.array([dots for dots, _ in self.kept]), "poses": np.array([pose for _, pose in self.kept])}
        return (), [self._scene.job("study", "", "nwire", inputs, {})]

    def done(self, result: JobDone, told: dict[str, int]) -> Iterable[Effect]:
        """A picture that was searched, or the fit."""
        if result.kind == "nwire":
            return self._fitted(result)
        if result.failed or self._row is None:
            return ()
        facts = result.facts
        if facts["found"]:
            dots = np.array([[float(facts[f"{axis}{n}"] or 0.0) for axis in "uv"] for n in range(self._count())])
            self._waiting.append((round(float(facts["time_s"] or 0.0) * NS_PER_S), dots))
            self._place(result.now_ns)
        else:
            self.unread += 1
        picture = Overlay(
            name="overlay-frame", view="frame", device_time_ns=result.now_ns, rgba=result.arrays["frame"],
            ras_from_image_mm=result.arrays["frame.ras"], quality=Quality.MISSING, evidence=told,
        )  # fmt: skip
        return list(self._scene.routes.to("overlay", picture, view="frame"))

    def _count(self) -> int:
        return 3 * len(self._row.wires) if self._row else 0

    def _place(self, now_ns: int) -> None:
        """Pictures whose poses are known go to the fit; a picture whose poses cannot be known any more goes away."""
        row = self._row
        assert row is not None, "nothing waits in a room that calibrates no probe"
        late = []
        for time_ns, dots in self._waiting:
            placed = self._tracking.frame_at(self._tracking.own_frame(row.probe), time_ns, row.phantom)
            if not isinstance(placed, Kind):
                if len(self.kept) < MOST_PICTURES:
                    self.kept.append((dots, invert(placed[0])))
            elif placed is Kind.TOO_OLD and now_ns - time_ns < NS_PER_S:
                late.append((time_ns, dots))
            else:
                self.unplaced += 1
        self._waiting = late

    def _fitted(self, result: JobDone) -> list[Effect]:
        row = self._row
        assert row is not None, "a room that calibrates no probe asks for no such job"
        if result.failed:
            return self._tell.words(f"probe calibration: {result.failed}", result.now_ns)
        values = {key: float(value) for key, value in result.facts.items() if isinstance(value, (int, float))}
        values |= {"unread": float(self.unread), "unplaced": float(self.unplaced)}
        geometry = self._scene.pictures.get(row.picture, np.eye(4))
        pixel = float(np.sqrt((geometry[:3, 0] ** 2).sum()))
        picture, probe = self._tracking.probe_edge(row)
        found = CalibrationResult(
            kind="nwire", moving=picture, fixed=probe, fixed_from_moving=rows_of(matrix_of(values)),
            made_ns=self._scene.wall_ns, valid_s=row.valid_s,
            errors={key: values[key] for key in ("mean_mm", "fitted_mm", "sigma_mm", "span_mm", "pictures")},
            limits={"mean_mm": row.mean_mm, "span_mm_least": row.span_mm, "pictures_least": row.least_pictures},
            conditions={"pixel_mm": pixel},
        )  # fmt: skip
        faults = found.faults(self._scene.wall_ns, found.conditions)
        if not faults:
            matrix = matrix_of(values)
            self._tracking.join(picture, probe, matrix, values["sigma_mm"], 0.0, {"pixel_mm": pixel})
        return self._tell.result(found, values, faults, result.now_ns)

    def measure(self, now_ns: int) -> None:
        """Pictures wait for the pose after them."""
        if self._waiting:
            self._place(now_ns)

    def tick(self, now_ns: int) -> Iterable[Effect]:
        """Progress, once a second."""
        if self._scene.searched.get(self._stream) != "wires" or now_ns - self._told_ns < TOLD_NS:
            return ()
        self._told_ns = now_ns
        counted = {"pictures": len(self.kept), "unread": self.unread, "unplaced": self.unplaced}
        return self._tell.numbers("probe-pictures", {name: float(n) for name, n in counted.items()}, now_ns)
