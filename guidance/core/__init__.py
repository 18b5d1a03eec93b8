"""The core: one event in, the effects out. Synchronous and deterministic; its only clock is the event's.

Live service, virtual time and replay drive this same object, so they cannot differ.
"""

from collections.abc import Callable, Iterable
from typing import Any

from devices.messages import Acknowledgement, Command, Text
from guidance.core.acts import ActDesk, answer
from guidance.core.calibration import CalibrationDesk
from guidance.core.devices import DeviceDesk
from guidance.core.margins import MarginDesk
from guidance.core.navigation import NavigationDesk
from guidance.core.poses import PoseDesk
from guidance.core.scene import Desk, Scene
from guidance.core.thermometry import ThermometryDesk
from guidance.core.views import ViewDesk
from guidance.events import Act, AnyEvent, Arrival, Effect, JobDone, LinkChange, Loss, Send, Tick
from guidance.outputs.alerts import AlertWriter
from guidance.plan import Plan
from guidance.safety import evidence
from guidance.safety.alarms import Alarm
from guidance.safety.judge import Judge
from guidance.safety.limits import Limits
from guidance.safety.stops import Stoppable, Stops
from guidance.safety.treatment import Treatment, Verdict
from guidance.settings import RoomSettings


class Core:
    """One room. `accept` is its only method; everything else is there to be looked at."""

    def __init__(self, settings: RoomSettings, plan: Plan | None, limits: Limits) -> None:
        self.settings = settings
        self.plan = plan
        self.scene = Scene(settings, plan, limits)
        self.streams = self.scene.streams
        self.judge = Judge(self.scene.facts, limits)
        therapy = settings.therapy
        self.stops = Stops([Stoppable(therapy.link, therapy.device, "emission off")] if therapy else [])
        self.treatment = Treatment(self.judge, self.stops, therapy)
        self.poses = PoseDesk(self.scene)
        self.thermometry = ThermometryDesk(self.scene)
        self.views = ViewDesk(self.scene)
        self.devices = DeviceDesk(self.scene)
        self.navigation = NavigationDesk(self.scene, self.poses)
        self.calibration = CalibrationDesk(self.scene, self.poses)
        self.margins = MarginDesk(self.scene, self.poses)
        self.desks: tuple[Desk, ...] = (
            self.poses, self.thermometry, self.devices, self.calibration, self.navigation, self.margins, self.views
        )  # fmt: skip
        self.texts: dict[tuple[str, str], str] = {}  # newest text of each (link, name), e.g. consumers' reports
        self.unlisted: dict[tuple[str, str], int] = {}  # (link, message name) -> messages that no stream takes
        self.last_verdict = Verdict(True)
        self._acts = ActDesk(self.judge, self.treatment)
        self._writer = AlertWriter(settings.room)
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
        }

    def accept(self, event: AnyEvent) -> list[Effect]:
        """Take one event; the effects it has, in the order in which they must leave."""
        return [*self._handlers[type(event)](event), *self.views.follow(event.now_ns)]

    def _arrival(self, event: Arrival) -> Iterable[Effect]:
        message, now_ns = event.message, event.now_ns
        if isinstance(message, Acknowledgement):
            self.stops.confirm(event.link, message, now_ns)
            return self._judged(now_ns, ("stop_unconfirmed_ms",))
        if isinstance(message, Command):
            return self._command(event.link, message, now_ns)
        state = self._by_source.get((event.link, message.name))
        if state is None:
            return self._unlisted(event)
        state.arrived(now_ns, message.device_time_ns, getattr(message, "number", -1))
        desk = self._by_kind[state.settings.kind]
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
        effects = self._judged(now_ns, None)
        for desk in self.desks:
            effects += desk.tick(now_ns)
        return effects

    def _link(self, event: LinkChange) -> Iterable[Effect]:
        self.devices.link(event)
        return ()

    def _loss(self, event: Loss) -> Iterable[Effect]:
        state = self._by_source.get((event.link, event.stream))
        if state is not None:
            state.dropped += event.count
        return ()

    def _command(self, link: str, command: Command, now_ns: int) -> Iterable[Effect]:
        if self._roles[link] != "console":
            verdict = Verdict(False, (f"link {link!r} is not a console; its commands are not taken",))
            return [Send(link, answer(command, verdict, now_ns), urgent=True)]
        values: dict[str, float | int | str | bool] = {"alarm": command.reason, "name": command.reason}
        values |= command.values
        act = Act(now_ns=now_ns, verb=command.verb, actor=link, values=values)
        verdict, effects = self._carry_out(act)
        return [*effects, Send(link, answer(command, verdict, now_ns), urgent=True)]

    def _act(self, event: Act) -> Iterable[Effect]:
        self.last_verdict, effects = self._carry_out(event)
        return effects

    def _carry_out(self, act: Act) -> tuple[Verdict, list[Effect]]:
        handler = self._by_verb.get(act.verb)
        if handler is not None:
            reasons, effects = handler(act)
            return Verdict(not reasons, reasons), effects
        verdict, changed = self._acts.take(act)
        return verdict, [*self._urgent(act.now_ns), *self._alerts(changed, act.now_ns)]

    def _judged(self, now_ns: int, names: Iterable[str] | None) -> list[Effect]:
        """Judge facts, react, and tell: stops first, then permits, then alerts."""
        changed = self.judge.judge(now_ns, self.treatment.phase, names)
        self.treatment.react(now_ns)
        return [*self._urgent(now_ns), *self._alerts(changed, now_ns)]

    def _urgent(self, now_ns: int) -> list[Effect]:
        due = [*self.stops.due(now_ns), *self.treatment.commands_due(now_ns)]
        return [Send(link, command, urgent=True) for link, command in due]

    def _alerts(self, changed: list[Alarm], now_ns: int) -> list[Effect]:
        told = [self._writer.write(alarm, now_ns) for alarm in changed]
        return [send for alert in told for send in self.scene.routes.to("alert", alert, urgent=True)]
