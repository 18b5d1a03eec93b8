"""Calibration desk: registration and calibrations as procedures that people walk through, act by act.

Each ends in a result with its errors: used from then on where it is within its limits, refused with the
reason where it is not.
"""

from collections import deque
from collections.abc import Iterable
from typing import Any

import numpy as np

from guidance.core.poses import PoseDesk
from guidance.core.results import ResultTeller, matrix_of, rows_of
from guidance.core.scene import ActHandler, Answer, Desk, Scene
from guidance.events import Act, Effect, JobDone
from guidance.exact import Matrix, Vector, apply
from guidance.navigation_settings import Registration
from guidance.safety.facts import Fact
from guidance.space.frames import FramePath
from guidance.space.pivot import RMS_MM, SPAN_DEG
from guidance.space.results import CalibrationResult

DWELL_TICKS = 20  # poses of a held pointer that are averaged
STILL_MM = 0.7  # root mean square about their mean that counts as held still
PIVOT_POSES = 2000  # at most
LEAST_PIVOT = 100
LAG_S = 0.3  # a larger lag is a mistake, not a delay


class CalibrationDesk(Desk):
    """Acts REGISTER_START, COLLECT, REGISTER, PIVOT_START, PIVOT, LAG_START, LAG; one of each kind at a time."""

    jobs = frozenset({"register", "pivot", "line", "lag"})

    def __init__(self, scene: Scene, poses: PoseDesk) -> None:
        self._scene, self._poses, self._tracking = scene, poses, scene.tracking
        self._row = scene.settings.navigation.registration
        self._tell = ResultTeller(scene)
        self._pointer: FramePath | None = None
        self._recent: deque[Vector] = deque(maxlen=DWELL_TICKS)
        self.collected: dict[str, Vector] = {}  # landmark -> pointer's tip in the moving frame, mm
        self._pivot: tuple[str, FramePath, list[Matrix]] | None = None
        self._pivoting = ""
        self._lag = ""  # the tool whose motion against the water tank's bottom is being watched
        self._lines: list[tuple[float, float]] = []  # (s, row) of the bottom in each frame
        self._places: list[tuple[float, Vector]] = []  # (s, mm) of the tool
        if self._row is not None:
            self._pointer = self._tracking.way_from(self._row.pointer, self._row.moving)
            scene.facts.declare("registration_tre_mm", _title(self._row))
        self._poses.trust()

    @property
    def verbs(self) -> dict[str, ActHandler]:
        """What an operator does, in this order."""
        return {
            "REGISTER_START": self._register_start,
            "COLLECT": self._collect,
            "REGISTER": self._register,
            "PIVOT_START": self._pivot_start,
            "PIVOT": self._pivot_end,
            "LAG_START": self._lag_start,
            "LAG": self._lag_end,
        }

    def measure(self, now_ns: int) -> None:
        """The pointer's tip, and the poses of a pivot under way."""
        if self._row is not None and self._pointer is not None:
            matrix = self._tracking.live(self._pointer, now_ns)
            if matrix is None:
                self._recent.clear()
            else:
                tip = self._tracking.tools[self._row.pointer].tip_mm
                self._recent.append(apply(matrix, np.array([tip], np.float64))[0])
            error = self._scene.registration_tre_mm.get(_title(self._row))
            fact = Fact(error or 0.0, now_ns, error is not None, self._row.tre_mm)
            self._scene.facts.set("registration_tre_mm", _title(self._row), fact)
        if self._pivot is not None:
            _, way, kept = self._pivot
            matrix = self._tracking.live(way, now_ns)
            if matrix is not None and len(kept) < PIVOT_POSES:
                kept.append(matrix)

        if self._lag:
            self._watch_motion()

    def _watch_motion(self) -> None:
        track = self._tracking.tracks[self._tracking.tools[self._lag].stream]
        matrix = self._tracking.graph.matrices.get(track.edge)
        newest_s = track.ring.newest_ns / 1e9
        if matrix is not None and track.quality.usable and newest_s > (self._places[-1][0] if self._places else 0.0):
            self._places.append((newest_s, matrix[:3, 3].copy()))

    def _register_start(self, act: Act) -> Answer:
        if self._row is None or self._scene.plan is None or not self._scene.plan.landmarks:
            return ("this room registers nothing: no [navigation.registration], or no landmarks in the plan",), []
        self.collected.clear()
        return (), []

    def _collect(self, act: Act) -> Answer:
        """The pointer is held on a landmark: `name`, else the next one of the plan."""
        plan = self._scene.plan
        if self._row is None or plan is None:
            return ("this room registers nothing",), []
        names = [mark.name for mark in plan.landmarks if mark.inside is None]
        wanted = str(act.values.get("name", "")) or next((n for n in names if n not in self.collected), "")
        if wanted not in names:
            return (f"there is no landmark {wanted!r} left to collect (have {names})",), []
        if len(self._recent) < DWELL_TICKS:
            return (f"{self._row.pointer} is not live for long enough: hold it on {wanted}",), []
        points = np.array(self._recent)
        mean = points.mean(axis=0)
        spread = float(np.sqrt(((points - mean) ** 2).sum(axis=1).mean()))
        if spread > STILL_MM:
            return (f"{self._row.pointer} moves by {spread:.1f} mm: hold it still on {wanted}",), []
        self.collected[wanted] = mean
        values = {"collected": float(len(self.collected)), "spread_mm": spread}
        return (), self._tell.numbers(f"collected-{wanted}", values, act.now_ns)

    def _register(self, act: Act) -> Answer:
        """Fit what was collected; the answer comes as Metrics and as a result file."""
        row, plan = self._row, self._scene.plan
        if row is None or plan is None:
            return ("this room registers nothing",), []
        if len(self.collected) < row.least_points:
            return (f"{len(self.collected)} landmarks were collected, {row.least_points} are needed",), []
        places = {mark.name: mark.position_mm for mark in plan.landmarks}
        inputs: dict[str, Any] = {
            "moving_mm": np.array(list(self.collected.values())),
            "fixed_mm": np.array([places[name] for name in self.collected]),
            "goal_fixed_mm": np.array(plan.targets[0].center_mm, np.float64),
            "fle_mm": row.fle_mm,
        }
        return (), [self._scene.job("study", "", "register", inputs, {})]

    def _pivot_start(self, act: Act) -> Answer:
        """`name`: the tool whose tip stands still while it is tilted."""
        name = str(act.values.get("name", ""))
        tool = self._tracking.tools.get(name)
        if tool is None:
            return (f"there is no tool {name!r} (have {sorted(self._tracking.tools)})",), []
        frame = self._row.moving if self._row else self._tracking.tracks[tool.stream].edge[1]
        self._pivot = (name, self._tracking.way_from(name, frame), [])
        return (), []

    def _pivot_end(self, act: Act) -> Answer:
        if self._pivot is None:
            return ("no pivot calibration was started",), []
        name, _, kept = self._pivot
        if len(kept) < LEAST_PIVOT:
            return (f"{len(kept)} poses of {name} were seen, {LEAST_PIVOT} are needed",), []
        self._pivot, self._pivoting = None, name
        return (), [self._scene.job("study", "", "pivot", {"poses": np.array(kept)}, {})]

    def _lag_start(self, act: Act) -> Answer:
        """`name`: the probe, moved up and down over the bottom of a water tank."""
        name = str(act.values.get("name", ""))
        pictures = [row.name for row in self._scene.settings.streams if row.kind == "ultrasound"]
        if name not in self._tracking.tools or not pictures:
            return (f"there is no tool {name!r} (have {sorted(self._tracking.tools)}), or no ultrasound",), []
        self._lag, self._scene.searched[pictures[0]] = name, "line"
        self._lines.clear()
        self._places.clear()
        return (), []

    def _lag_end(self, act: Act) -> Answer:
        if not self._lag or len(self._lines) < 8 or len(self._places) < 8:
            return (f"{len(self._lines)} frames with a line and {len(self._places)} poses were seen, 8 are needed",), []
        lines = sorted(self._lines)
        inputs = {
            "signal": np.array([row for _, row in lines]), "signal_s": np.array([s for s, _ in lines]),
            "reference": np.array([p for _, p in self._places]), "reference_s": np.array([s for s, _ in self._places]),
        }  # fmt: skip
        self._scene.searched.clear()
        return (), [self._scene.job("study", "", "lag", inputs, {})]

    def _lined(self, values: dict[str, float], refused: str, now_ns: int) -> Iterable[Effect]:
        self._lines.append((values["time_s"], values["row"]))
        return ()

    def _lagged(self, values: dict[str, float], refused: str, now_ns: int) -> Iterable[Effect]:
        """Pictures still run later than poses by this: their stamps are taken back by it from now on.

        The file holds the whole lag, with what the room took back already.
        """
        picture = next(row for row in self._scene.settings.streams if row.kind == "ultrasound")
        before_ns = self._tracking.lags_ns.get(picture.name, 0)
        values["lag_s"] += picture.lag_ms / 1e3 + before_ns / 1e9
        found = CalibrationResult(
            kind="temporal", moving=picture.name, fixed=self._lag, fixed_from_moving=rows_of(np.eye(4)),
            made_ns=self._scene.wall_ns, errors={"lag_s": values["lag_s"]},
            limits={"lag_s": LAG_S, "lag_s_least": -LAG_S},
        )  # fmt: skip
        faults = found.faults(self._scene.wall_ns)
        self._lag = ""
        if not faults:
            self._tracking.lags_ns[picture.name] = round(values["lag_s"] * 1e9 - picture.lag_ms * 1e6)
        return self._tell.result(found, values, faults, now_ns)

    def done(self, result: JobDone, told: dict[str, int]) -> Iterable[Effect]:
        """A fit: used or refused, and told either way."""
        if result.failed:
            return () if result.kind == "line" else self._tell.words(f"{result.kind}: {result.failed}", result.now_ns)
        facts = result.facts
        values = {key: float(value) for key, value in facts.items() if isinstance(value, (int, float))}
        uses = {"register": self._registered, "pivot": self._pivoted, "line": self._lined, "lag": self._lagged}
        return uses[result.kind](values, str(facts.get("refused", "")), result.now_ns)

    def _registered(self, values: dict[str, float], refused: str, now_ns: int) -> Iterable[Effect]:
        row = self._row
        assert row is not None, "a room that registers nothing asks for no such job"
        matrix = matrix_of(values)
        found = CalibrationResult(
            kind="points", moving=row.moving, fixed=row.fixed, fixed_from_moving=rows_of(matrix),
            made_ns=self._scene.wall_ns, valid_s=row.valid_s,
            errors={key: values[key] for key in ("fre_mm", "tre_mm", "sigma_mm", "bound_mm")},
            limits={"fre_mm": row.fre_mm, "tre_mm": row.tre_mm},
            made_from=", ".join(self.collected),
        )  # fmt: skip
        faults = found.faults(self._scene.wall_ns)
        self._scene.registration_tre_mm[_title(row)] = values["tre_mm"]
        if not faults:
            self._tracking.join(row.moving, row.fixed, matrix, values["sigma_mm"], values["bound_mm"])
            self._poses.trust()
        return self._tell.result(found, values, faults, now_ns)

    def _pivoted(self, values: dict[str, float], refused: str, now_ns: int) -> Iterable[Effect]:
        tool = self._tracking.tools[self._pivoting]
        tip = (values["tip_x_mm"], values["tip_y_mm"], values["tip_z_mm"])
        matrix = np.eye(4)
        matrix[:3, 3] = tip
        found = CalibrationResult(
            kind="pivot", moving=f"{tool.name}Tip", fixed=tool.name, fixed_from_moving=rows_of(matrix),
            made_ns=self._scene.wall_ns,
            errors={key: values[key] for key in ("rms_mm", "span_deg", "sigma_mm")},
            limits={"rms_mm": RMS_MM, "span_deg_least": SPAN_DEG},
        )  # fmt: skip
        faults = [refused] if refused else found.faults(self._scene.wall_ns)
        if not faults:
            changed = {"tip_mm": tip, "tip_sigma_mm": values["sigma_mm"]}
            self._tracking.tools[tool.name] = tool.model_copy(update=changed)
            self._poses.targeting.move_tip(tool.name, np.array(tip), values["sigma_mm"])
            self._poses.trust()
        return self._tell.result(found, values, faults, now_ns)


def _title(row: Registration) -> str:
    return f"{row.moving}-{row.fixed}"
