"""How tools move: hands as programmed trajectories with tremor, as pure functions of time.

A tool's frame has its origin at the tracked marker; z points along the shaft to the tip. Kinds of
motion are rows of `MOTIONS`: approach a target, sweep a probe, visit places, pivot, stay.
"""

import math
from collections.abc import Callable

import msgspec
import numpy as np
from numpy.typing import NDArray

from sim.phantom.world import World
from sim.space import Matrix, Vector, looking_along, pose, rotation_vector, unit, vector

Triple = tuple[float, float, float]


class ToolSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One tracked tool. Times are seconds from the start of the scenario, positions RAS mm."""

    name: str
    motion: str = "still"
    tip_mm: Triple = (0.0, 0.0, 0.0)  # of the tip in the tool's frame
    at_mm: Triple = (0.0, 0.0, 0.0)  # where the tip rests, or the target of an approach
    towards: Triple = (-1.0, 0.0, 0.0)  # the shaft's direction, hand to tip
    up: Triple = (0.0, 0.0, 1.0)
    start_s: float = 3.0
    reach_s: float = 12.0  # how long the approach lasts
    standoff_mm: float = 60.0  # where it starts, before the target
    lateral_mm: float = 4.0  # how far beside the line it starts
    miss_mm: Triple = (0.0, 0.0, 0.0)  # where it ends, relative to the target
    repeat_s: float = 0.0  # start again after so long; 0 = once
    sweep_mm: float = 20.0
    sweep_deg: float = 12.0
    sweep_period_s: float = 9.0
    visits_mm: tuple[Triple, ...] = ()  # of `visit`, `stations` and `trace`: where the tip goes, one after the other
    leans: tuple[Triple, ...] = ()  # of `stations`: what is added to the shaft's direction at each
    dwell_s: float = 2.0  # how long it stays at each
    returns: bool = True  # draw back after each visit; False: it stays at the last
    error_mm: float = 0.0  # sigma per axis of where a visit really ends: hand, landmark
    tilt_deg: float = 40.0  # of `pivot`: how far from the rest direction
    bend_mm: float = 0.0  # how far the tip has bent aside at the end of an approach or visit
    tremor_mm: float = 0.15
    tremor_hz: float = 8.0
    follows: float = 0.0  # share of the organ's motion that it takes part in
    jitter_mm: float = 0.05
    jitter_deg: float = 0.02
    hidden_s: tuple[tuple[float, float], ...] = ()
    dropout: float = 0.0  # share of samples in which it is not seen


def _approach(tool: ToolSettings, rest: NDArray[np.float64], t_s: float) -> tuple[Vector, Vector]:
    if tool.repeat_s > 0:
        t_s = t_s % tool.repeat_s
    done = min(max((t_s - tool.start_s) / tool.reach_s, 0.0), 1.0)
    left = 1 - done**3 * (10 - 15 * done + 6 * done**2)  # minimum jerk
    side, axis = rest[:, 0], rest[:, 2]
    offset = left * (side * tool.lateral_mm - axis * tool.standoff_mm) + (1 - left) * vector(tool.miss_mm)
    lean = left * tool.lateral_mm / max(tool.standoff_mm, 1.0)
    return offset + side * ((1 - left) * tool.bend_mm), -lean * side


def _sweep(tool: ToolSettings, rest: NDArray[np.float64], t_s: float) -> tuple[Vector, Vector]:
    swing = math.sin(2 * math.pi * t_s / tool.sweep_period_s)
    lean = math.tan(math.radians(tool.sweep_deg)) * swing
    return tool.sweep_mm / 2 * swing * rest[:, 1], lean * rest[:, 1]


def _visit(tool: ToolSettings, rest: NDArray[np.float64], t_s: float) -> tuple[Vector, Vector]:
    """To each place along the shaft from `standoff_mm` before it, there for `dwell_s`, and back."""
    each_s = 2 * tool.reach_s + tool.dwell_s
    last = len(tool.visits_mm) - 1
    index = min(max(int((t_s - tool.start_s) // each_s), 0), last)
    since_s = t_s - tool.start_s - index * each_s
    leaves = tool.returns or index < last
    in_s = min(since_s, each_s - since_s) if leaves else since_s
    done = min(max(in_s / tool.reach_s, 0.0), 1.0)
    left = 1 - done**3 * (10 - 15 * done + 6 * done**2)
    place = vector(tool.visits_mm[index]) - vector(tool.at_mm)
    return place - rest[:, 2] * (left * tool.standoff_mm) + rest[:, 0] * ((1 - left) * tool.bend_mm), np.zeros(3)


def _pivot(tool: ToolSettings, rest: NDArray[np.float64], t_s: float) -> tuple[Vector, Vector]:
    """The tip stands; the shaft goes round it on a cone that opens and closes."""
    angle = math.tan(math.radians(tool.tilt_deg)) * math.sin(2 * math.pi * t_s / (3.1 * tool.sweep_period_s))
    turn = 2 * math.pi * t_s / tool.sweep_period_s
    return np.zeros(3), angle * (math.cos(turn) * rest[:, 0] + math.sin(turn) * rest[:, 1])


def _stations(tool: ToolSettings, rest: NDArray[np.float64], t_s: float) -> tuple[Vector, Vector]:
    """From place to place, differently tilted at each, `dwell_s` there and `reach_s` in between."""
    each_s = tool.reach_s + tool.dwell_s
    last = len(tool.visits_mm) - 1
    index = min(max(int((t_s - tool.start_s) // each_s), 0), last)
    since_s = t_s - tool.start_s - index * each_s - tool.dwell_s
    done = min(max(since_s / tool.reach_s, 0.0), 1.0)
    share = done**3 * (10 - 15 * done + 6 * done**2)
    here, there = index, min(index + 1, last)
    place = (1 - share) * vector(tool.visits_mm[here]) + share * vector(tool.visits_mm[there])
    leans = tool.leans or ((0.0, 0.0, 0.0),) * (last + 1)
    lean: Vector = (1 - share) * vector(leans[here]) + share * vector(leans[there])
    return place - vector(tool.at_mm), lean


def _trace(tool: ToolSettings, rest: NDArray[np.float64], t_s: float) -> tuple[Vector, Vector]:
    """The tip slides along straight pieces from place to place, each in `reach_s`."""
    last = len(tool.visits_mm) - 1
    at = min(max((t_s - tool.start_s) / tool.reach_s, 0.0), float(last))
    here = min(int(at), last - 1)
    share = at - here
    place: Vector = (1 - share) * vector(tool.visits_mm[here]) + share * vector(tool.visits_mm[here + 1])
    return place - vector(tool.at_mm), np.zeros(3)


def _still(tool: ToolSettings, rest: NDArray[np.float64], t_s: float) -> tuple[Vector, Vector]:
    return np.zeros(3), np.zeros(3)


# motion -> (offset of the tip in mm, change of the unit direction) at a time; `rest` = axes of the tool at rest
Motion = Callable[[ToolSettings, NDArray[np.float64], float], tuple[Vector, Vector]]
MOTIONS: dict[str, Motion] = {
    "approach": _approach,
    "sweep": _sweep,
    "visit": _visit,
    "stations": _stations,
    "trace": _trace,
    "pivot": _pivot,
    "still": _still,
}


LEAST_VISITS = {"visit": 1, "stations": 1, "trace": 2}


class ToolMotion:
    """The true pose of one tool at any time."""

    def __init__(self, settings: ToolSettings, world: World, seed: int) -> None:
        if settings.motion not in MOTIONS:
            raise ValueError(f"tool {settings.name}: motion {settings.motion!r} is not one of {sorted(MOTIONS)}")
        self.settings = settings
        self._world = world
        self._tip, self._at = vector(settings.tip_mm), vector(settings.at_mm)
        self._towards, self._up = unit(vector(settings.towards)), vector(settings.up)
        self._rest = looking_along(self._towards, self._up)
        rng = np.random.default_rng([seed, 3])
        if len(settings.visits_mm) < LEAST_VISITS.get(settings.motion, 0):
            raise ValueError(f"tool {settings.name}: motion {settings.motion} needs visits_mm")
        missed = np.random.default_rng([seed, 4]).normal(0.0, 1.0, (len(settings.visits_mm), 3)) * settings.error_mm
        self.visits_mm = [vector(place) + miss for place, miss in zip(settings.visits_mm, missed, strict=True)]
        really = tuple((float(r), float(a), float(s)) for r, a, s in self.visits_mm)
        self._moves = msgspec.structs.replace(settings, visits_mm=really)
        self._tremor_phase = rng.uniform(0, 2 * np.pi, (3, 3))
        self._tremor_rate = settings.tremor_hz * rng.uniform(0.7, 1.3, (3, 3))

    def _tremor_mm(self, t_s: float) -> Vector:
        waves = np.sin(2 * np.pi * self._tremor_rate * t_s + self._tremor_phase).mean(axis=0)
        shaken: Vector = self.settings.tremor_mm * np.sqrt(6.0) * waves
        return shaken

    def tip_mm(self, now_ns: int) -> Vector:
        """True position of the tip, RAS mm."""
        ras_from_tool = self.ras_from_tool(now_ns)
        tip: Vector = ras_from_tool[:3, :3] @ self._tip + ras_from_tool[:3, 3]
        return tip

    def ras_from_tool(self, now_ns: int) -> Matrix:
        """True pose (4, 4), RAS mm."""
        tool, t_s = self.settings, self._world.hand_seconds(now_ns)
        offset, lean = MOTIONS[tool.motion](self._moves, self._rest, t_s)
        rotation = looking_along(self._towards + lean, self._up)
        tip = self._at + offset
        if tool.tremor_mm:
            tip = tip + self._tremor_mm(t_s)
        if tool.follows:
            tip = tip + tool.follows * self._world.displacement_mm(now_ns)
        return pose(rotation, tip - rotation @ self._tip)


def jittered(exact: Matrix, tool: ToolSettings, rng: np.random.Generator) -> Matrix:
    """The pose as a tracker measures it: independent noise per axis."""
    noise = rng.standard_normal(6)
    measured = exact.copy()
    measured[:3, :3] = rotation_vector(np.radians(tool.jitter_deg) * noise[:3]) @ exact[:3, :3]
    measured[:3, 3] += tool.jitter_mm * noise[3:]
    return measured
