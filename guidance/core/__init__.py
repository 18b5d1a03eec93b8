"""The core: one event in, the effects out. Synchronous and deterministic; its only clock is the event's.

Live service, virtual time and replay drive this same object, so they cannot differ.
"""

from collections.abc import Callable, Iterable
from typing import Any

from devices.messages import Acknowledgement, Command, Text
from guidance.core.acts import ActDesk, answer
from guidance.core.calibration import CalibrationDesk
from guidance.core.control import ControlDesk
from guidance.core.cryo import CryoDesk
from guidance.core.devices import DeviceDesk
from guidance.core.geometry import GeometryDesk
from guidance.core.handeye import HandEyeDesk
from guidance.core.laser import LaserDesk
from guidance.core.margins import MarginDesk
from guidance.core.motion import MotionDesk
from guidance.core.navigation import NavigationDesk
from guidance.core.places import PlaceDesk
from guidance.core.poses import PoseDesk
from guidance.core.probes import ProbeDesk
from guidance.core.respiration import RespirationDesk
from guidance.core.robots import RobotDesk
from guidance.core.scene import Desk, Scene
from guidance.core.surfaces import SurfaceDesk
from guidance.core.thermometry import ThermometryDesk
from guidance.core.views import ViewDesk
from guidance.core.watch import WatchDesk
from guidance.events import Act, AnyEvent, Arrival, Effect, Health, JobDone, LinkChange, Loss, Send, Tick
from guidance.outputs.alerts import AlertWriter
from guidance.plan import Plan
from guidance.safety import evidence
from guidance.safety.alarms import Alarm
from guidance.safety.consoles import Consoles
from guidance.safety.judge import Judge
from guidance.safety.limits import Limits
from guidance.safety.rules import RULES, Rule
from guidance.safety.safe_states import SAFE_STATES
from guidance.safety.signals import Signals
from guidance.safety.stops import Stoppable, Stops
from guidance.safety.treatment import Treatment, Verdict
from guidance.settings import RoomSettings


