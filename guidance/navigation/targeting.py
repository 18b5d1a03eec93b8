"""Where a tool is against the plan: tip, depth, lateral and angular error, distance to every structure.

With u the unit vector from entry to target g, p the tip and a the tool's axis: axial (p - g).u,
lateral |(p - g) - axial u|, angle acos |a.u|. Distances to structures are taken at 256 points of
the whole tool and at 64 points of its predicted path (straight on along its axis to the depth of
the target). All numbers are of the moment of the pose that is given.
"""

import math
from collections.abc import Iterable

import numba
import numpy as np

from guidance.errors import PlanError
from guidance.exact import F8, M_OUT, V_OUT, M, Matrix, V, Vector, arccos, kernel
from guidance.plan import Plan, Structure, Trajectory
from guidance.settings import Tool

TOOL_SAMPLES = 256
PATH_SAMPLES = 64
PATH_MAX_MM = 150.0  # no path is predicted further ahead
PATH_MIN_MM = 10.0  # and none shorter: past the target, or without one
AT_RISK = frozenset({"organ_at_risk", "vessel", "eloquent", "forbidden"})
ISOTROPIC_95 = 2.7954834829151074  # 95 % of a normal error with this sigma along all three axes is shorter
SIGMAS = 2.0  # margins are the distance minus this many standard deviations

_TIP, _AXIS = 0, 3  # where tip and axis stand in the kernel's answer


@kernel(numba.void(M, V, V, V_OUT))
def _place(ras_from_tool: Matrix, tip: Vector, axis: Vector, out: Vector) -> None:
    """out[0:3] = tip RAS mm, out[3:6] = unit axis towards the hand."""
    m = ras_from_tool
    norm = 0.0
    for i in range(3):
        out[_TIP + i] = m[i, 0] * tip[0] + m[i, 1] * tip[1] + m[i, 2] * tip[2] + m[i, 3]
        a = m[i, 0] * axis[0] + m[i, 1] * axis[1] + m[i, 2] * axis[2]
        out[_AXIS + i] = a
        norm += a * a
    norm = math.sqrt(norm)
    for i in range(3):
        out[_AXIS + i] /= norm


@kernel(numba.void(V, V, V, V_OUT))
def _errors(placed: Vector, target: Vector, way: Vector, out: Vector) -> None:
    """out = distance to target, axial, lateral, angle in degrees, lateral vector (3)."""
    axial, far, along = 0.0, 0.0, 0.0
    for i in range(3):
        d = placed[_TIP + i] - target[i]
        far += d * d
        axial += d * way[i]
        along += placed[_AXIS + i] * way[i]
    lateral = 0.0
    for i in range(3):
        d = placed[_TIP + i] - target[i] - axial * way[i]
        out[4 + i] = d
        lateral += d * d
    out[0], out[1], out[2] = math.sqrt(far), axial, math.sqrt(lateral)
    out[3] = arccos(abs(along)) * 57.29577951308232


@kernel(numba.void(V, F8, F8, M_OUT))
def _sample(placed: Vector, length: float, ahead: float, out: Matrix) -> None:
    """out (256 + 64, 3): the tool from tip to hand, then its predicted path from the tip onwards."""
    for n in range(TOOL_SAMPLES):
        s = length * n / (TOOL_SAMPLES - 1)
        for i in range(3):
            out[n, i] = placed[_TIP + i] + s * placed[_AXIS + i]
    for n in range(PATH_SAMPLES):
        s = ahead * (n + 1) / PATH_SAMPLES
        for i in range(3):
            out[TOOL_SAMPLES + n, i] = placed[_TIP + i] - s * placed[_AXIS + i]


@kernel(numba.void(V, V_OUT))
def _nearest(distances: Vector, out: Vector) -> None:
    """out = smallest along the tool, smallest along tool and path."""
    tool, path = math.inf, math.inf
    for n in range(TOOL_SAMPLES):
        tool = min(tool, distances[n])
    for n in range(TOOL_SAMPLES, distances.shape[0]):
        path = min(path, distances[n])
    out[0], out[1] = tool, min(tool, path)


class _ToolAim:
    """One tool's geometry and the trajectory that it is to follow."""

    def __init__(self, tool: Tool, trajectory: Trajectory | None) -> None:
        self.tip = np.array(tool.tip_mm, np.float64)
        self.axis = np.array(tool.axis, np.float64)
        self.length_mm = tool.length_mm
        self.tip_sigma_mm = tool.tip_sigma_mm
        self.place(0.0, 0.0)
        self.aim(trajectory)

    def place(self, sigma_mm: float, bound_mm: float) -> None:
        """Uncertainty of the way to RAS joins that of the tip."""
        self.sigma_mm = math.hypot(self.tip_sigma_mm, sigma_mm)
        way = bound_mm or ISOTROPIC_95 * sigma_mm
        self.bound_mm = math.hypot(ISOTROPIC_95 * self.tip_sigma_mm, way)

    def aim(self, trajectory: Trajectory | None) -> None:
        """Follow another trajectory."""
        self.trajectory = trajectory
        self.target = trajectory.target_mm if trajectory else np.zeros(3)
        self.way = trajectory.direction if trajectory else np.array([0.0, 0.0, 1.0])


