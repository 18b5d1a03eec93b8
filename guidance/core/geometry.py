"""Geometry desk: the plan and what was done as points, paths, outlines and a label map, for consoles that draw."""

from collections.abc import Iterable
from typing import Any

import numpy as np

from devices.messages import AnyMessage, Image, Outlines, Paths, Points
from guidance.core.navigation import NavigationDesk
from guidance.core.scene import Desk, Scene
from guidance.events import Effect, JobDone
from guidance.units import ms

QUICK_NS = ms(1000)  # points and paths are told this often, so that a console that joins has them
SLOW_NS = ms(10_000)  # outlines and the label map
SHAFT_MM = 100.0  # drawn of an applicator that was left


class GeometryDesk(Desk):
    """Says nothing in a room that routes no geometry."""

    jobs = frozenset({"geometry"})

    def __init__(self, scene: Scene, navigation: NavigationDesk) -> None:
        self._scene, self._navigation = scene, navigation
        self._wanted = scene.routes.carries("geometry") and scene.plan is not None
        self._asked = False
        self._made: dict[str, Any] = {}
        self._quick_ns = self._slow_ns = 0

    def done(self, result: JobDone, told: dict[str, int]) -> Iterable[Effect]:
        """The plan's outlines are ready."""
        if not result.failed:
            self._made = dict(result.arrays)
        return ()

    def tick(self, now_ns: int) -> Iterable[Effect]:
        """What is due."""
        if not self._wanted:
            return
        if not self._asked:
            self._asked = True
            yield self._scene.job("show", "", "geometry", {}, {})
        if now_ns - self._quick_ns >= QUICK_NS:
            self._quick_ns = now_ns
            quick = (self._targets(now_ns), self._ways(now_ns), self._cores(now_ns), self._placed(now_ns))
            for row in quick:
                if row is not None:
                    yield from self._scene.routes.to("geometry", row)
        if self._made and now_ns - self._slow_ns >= SLOW_NS:
            self._slow_ns = now_ns
            for message in self._outlines(now_ns):
                yield from self._scene.routes.to("geometry", message)

    def _targets(self, now_ns: int) -> Points | None:
        plan = self._scene.plan
        rows = (
            [*((t.name, t.center_mm) for t in plan.targets), *((m.name, m.position_mm) for m in plan.landmarks)]
            if plan
            else []
        )
        return _points("Plan", rows, now_ns)

    def _cores(self, now_ns: int) -> Paths | None:
        cores = self._navigation.cores.cores if self._navigation.cores else []
        return _paths("Cores", [(f"core-{c.number}", c.start_mm, c.end_mm, 0.6) for c in cores], now_ns)

    def _ways(self, now_ns: int) -> Paths | None:
        ways = self._scene.plan.trajectories if self._scene.plan else ()
        return _paths("Trajectories", [(w.name, w.entry_mm, w.target_mm, w.corridor_mm) for w in ways], now_ns)

    def _placed(self, now_ns: int) -> Paths | None:
        rows = [(n, tip + SHAFT_MM * axis, tip, 1.0) for n, (tip, axis, _) in self._navigation.placed.items()]
        return _paths("Placed", rows, now_ns)

    def _outlines(self, now_ns: int) -> Iterable[AnyMessage]:
        for structure in self._scene.plan.structures if self._scene.plan else ():
            counts = self._made[f"{structure.name}.counts"]
            if len(counts):
                yield Outlines(
                    name=structure.name, device_time_ns=now_ns, frame="RAS",
                    points_mm=self._made[f"{structure.name}.points"], counts=counts,
                )  # fmt: skip
        yield Image(
            name="Labels", device_time_ns=now_ns, frame="RAS", pixels=self._made["labels"],
            frame_from_image_mm=self._made["labels.ras"],
        )  # fmt: skip


def _points(name: str, rows: list[tuple[str, Any]], now_ns: int) -> Points | None:
    if not rows:
        return None
    labels, places = zip(*rows, strict=True)
    return Points(name=name, device_time_ns=now_ns, frame="RAS", labels=labels, positions_mm=np.array(places))


def _paths(name: str, rows: list[tuple[str, Any, Any, float]], now_ns: int) -> Paths | None:
    if not rows:
        return None
    return Paths(
        name=name, device_time_ns=now_ns, frame="RAS", labels=tuple(row[0] for row in rows),
        ends_mm=np.array([[row[1], row[2]] for row in rows]), radii_mm=np.array([float(row[3]) for row in rows]),
    )  # fmt: skip