class Core:
    """One room. `accept` is its only method; everything else is there to be looked at.

    `rules` are those of the hazard table; only a fault campaign judges by others.
    """

    def __init__(
        self, settings: RoomSettings, plan: Plan | None, limits: Limits, rules: tuple[Rule, ...] = RULES
    ) -> None:
        self.settings = settings
        self.plan = plan
        self.scene = Scene(settings, plan, limits)
        self.streams = self.scene.streams
        self.judge = Judge(self.scene.facts, limits, rules)
        facts, control = self.scene.facts, settings.control
        self.stops = Stops(stoppables(settings))
        self.treatment = Treatment(self.judge, self.stops, settings.therapy, settings.robot, control.arm_expires_s)
        self.consoles = Consoles(facts, control, limits["console_lease_ms"].value)
        self.signals = Signals(facts, limits["alarm_unseen_ms"].value)
        self.poses = PoseDesk(self.scene)
        self.thermometry = ThermometryDesk(self.scene, self.treatment)
        self.views = ViewDesk(self.scene)
        self.devices = DeviceDesk(self.scene, self.consoles)
        self.control = ControlDesk(self.scene, self.devices, self.treatment)
        self.watch = WatchDesk(self.scene, self.devices, self.treatment, self.consoles)
        self.motion = MotionDesk(self.scene)
        self.respiration = RespirationDesk(self.scene, self.motion)
        self.laser = LaserDesk(self.scene, self.treatment)
        self.cryo = CryoDesk(self.scene, self.treatment)
        self.navigation = NavigationDesk(self.scene, self.poses)
        self.calibration = CalibrationDesk(self.scene, self.poses)
        self.probes = ProbeDesk(self.scene)
        self.hand_eye = HandEyeDesk(self.scene)
        self.surfaces = SurfaceDesk(self.scene, self.poses)
        self.margins = MarginDesk(self.scene, self.poses)
        self.places = PlaceDesk(self.scene, self.thermometry, self.treatment)
        self.robots = RobotDesk(self.scene, self.devices)
        self.geometry = GeometryDesk(self.scene, self.navigation)
        self.desks: tuple[Desk, ...] = (
            self.poses,
            self.thermometry,
            self.motion,
            self.respiration,
            self.devices,
            self.control,
            self.calibration,
            self.probes,
            self.hand_eye,
            self.surfaces,
            self.navigation,
            self.watch,
            self.margins,
            self.places,
            self.laser,
            self.cryo,
            self.robots,
            self.geometry,
            self.views,
        )
        self.texts: dict[tuple[str, str], str] = {}  # newest text of each (link, name), e.g. consumers' reports
        self.unlisted: dict[tuple[str, str], int] = {}  # (link, message name) -> messages that no stream takes
        self.last_verdict = Verdict(True)
        self._acts = ActDesk(self.judge, self.treatment, self.consoles, self.signals)
        self._writer = AlertWriter(settings.room, self.judge.unit_of)
        self._clock = evidence.ClockWatch()
        self._roles = {row.id: row.role for row in settings.links}
        self._by_source = {(row.link, row.message_name): self.streams[row.name] for row in settings.streams}
        self._by_kind = {kind: desk for desk in self.desks for kind in desk.kinds}
        self._by_job = {kind: desk for desk in self.desks for kind in desk.jobs}
        self._by_verb = {verb: handler for desk in self.desks for verb, handler in desk.verbs.items()}
        self._handlers: dict[type, Callable[[Any], Iterable[Effect]]] = {
            Arrival: self._arrival,
            Tick: self._tick,
            JobDone: self._done,
            LinkChange: self._link,
            Loss: self._loss,
            Act: self._act,
            Health: self._health,
        }

    def accept(self, event: AnyEvent) -> list[Effect]:
        """Take one event; the effects it has, in the order in which they must leave."""
        return [*self._handlers[type(event)](event), *self.views.follow(event.now_ns)]

    def _arrival(self, event: Arrival) -> Iterable[Effect]:
        message, now_ns = event.message, event.now_ns
        if isinstance(message, Acknowledgement):
            self.stops.confirm(event.link, message, now_ns)
            for listener in self.desks:
                listener.heard(message, now_ns)
            return self._judged(now_ns, ("stop_unconfirmed_ms",))
        if isinstance(message, Command):
            return self._command(event.link, message, now_ns)
        state = self._by_source.get((event.link, message.name))
        if state is None:
            return self._unlisted(event)
        desk = self._by_kind[state.settings.kind]
        if not isinstance(message, desk.takes):
            state.rejected += 1
            return self._unlisted(event)
        state.arrived(now_ns, message.device_time_ns, getattr(message, "number", -1))
        self.watch.tags(state, message, now_ns)
        effects = [*desk.take(state, message, now_ns)]
        return [*self._judged(now_ns, desk.judged), *effects] if desk.judged else effects

    def _unlisted(self, event: Arrival) -> Iterable[Effect]:
        key = (event.link, event.message.name)
        if isinstance(event.message, Text):
            self.texts[key] = event.message.text
        else:
            self.unlisted[key] = self.unlisted.get(key, 0) + 1
        return ()

    def _done(self, event: JobDone) -> Iterable[Effect]:
        desk = self._by_job[event.kind]
        effects = [*desk.done(event, self.scene.evidence_of(event))]
        return [*self._judged(event.now_ns, desk.judged), *effects] if desk.judged else effects

    def _tick(self, event: Tick) -> Iterable[Effect]:
        now_ns = event.now_ns
        self.scene.wall_ns = event.wall_ns or self.scene.wall_ns
        for desk in self.desks:
            desk.measure(now_ns)
        evidence.stop_facts(self.scene.facts, self.stops.unconfirmed_ms(now_ns), now_ns)
        self._clock.measure(self.scene.facts, event.wall_ns, now_ns)
        self.signals.measure(self.judge.shown(), self.consoles.live(now_ns), now_ns)
        effects = self._judged(now_ns, None)
        effects += self._alerts(self.judge.remind(now_ns), now_ns)
        for desk in self.desks:
            effects += desk.tick(now_ns)
        return effects

    def _link(self, event: LinkChange) -> Iterable[Effect]:
        self.devices.link(event)
        if event.up:
            self.treatment.link_up(event.link, event.now_ns)
        return self._judged(event.now_ns, ("link_down_ms",))

    def _health(self, event: Health) -> Iterable[Effect]:
        return self._judged(event.now_ns, self.watch.health(event))

    def _loss(self, event: Loss) -> Iterable[Effect]:
        self.watch.lost(event)
        state = self._by_source.get((event.link, event.stream))
        if state is not None:
            state.dropped += event.count
        return ()

    def _command(self, link: str, command: Command, now_ns: int) -> Iterable[Effect]:
        if self._roles[link] != "console":
            verdict = Verdict(False, (f"link {link!r} is not a console; its commands are not taken",))
            return [Send(link, answer(command, verdict, now_ns), urgent=True)]
        words = {"alarm": command.reason, "name": command.reason}
        values: dict[str, float | int | str | bool] = {**command.values, **words}
        act = Act(now_ns=now_ns, verb=command.verb, actor=command.name, values=values, console=link)
        verdict, effects = self._carry_out(act)
        return [*effects, Send(link, answer(command, verdict, now_ns), urgent=True)]

    def _act(self, event: Act) -> Iterable[Effect]:
        self.last_verdict, effects = self._carry_out(event)
        return effects

    def _carry_out(self, act: Act) -> tuple[Verdict, list[Effect]]:
        handler = self._by_verb.get(act.verb)
        if handler is not None:
            refusal = self._acts.refusal(act)
            if refusal:
                return Verdict(False, (refusal,)), []
            reasons, effects = handler(act)
            return Verdict(not reasons, reasons), effects
        before = self.treatment.phase
        verdict, changed = self._acts.take(act)
        if self.treatment.phase is not before:  # rows of the new phase are judged before any device is told of it
            raised = self.judge.judge(act.now_ns, self.treatment.phase)
            self.treatment.react(act.now_ns, raised)
            changed = [*changed, *raised]
        return verdict, [*self._urgent(act.now_ns), *self._alerts(changed, act.now_ns)]

    def _judged(self, now_ns: int, names: Iterable[str] | None) -> list[Effect]:
        """Judge facts, react, and tell: stops first, then permits, then alerts."""
        changed = self.judge.judge(now_ns, self.treatment.phase, names)
        self.treatment.react(now_ns, changed)
        return [*self._urgent(now_ns), *self._alerts(changed, now_ns)]

    def _urgent(self, now_ns: int) -> list[Effect]:
        due = [*self.stops.due(now_ns), *self.treatment.commands_due(now_ns)]
        return [Send(link, command, urgent=True) for link, command in due]

    def _alerts(self, changed: Iterable[Alarm], now_ns: int) -> list[Effect]:
        changed = list(dict.fromkeys(changed))
        self.signals.heard(changed)
        told = [self._writer.write(alarm, now_ns) for alarm in changed]
        return [send for alert in told for send in self.scene.routes.to("alert", alert, urgent=True)]


def stoppables(settings: RoomSettings) -> list[Stoppable]:
    """The devices of a room that take STOP, each with its declared safe state and every channel that reaches it."""
    devices = [device for device in (settings.therapy, settings.robot) if device is not None]
    return [
        Stoppable(row.link, row.device, state.text, row.stop_links, state.values)
        for row, state in ((device, SAFE_STATES[device.modality]) for device in devices)
    ]
