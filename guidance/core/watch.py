"""Watch desk: facts that nobody sends: the plan's identity, golden points, references, corridor, silence, leases."""

from devices.messages import AnyMessage
from devices.quality import Quality
from guidance.core.devices import MUST_BE_UP, DeviceDesk
from guidance.core.scene import Desk, Scene
from guidance.events import Health, Loss
from guidance.exact import Matrix
from guidance.navigation.fixtures import Fixture
from guidance.navigation.tracking import RAS
from guidance.safety import evidence
from guidance.safety.consoles import Consoles
from guidance.safety.facts import Fact
from guidance.safety.phases import ENERGY_PERMITTED
from guidance.safety.treatment import Treatment
from guidance.space.frames import FrameError, FramePath
from guidance.timing.streams import StreamState
from guidance.units import NS_PER_S

T0_VALID_S = 12 * 3600.0  # a body's temperature of another day says nothing
# What the rim may measure of itself
HEALTH_FACTS = frozenset(
    {
        "record_free_mb",
        "record_sync_ms",
        "record_lost",
        "supervisor_stops",
        "alert_age_ms",
        "plan_edited_files",
    }
)


class WatchDesk(Desk):
    """Takes no stream of its own; measures once a tick."""

    def __init__(self, scene: Scene, devices: DeviceDesk, treatment: Treatment, consoles: Consoles) -> None:
        self._scene, self._devices, self._treatment, self._consoles = scene, devices, treatment, consoles
        settings = scene.settings
        roles = {row.id: row.role for row in settings.links}
        by_kind: dict[str, list[StreamState]] = {}
        for state in scene.streams.values():
            key = f"{roles[state.settings.link]}.{state.settings.kind}"
            by_kind.setdefault(key, []).append(state)
        self._beating = [state for role in MUST_BE_UP for state in by_kind.get(f"{role}.reading", ())]
        self._robot_poses = by_kind.get("robot.pose", [])
        self._xray = by_kind.get("xray.reading", [])
        self._messages = evidence.MessageWatch()
        self._gap = evidence.TickGap()
        self._first_ns = 0
        self._golden = [(row, self._path(row.frame)) for row in settings.golden]
        space = settings.space
        self._pair = None
        if space.moving_reference and space.second_reference:
            self._pair = evidence.ReferencePair(space.moving_reference)
            scene.facts.declare("reference_shift_mm", space.moving_reference)
        self._corridor = self._find_corridor()
        if scene.plan is not None:
            evidence.plan_facts(scene.facts, scene.plan, settings.patient, 0)
            evidence.guard_facts(scene.facts, scene.plan, settings.guards, 0)
        for row in space.static:
            if row.fre_mm is not None:
                scene.facts.set("registration_fre_mm", row.moving, Fact(row.fre_mm, 0))
        self._t0_dated = settings.thermometry is not None and settings.thermometry.t0_measured is not None
        self._body_temperature(0)
        for name in settings.therapy.interlocks if settings.therapy else ():
            for state in self._beating:
                scene.facts.declare(name, state.settings.name)

    def _body_temperature(self, now_ns: int) -> None:
        """The measured T0; not proven where it was not measured, not dated, or too long ago."""
        row = self._scene.settings.thermometry
        if row is None:
            return
        dated = self._scene.settings.training
        if row.t0_measured is not None:
            age_s = self._scene.wall_ns / NS_PER_S - row.t0_measured.timestamp()
            dated = self._scene.wall_ns > 0 and 0.0 <= age_s <= T0_VALID_S
        fact = Fact(row.t0_c or 0.0, now_ns, proven=row.t0_c is not None and dated)
        self._scene.facts.set("body_temperature_c", "patient", fact)

    def _path(self, frame: str) -> FramePath | None:
        try:
            return self._scene.tracking.graph.path(frame, RAS)
        except FrameError:
            return None

    def _find_corridor(self) -> evidence.Corridor | None:
        robot, plan = self._scene.settings.robot, self._scene.plan
        if robot is None or robot.trajectory is None or plan is None:
            return None
        way = plan.trajectory(robot.trajectory)
        for name in ("corridor_lateral_mm", "corridor_foretold_mm", "corridor_past_mm"):
            self._scene.facts.declare(name, robot.device)
        return evidence.Corridor(robot.device, Fixture(robot.inner_mm, robot.outer_mm), way)

    def lost(self, event: Loss) -> None:
        """Messages refused or shed on a link."""
        self._messages.take(event.link, event.count, event.reason, event.now_ns)

    def health(self, event: Health) -> tuple[str, ...]:
        """What the rim measured of itself; the facts that changed."""
        names = tuple(sorted(HEALTH_FACTS & event.facts.keys()))
        for name in names:
            self._scene.facts.set(name, event.source, Fact(event.facts[name], event.now_ns))
        return names

    def tags(self, state: StreamState, message: AnyMessage, now_ns: int) -> None:
        """Who an image says that it shows."""
        tags = getattr(message, "tags", None)
        if tags and self._scene.plan is not None:
            evidence.tag_conflicts(self._scene.facts, state.settings.name, tags, self._scene.plan, now_ns)

    def measure(self, now_ns: int) -> None:
        """Everything that changes with time or that the newest poses say."""
        facts = self._scene.facts
        self._gap.measure(facts, now_ns)
        self._messages.measure(facts, now_ns)
        self._consoles.measure(now_ns)
        evidence.device_silence(facts, self._beating, now_ns)
        for state in self._robot_poses:
            evidence.robot_age(facts, state, self._scene.tracking.tracks[state.settings.name].usable_ns, now_ns)
        for state in self._xray:
            evidence.dose_age(facts, state, now_ns)
        for row, path in self._golden:
            matrix = self._scene.tracking.graph.evaluate(path) if path is not None else None
            evidence.golden_point(facts, row, matrix, now_ns)
        self._power(now_ns)
        if self._t0_dated:
            self._body_temperature(now_ns)
        self._poses(now_ns)

    def _power(self, now_ns: int) -> None:
        self._first_ns = self._first_ns or now_ns
        permitted = self._treatment.phase in ENERGY_PERMITTED
        off_since_ns = 0 if permitted else max(self._treatment.permit_ended_ns, self._first_ns)
        for state in self._beating:
            values = self._devices.readings.get(state.settings.name, {})
            if "power_w" in values:
                evidence.forbidden_power(
                    self._scene.facts, state.settings.name, values["power_w"], off_since_ns, now_ns
                )

    def _poses(self, now_ns: int) -> None:
        space, robot = self._scene.settings.space, self._scene.settings.robot
        if self._pair is not None and space.moving_reference and space.second_reference:
            first, second = self._live(space.moving_reference, now_ns), self._live(space.second_reference, now_ns)
            if first is not None and second is not None:
                self._pair.measure(self._scene.facts, first, second, now_ns)
        if self._corridor is not None and robot is not None and robot.tool is not None:
            placed = self._scene.tracking.place(robot.tool, now_ns)
            at_ns = self._scene.tracking.tracks[self._scene.tracking.tools[robot.tool].stream].usable_ns
            # The newest usable pose counts also where the robot has called itself invalid since: that is where it was.
            if placed is not None and (placed.quality.usable or (placed.quality is Quality.INVALID and at_ns)):
                tool, tip = placed.ras_from_tool, self._scene.tracking.tools[robot.tool].tip_mm
                where = (tool[:3, :3] * tip).sum(axis=1) + tool[:3, 3]
                self._corridor.measure(self._scene.facts, where, at_ns, now_ns)

    def _live(self, tool: str, now_ns: int) -> Matrix | None:
        placed = self._scene.tracking.place(tool, now_ns)
        return placed.ras_from_tool if placed is not None and placed.quality.usable else None
