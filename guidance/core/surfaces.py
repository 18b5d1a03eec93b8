"""Surface desk: a registration refined by points that a pointer takes as it slides over a surface of the plan."""

from collections.abc import Iterable

import numpy as np

from guidance.core.poses import PoseDesk
from guidance.core.results import ResultTeller, matrix_of, rows_of
from guidance.core.scene import ActHandler, Answer, Desk, Scene
from guidance.events import Act, Effect, JobDone
from guidance.exact import Vector, apply
from guidance.space.frames import FramePath
from guidance.space.results import CalibrationResult

MOST_POINTS = 2000


class SurfaceDesk(Desk):
    """Acts SURFACE_START and SURFACE; it starts from the registration that there is."""

    jobs = frozenset({"surface"})

    def __init__(self, scene: Scene, poses: PoseDesk) -> None:
        self._scene, self._poses, self._tracking = scene, poses, scene.tracking
        self._row = scene.settings.navigation.surface
        self._tell = ResultTeller(scene)
        self._way: FramePath | None = None
        self._sliding = False
        self.touched: list[Vector] = []  # pointer's tip in the moving frame, mm
        if self._row is not None:
            self._way = self._tracking.way_from(self._row.pointer, self._row.moving)

    @property
    def verbs(self) -> dict[str, ActHandler]:
        """What an operator does, in this order."""
        return {"SURFACE_START": self._start, "SURFACE": self._end}

    def _start(self, act: Act) -> Answer:
        """The pointer lies on the surface and begins to slide."""
        row = self._row
        if row is None or self._scene.plan is None:
            return ("this room registers no surface: no [navigation.surface], or no plan",), []
        if (row.moving, row.fixed) not in self._tracking.graph.matrices:
            return (f"{row.moving} is not registered to {row.fixed} yet: a surface only refines it",), []
        self.touched.clear()
        self._sliding = True
        return (), []

    def measure(self, now_ns: int) -> None:
        """A point wherever the tip has moved on."""
        if not self._sliding or self._row is None or self._way is None or len(self.touched) >= MOST_POINTS:
            return
        matrix = self._tracking.live(self._way, now_ns)
        if matrix is None:
            return
        tip = apply(matrix, np.array([self._tracking.tools[self._row.pointer].tip_mm], np.float64))[0]
        last = self.touched[-1] if self.touched else None
        if last is None or float(((tip - last) ** 2).sum()) >= self._row.apart_mm**2:
            self.touched.append(tip)

    def _end(self, act: Act) -> Answer:
        """Fit; the answer comes as Metrics and as a result file."""
        row, plan = self._row, self._scene.plan
        if row is None or plan is None or not self._sliding:
            return ("no surface registration was started",), []
        if len(self.touched) < row.least_points:
            return (f"{len(self.touched)} points were taken, {row.least_points} are needed",), []
        self._sliding = False
        inputs = {
            "touched_mm": np.array(self.touched),
            "start": self._tracking.graph.matrices[row.moving, row.fixed],
            "structure": row.structure,
            "goal_fixed_mm": np.array(plan.targets[0].center_mm, np.float64),
            "tip_sigma_mm": self._tracking.tools[row.pointer].tip_sigma_mm,
        }
        return (), [self._scene.job("study", "", "surface", inputs, {})]

    def done(self, result: JobDone, told: dict[str, int]) -> Iterable[Effect]:
        """The fit: used or refused, and told either way."""
        if result.failed or self._row is None:
            return self._tell.words(f"surface: {result.failed}", result.now_ns)
        row = self._row
        values = {key: float(value) for key, value in result.facts.items() if isinstance(value, (int, float))}
        found = CalibrationResult(
            kind="surface", moving=row.moving, fixed=row.fixed, fixed_from_moving=rows_of(matrix_of(values)),
            made_ns=self._scene.wall_ns, valid_s=row.valid_s,
            errors={key: values[key] for key in ("rms_mm", "tre_mm", "sigma_mm", "bound_mm", "converged")},
            limits={"rms_mm": row.rms_mm, "tre_mm": row.tre_mm, "converged_least": 1.0},
            made_from=f"{len(self.touched)} points on {row.structure}",
        )  # fmt: skip
        faults = found.faults(self._scene.wall_ns)
        if not faults:
            self._tracking.join(row.moving, row.fixed, matrix_of(values), values["sigma_mm"], values["bound_mm"])
            self._scene.registration_tre_mm[f"{row.moving}-{row.fixed}"] = values["tre_mm"]
            self._poses.trust()
        return self._tell.result(found, values, faults, result.now_ns)