class Targeting:
    """Numbers of guidance for every tool of a room, from its plan.

    `sigma_mm` is the standard deviation of everything but the tool itself: registration and motion
    (root of the sum of squares). A tool follows the trajectory that names it, else the plan's first.
    """

    def __init__(self, plan: Plan | None, tools: Iterable[Tool], sigma_mm: float = 0.0) -> None:
        self.plan = plan
        self.sigma_mm = sigma_mm
        self._aims = {tool.name: _ToolAim(tool, _trajectory_of(plan, tool.name)) for tool in tools}
        structures = plan.structures if plan else ()
        self._at_risk: tuple[Structure, ...] = tuple(s for s in structures if s.role in AT_RISK)
        self._targets: tuple[Structure, ...] = tuple(s for s in structures if s.role == "target")
        self._placed, self._errors, self._near = np.zeros(6), np.zeros(7), np.zeros(2)
        self._points = np.zeros((TOOL_SAMPLES + PATH_SAMPLES, 3))
        self._distances = np.zeros(len(self._points))

    def uncertain(self, tool: str, sigma_mm: float, bound_mm: float = 0.0) -> None:
        """Registration and calibration place `tool` with `sigma_mm` per axis.

        `bound_mm`: what 95 % of these errors stay below where few fiducials make the sigma itself
        uncertain; 0: 2.80 times the sigma, as for a known one.
        """
        self._aims[tool].place(sigma_mm, bound_mm)

    def move_tip(self, tool: str, tip_mm: Vector, sigma_mm: float) -> None:
        """From now on the tip of `tool` is at `tip_mm` (3,) in its own frame (a pivot calibration)."""
        aim = self._aims[tool]
        aim.tip, aim.tip_sigma_mm = np.array(tip_mm, np.float64), sigma_mm

    def select(self, tool: str, trajectory: str) -> None:
        """Let `tool` follow another trajectory of the plan; PlanError names what is not there."""
        if self.plan is None or tool not in self._aims:
            raise PlanError("targeting", [f"no plan, or no tool {tool!r} (have {sorted(self._aims)})"])
        self._aims[tool].aim(self.plan.trajectory(trajectory))

    def trajectory(self, tool: str) -> str | None:
        """Name of the trajectory that `tool` follows."""
        followed = self._aims[tool].trajectory
        return followed.name if followed else None

    def measure(self, tool: str, ras_from_tool: Matrix, motion_sigma_mm: float = 0.0) -> dict[str, float]:
        """Numbers of one pose (4, 4).

        Always `tip_r_mm`, `tip_a_mm`, `tip_s_mm`, `sigma_mm` (per axis), `bound_mm` (95 % of the tip's
        errors are shorter); with a trajectory `target_distance_mm`,
        `axial_mm` (negative before the target), `depth_to_go_mm`, `lateral_mm`, `lateral_r_mm` ..,
        `angle_deg`, `in_corridor` (1 where lateral plus two sigma lies inside and the angle is
        allowed); for every structure at risk `NAME.distance_mm` (whole tool) and `NAME.margin_mm`
        (tool and predicted path, less two sigma); for every target outline `NAME.tip_mm`.
        """
        aim = self._aims[tool]
        _place(np.ascontiguousarray(ras_from_tool, np.float64), aim.tip, aim.axis, self._placed)
        sigma = math.sqrt(aim.sigma_mm**2 + self.sigma_mm**2 + motion_sigma_mm**2)
        r, a, s = self._placed[:3].tolist()
        values = {"tip_r_mm": r, "tip_a_mm": a, "tip_s_mm": s, "sigma_mm": sigma, "bound_mm": aim.bound_mm}
        ahead = PATH_MIN_MM
        if aim.trajectory is not None:
            self._aimed(aim, aim.trajectory, sigma, values)
            ahead = min(PATH_MAX_MM, max(PATH_MIN_MM, values["depth_to_go_mm"]))
        if self._at_risk:
            _sample(self._placed, aim.length_mm, ahead, self._points)
        for structure in self._at_risk:
            structure.shape.distance_into(self._points, self._distances)
            _nearest(self._distances, self._near)
            now, path = self._near.tolist()
            values[f"{structure.name}.distance_mm"] = now
            values[f"{structure.name}.margin_mm"] = path - SIGMAS * sigma
        tip = self._placed[:3].reshape(1, 3)
        for structure in self._targets:
            structure.shape.distance_into(tip, self._near[:1])
            values[f"{structure.name}.tip_mm"] = float(self._near[0])
        return values

    def _aimed(self, aim: _ToolAim, trajectory: Trajectory, sigma: float, values: dict[str, float]) -> None:
        _errors(self._placed, aim.target, aim.way, self._errors)
        distance, axial, lateral, angle, r, a, s = self._errors.tolist()
        inside = lateral + SIGMAS * sigma <= trajectory.corridor_mm and angle <= trajectory.max_angle_deg
        values |= {
            "target_distance_mm": distance,
            "axial_mm": axial,
            "depth_to_go_mm": -axial,
            "lateral_mm": lateral,
            "lateral_r_mm": r,
            "lateral_a_mm": a,
            "lateral_s_mm": s,
            "angle_deg": angle,
            "in_corridor": 1.0 if inside else 0.0,
        }


def _trajectory_of(plan: Plan | None, tool: str) -> Trajectory | None:
    if plan is None or not plan.trajectories:
        return None
    own = [row for row in plan.trajectories if row.tool == tool]
    free = [row for row in plan.trajectories if row.tool is None]
    return next(iter(own or free), None)
