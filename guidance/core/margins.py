"""Margin desk: what quietly spoils guidance, and how near the tools are to what must be spared; facts only."""

import numpy as np

from devices.quality import Quality
from guidance.core.poses import PoseDesk
from guidance.core.scene import Desk, Scene
from guidance.exact import apply
from guidance.navigation.targeting import AT_RISK, SIGMAS
from guidance.navigation.watches import needle_bend_mm
from guidance.safety.facts import Fact
from guidance.space.frames import Edge

SHIFT_MM = 1.0  # a reference that moved by more places nothing any more (also the limit of rule K4)
CHANGE = 0.03  # share by which a picture's scale may differ from its calibration


class MarginDesk(Desk):
    """Margins and corridors of aimed tools, needles that bend, registrations and calibrations that are void."""

    def __init__(self, scene: Scene, poses: PoseDesk) -> None:
        self._scene, self._poses = scene, poses
        self._plan, self._facts, self._tracking = scene.plan, scene.facts, scene.tracking
        navigation = scene.settings.navigation
        structures = scene.plan.structures if scene.plan else ()
        self._at_risk = [s for s in structures if s.role in AT_RISK and not s.planned_contact]
        self._aimed = [t.name for t in scene.settings.tools if t.role == "tool" and poses.targeting.trajectory(t.name)]
        self._bends = navigation.bends
        self._owners: dict[Edge, str] = {}
        statics = scene.settings.space.static
        self._pictures = [(row.moving, row.fixed) for row in statics if "pixel_mm" in row.conditions]
        if navigation.probe:
            self._pictures.append(self._tracking.probe_edge(navigation.probe))
        self._dated = [row for row in statics if row.made_ns]
        self._into_ras = [(row.moving, row.fixed) for row in statics if row.fixed == "RAS"]
        for edge in self._pictures:
            self._facts.declare("calibration_change", _title(edge))
        for row in self._dated:
            self._facts.declare("calibration_age_s", f"{row.moving}-{row.fixed}")

    def measure(self, now_ns: int) -> None:
        """All of it, once a tick."""
        for tool in self._aimed:
            self._margins(tool, now_ns)
        self._references()
        for bend in self._bends:
            self._bend(bend.hub, bend.tip, now_ns)
        for picture in self._pictures:
            self._picture(picture, now_ns)
        for dated in self._dated:
            age_s = (self._scene.wall_ns - dated.made_ns) / 1e9
            known = self._scene.wall_ns > 0 and age_s >= 0
            title = f"{dated.moving}-{dated.fixed}"
            self._facts.set("calibration_age_s", title, Fact(age_s, now_ns, known, dated.valid_s))

    def _margins(self, tool: str, now_ns: int) -> None:
        placed = self._tracking.place(tool, now_ns)
        values = self._poses.latest[tool][1] if tool in self._poses.latest else {}
        live = placed is not None and placed.quality is Quality.OK and bool(values)
        for structure in self._at_risk:
            margin = values.get(f"{structure.name}.margin_mm", 0.0)
            limits, subject = structure.limits, f"{tool}-{structure.name}"
            self._facts.set("structure_warn_margin_mm", subject, Fact(margin, now_ns, live, limits.warn_mm))
            self._facts.set("structure_stop_margin_mm", subject, Fact(margin, now_ns, live, limits.stop_mm))
        way = self._poses.targeting.trajectory(tool)
        if way is not None and self._plan is not None:
            trajectory = self._plan.trajectory(way)
            inside = live and values["depth_to_go_mm"] < trajectory.length_mm
            error = values["lateral_mm"] + SIGMAS * values["sigma_mm"] if inside else 0.0
            self._facts.set("corridor_error_mm", tool, Fact(error, now_ns, live, trajectory.corridor_mm))

    def _references(self) -> None:
        """While a reference is away from where it was registered, nothing that is placed by it counts as live."""
        moved = [
            f"{name} moved by {fact.value:.1f} mm"
            for name, fact in self._facts.subjects("reference_shift_mm").items()
            if fact is not None and fact.proven and fact.value > SHIFT_MM
        ]
        for edge in self._into_ras:
            self._void(edge, "references", "; ".join(moved))

    def _bend(self, hub: str, tip: str, now_ns: int) -> None:
        rows = [self._tracking.place(name, now_ns) for name in (hub, tip)]
        if any(row is None or row.quality is not Quality.OK for row in rows):
            self._facts.set("needle_bend_mm", hub, Fact(0.0, now_ns, False))
            return
        straight, sensor = (row for row in rows if row is not None)
        seen = apply(sensor.ras_from_tool, np.array([sensor.tool.tip_mm], np.float64))[0]
        bent = needle_bend_mm(straight.ras_from_tool, np.array(straight.tool.tip_mm, np.float64), seen)
        self._facts.set("needle_bend_mm", hub, Fact(bent, now_ns))

    def _picture(self, edge: Edge, now_ns: int) -> None:
        """A probe calibration holds for the pixel size it was made with; with another nothing is drawn over it."""
        matrix = self._scene.pictures.get(edge[0])
        then = self._tracking.conditions.get(edge, {}).get("pixel_mm")
        if matrix is None or then is None:
            return
        x, y, z = matrix[:3, 0].tolist()
        change = abs((x * x + y * y + z * z) ** 0.5 - then) / then
        self._facts.set("calibration_change", _title(edge), Fact(change, now_ns))
        over = change > CHANGE
        self._void(edge, "picture", f"picture scale differs by {change:.0%}" if over else "")

    def _void(self, edge: Edge, owner: str, reason: str) -> None:
        """Take an edge out of use, or give back what the same owner had taken."""
        if reason:
            self._tracking.void[edge] = reason
            self._owners[edge] = owner
        elif self._owners.get(edge) == owner:
            del self._owners[edge], self._tracking.void[edge]


def _title(edge: Edge) -> str:
    return f"{edge[0]}-{edge[1]}"
