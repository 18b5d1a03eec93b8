"""Navigation desk: what was done where. Cores, placed applicators, groups of needles, and the verification of it."""

from collections.abc import Iterable
from typing import Any

import numpy as np

from devices.messages import Metrics
from devices.quality import Quality
from guidance.core.poses import PoseDesk
from guidance.core.scene import ActHandler, Answer, Desk, Scene
from guidance.errors import PlanError
from guidance.events import Act, Effect, JobDone
from guidance.exact import Matrix, Vector, apply
from guidance.navigation.applicators import SpacingLimits, compare_needles, group_faults
from guidance.navigation.cores import CERTAIN, MISSED, POSSIBLE, CoreLog
from guidance.navigation.implants import IsoDose, implant_of, planned_needles
from guidance.navigation.targeting import AT_RISK
from guidance.navigation.zones import carry
from guidance.navigation_settings import NeedleGroup
from guidance.safety.facts import Fact
from guidance.units import ms

NEEDLES_NS = ms(500)
LIVE_NS = ms(1000)  # what an application here and now would leave untreated
SAID = {CERTAIN: 2.0, POSSIBLE: 1.0, MISSED: 0.0}
Place = tuple[Vector, Vector, float]  # tip RAS mm, unit axis towards the hand, sigma mm


class NavigationDesk(Desk):
    """Acts CORE, PLACE, AIM and VERIFY; every record goes out as Metrics with the poses that it was made from."""

    jobs = frozenset({"verify", "dose"})

    def __init__(self, scene: Scene, poses: PoseDesk) -> None:
        self._scene, self._poses = scene, poses
        self._plan, self._navigation = scene.plan, scene.settings.navigation
        self._tools = [tool.name for tool in scene.settings.tools if tool.role == "tool"]
        self.cores = CoreLog(scene.plan) if scene.plan else None
        self.placed: dict[str, Place] = {}  # trajectory or tool -> where its applicator was left
        self.doses: dict[str, dict[str, float]] = {}  # target -> newest numbers of the implant
        self.coverage: dict[str, dict[str, float]] = {}  # target -> newest numbers, final ones last
        self._needles_ns = self._live_ns = 0
        for group in self._navigation.groups:
            scene.facts.declare("needle_faults", _title(group))

    @property
    def verbs(self) -> dict[str, ActHandler]:
        """CORE and PLACE record a tool where it is, AIM chooses its trajectory, VERIFY asks for the result."""
        return {"CORE": self._core, "PLACE": self._place, "AIM": self._aim, "VERIFY": self._verify}

    def _where(self, act: Act) -> tuple[str, Place, dict[str, int]] | str:
        """Tool, place and evidence of the tool that an act names (default: the first), or why not."""
        names = str(act.values.get("name", "")).split()
        tool = next((name for name in names if name in self._tools), next(iter(self._tools), ""))
        placed = self._scene.tracking.place(tool, act.now_ns) if tool else None
        if placed is None or placed.quality is not Quality.OK or tool not in self._poses.latest:
            return f"{tool or 'no tool'} is not live: {placed.quality if placed else 'never placed'}"
        values = self._poses.latest[tool][1]
        if "tip_r_mm" not in values:
            return f"{tool} has no tip in the plan's space"
        tip = np.array([values["tip_r_mm"], values["tip_a_mm"], values["tip_s_mm"]])
        axis = apply(placed.ras_from_tool, np.array([placed.tool.axis, (0.0, 0.0, 0.0)], np.float64))
        along = axis[0] - axis[1]
        return tool, (tip, along / np.sqrt((along * along).sum()), values["sigma_mm"]), placed.evidence

    def _core(self, act: Act) -> Answer:
        """A biopsy core is taken with the tool where it is."""
        where = self._where(act)
        if isinstance(where, str) or self.cores is None:
            return (where if isinstance(where, str) else "there is no plan to judge cores against",), []
        tool, (tip, axis, sigma), told = where
        core = self.cores.record(act.now_ns, tool, tip, axis, sigma, self._navigation.notch_mm)
        values = _point("start", core.start_mm) | _point("end", core.end_mm) | _point("tip", tip)
        values |= {"number": float(core.number), "sigma_mm": sigma, **self._bound(tool)}
        for name, hit in core.hits.items():
            values |= {f"{name}.hit": SAID[hit], f"{name}.depth_mm": core.depth_mm[name]}
        return (), self._tell(f"core-{core.number}", values, told, act.now_ns)

    def _place(self, act: Act) -> Answer:
        """An applicator stays where it is: for its trajectory if it follows one, else under its own name."""
        where = self._where(act)
        if isinstance(where, str):
            return (where,), []
        tool, place, told = where
        way = self._poses.targeting.trajectory(tool)
        name = way or tool
        try:
            carried = self._zones(name, place)
        except ValueError as fault:
            return (str(fault),), []
        self.placed[name] = place
        self._scene.zones += carried
        self._show_implant()
        tip, axis, sigma = place
        values = _point("tip", tip) | _point("axis", axis) | {"sigma_mm": sigma, **self._bound(tool)}
        measured = self._poses.latest[tool][1]
        kept = ("target_distance_mm", "lateral_mm", "depth_to_go_mm", "angle_deg")
        values |= {key: measured[key] for key in kept if key in measured}
        values |= {key: value for key, value in measured.items() if key.endswith(".margin_mm")}
        effects = self._tell(f"placed-{name}", values, told, act.now_ns)
        return (), [*effects, *self._jobs(final=True, told=told), *self._dose_jobs(sigma, False, told)]

    def _aim(self, act: Act) -> Answer:
        """`name`: trajectory, or tool and trajectory."""
        words = str(act.values.get("name", "")).split()
        tool = words[0] if len(words) > 1 else next(iter(self._tools), "")
        try:
            self._poses.targeting.select(tool, words[-1] if words else "")
        except PlanError as fault:
            return (str(fault),), []
        return (), []

    def _verify(self, act: Act) -> Answer:
        jobs = self._jobs(final=True, told={}) + self._dose_jobs(self._worst_sigma(), True, {})
        return (() if jobs else ("nothing was placed that the plan has a zone for",)), jobs

    def _zones(self, way: str, place: Place) -> list[tuple[Any, Matrix]]:
        """The plan's zones of a trajectory, carried to where the applicator is."""
        if self._plan is None:
            return []
        rows = [zone for zone in self._plan.zones if zone.trajectory == way]
        return [(zone.shape, carry(self._plan.trajectory(way), place[0], place[1])) for zone in rows]

    def _show_implant(self) -> None:
        """The prescribed dose of the seeds that lie now stands for what was treated."""
        plan = self._plan
        implant = implant_of(plan.seeds, self._lying()) if plan else None
        if plan is not None and implant is not None:
            dose_gy = max(target.prescription.get("dose_gy", 0.0) for target in plan.targets)
            kept = [row for row in self._scene.zones if not isinstance(row[0], IsoDose)]
            self._scene.zones = [*kept, (IsoDose(implant, dose_gy), np.eye(4))]

    def _lying(self) -> dict[str, tuple[Vector, Vector]]:
        return {name: place[:2] for name, place in self.placed.items()}

    def _dose_jobs(self, sigma: float, last: bool, told: dict[str, int]) -> list[Effect]:
        """One a target with a dose: of the seeds that lie, and of them with the rest as planned."""
        plan = self._plan
        implant = implant_of(plan.seeds, self._lying()) if plan else None
        if plan is None or implant is None:
            return []
        expected = implant_of(plan.seeds, planned_needles(plan) | self._lying())
        organs = [(s.name, s.shape) for s in plan.structures if s.role in AT_RISK]
        jobs: list[Effect] = []
        for target in plan.targets:
            if target.structure is None or "dose_gy" not in target.prescription:
                continue
            inputs = {
                "target": target.name, "shape": plan.structure(target.structure).shape, "organs": organs,
                "implant": implant, "expected": expected, "dose_gy": target.prescription["dose_gy"],
                "sigma_mm": sigma, "last": last,
            }  # fmt: skip
            jobs.append(self._scene.job("study", "", "dose", inputs, told))
        return jobs

    def _jobs(self, final: bool, told: dict[str, int], more: list[tuple[Any, Matrix]] | None = None) -> list[Effect]:
        """One verification a target outline, of what was placed and, live, of what would be."""
        zones = [*self._scene.zones, *(more or [])]
        if self._plan is None or not zones:
            return []
        sigma = self._worst_sigma()
        jobs: list[Effect] = []
        for target in self._plan.targets:
            if target.structure is None:
                continue
            inputs = {
                "target": target.name, "shape": self._plan.structure(target.structure).shape, "zones": zones,
                "sigma_mm": sigma, "margin_mm": target.margin_mm, "final": final,
            }  # fmt: skip
            slot = "" if final else f"verify:{target.name}"
            jobs.append(self._scene.job("study", slot, "verify", inputs, told))
        return jobs

    def _worst_sigma(self) -> float:
        live = max((values.get("sigma_mm", 0.0) for _, values in self._poses.latest.values()), default=0.0)
        return max((sigma for _, _, sigma in self.placed.values()), default=live)

    def done(self, result: JobDone, told: dict[str, int]) -> Iterable[Effect]:
        """A verification or the dose of an implant: told, and kept for the summary."""
        if result.failed:
            return ()
        name = str(result.facts["target"])
        values = {key: float(v) for key, v in result.facts.items() if isinstance(v, (int, float))}
        if result.kind == "dose":
            self.doses[name] = values
            return self._tell(f"dose-{name}", values, told, result.now_ns)
        if values["final"] or not self.coverage.get(name, {}).get("final"):
            self.coverage[name] = values
        return self._tell(f"coverage-{name}", values, told, result.now_ns)

    def measure(self, now_ns: int) -> None:
        """Groups of needles against their limits, once a tick."""
        for group in self._navigation.groups:
            needles, _ = self._needles(group, now_ns)
            known = len(needles) == len(group.tools)
            faults = group_faults(needles, _limits(group)) if known else []
            self._scene.facts.set("needle_faults", _title(group), Fact(float(len(faults)), now_ns, known))

    def tick(self, now_ns: int) -> Iterable[Effect]:
        """Spacing of needles twice a second, what an application here would treat once a second."""
        out: list[Effect] = []
        if self._navigation.groups and now_ns - self._needles_ns >= NEEDLES_NS:
            self._needles_ns = now_ns
            for group in self._navigation.groups:
                out += self._tell_needles(group, now_ns)
        if self._plan is not None and self._plan.zones and now_ns - self._live_ns >= LIVE_NS:
            self._live_ns = now_ns
            out += self._live(now_ns)
        return out

    def _live(self, now_ns: int) -> list[Effect]:
        for tool in self._tools:
            way = self._poses.targeting.trajectory(tool)
            where = self._where(Act(now_ns=now_ns, verb="", actor="", values={"name": tool}))
            if isinstance(where, str) or way is None or way in self.placed:
                continue
            values = self._poses.latest[tool][1]
            if values["depth_to_go_mm"] > 30.0 or values["angle_deg"] > 60.0:
                continue  # too far away to speak of what it would treat
            return self._jobs(final=False, told=where[2], more=self._zones(way, where[1]))
        return []

    def _needles(self, group: NeedleGroup, now_ns: int) -> tuple[dict[str, tuple[Vector, Vector]], dict[str, int]]:
        """Where the needles of a group are: placed, else live."""
        found: dict[str, tuple[Vector, Vector]] = {}
        told: dict[str, int] = {}
        for tool in group.tools:
            left = self.placed.get(self._poses.targeting.trajectory(tool) or tool)
            where = self._where(Act(now_ns=now_ns, verb="", actor="", values={"name": tool}))
            if left is not None:
                found[tool] = left[:2]
            elif not isinstance(where, str):
                found[tool] = where[1][:2]
            if not isinstance(where, str):
                told |= where[2]
        return found, told

    def _tell_needles(self, group: NeedleGroup, now_ns: int) -> list[Effect]:
        needles, told = self._needles(group, now_ns)
        values: dict[str, float] = {}
        for pair in compare_needles(needles):
            name = f"{pair.first}-{pair.second}"
            values |= {f"{name}.spacing_mm": pair.spacing_mm, f"{name}.angle_deg": pair.angle_deg}
            values |= {f"{name}.depth_mm": pair.depth_mm}
        values["faults"] = float(len(group_faults(needles, _limits(group)))) if needles else 0.0
        return self._tell(f"needles-{_title(group)}", values, told, now_ns) if told else []

    def _bound(self, tool: str) -> dict[str, float]:
        values = self._poses.latest[tool][1]
        return {"bound_mm": values["bound_mm"]} if "bound_mm" in values else {}

    def _tell(self, name: str, values: dict[str, float], told: dict[str, int], now_ns: int) -> list[Effect]:
        message = Metrics(name=name, device_time_ns=now_ns, values=values, evidence=told or {"plan": now_ns})
        return list(self._scene.routes.to("metrics", message))


def _limits(group: NeedleGroup) -> SpacingLimits:
    return SpacingLimits(group.least_mm, group.most_mm, group.angle_deg, group.depth_mm)


def _title(group: NeedleGroup) -> str:
    return "-".join(group.tools)


def _point(name: str, at: Vector) -> dict[str, float]:
    r, a, s = at.tolist()
    return {f"{name}_r_mm": r, f"{name}_a_mm": a, f"{name}_s_mm": s}
