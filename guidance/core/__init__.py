"""The core: one event in, the effects out. Synchronous and deterministic; its only clock is the event's.

Live service, virtual time and replay drive this same object, so they cannot differ.
"""

from collections.abc import Callable, Iterable
from typing import Any

from devices.messages import Acknowledgement, Command, Image, Metrics, Pose, Reading, Text
from guidance.core.acts import ActDesk, answer
from guidance.core.images import TEMPERATURE, ImageDesk
from guidance.core.poses import PoseDesk
from guidance.events import Act, AnyEvent, Arrival, Effect, JobDone, LinkChange, Loss, Send, Tick
from guidance.navigation.targeting import Targeting
from guidance.navigation.tracking import Tracking
from guidance.outputs.alerts import AlertWriter
from guidance.outputs.routes import Routes
from guidance.plan import Plan
from guidance.safety import evidence
from guidance.safety.alarms import Alarm
from guidance.safety.facts import Facts
from guidance.safety.judge import Judge
from guidance.safety.limits import Limits
from guidance.safety.stops import Stoppable, Stops
from guidance.safety.treatment import Treatment, Verdict
from guidance.settings import RoomSettings
from guidance.timing.streams import StreamState

MUST_BE_UP = ("therapy", "robot")  # roles whose loss while energy flows is a STOP


class Core:
    """One room. `accept` is its only method; everything else is there to be looked at."""

    def __init__(self, settings: RoomSettings, plan: Plan | None, limits: Limits) -> None:
        self.settings = settings
        self.plan = plan
        self.streams = {row.name: StreamState(row) for row in settings.streams}
        self._by_source = {(row.link, row.message_name): self.streams[row.name] for row in settings.streams}
        self.unlisted: dict[tuple[str, str], int] = {}  # (link, message name) -> messages that no stream takes
        self.facts = Facts()
        self.judge = Judge(self.facts, limits)
        therapy = settings.therapy
        targets = [Stoppable(therapy.link, therapy.device, "emission off")] if therapy else []
        self.stops = Stops(targets)
        self.treatment = Treatment(self.judge, self.stops, therapy)
        self.routes = Routes(settings)
        self.tracking = Tracking(settings, limits["pose_repeats"].value)
        self.targeting = Targeting(plan, settings.tools)
        self._writer = AlertWriter(settings.room)
        self._poses = PoseDesk(self.tracking, self.targeting, self.routes, self.facts)
        self._images = ImageDesk(settings, self.tracking, self.routes)
        self._acts = ActDesk(self.judge, self.treatment)
        self._clock = evidence.ClockWatch()
        self._roles = {row.id: row.role for row in settings.links}
        self.readings: dict[str, dict[str, float]] = {}
        self.texts: dict[tuple[str, str], str] = {}  # newest text of each (link, name), e.g. consumers' reports
        self.last_verdict = Verdict(True)
        self._guards = _guard_memory(settings, limits)
        if settings.thermometry:
            self._guards.declare(self.facts, settings.thermometry.stream)
        self._down_since = {row.id: -1 for row in settings.links if row.role in MUST_BE_UP}
        self.thermometry: dict[str, Any] = {}  # newest facts of the thermometry lane, for views
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
        return list(self._handlers[type(event)](event))

    def _arrival(self, event: Arrival) -> Iterable[Effect]:
        message, now_ns = event.message, event.now_ns
        if isinstance(message, Acknowledgement):
            self.stops.confirm(event.link, message, now_ns)
            return self._judged(now_ns, ("stop_unconfirmed_ms",))
        if isinstance(message, Command):
            return self._command(event.link, message, now_ns)
        state = self._by_source.get((event.link, message.name))
        if state is None:
            if isinstance(message, Text):
                self.texts[event.link, message.name] = message.text
                return ()
            key = (event.link, message.name)
            self.unlisted[key] = self.unlisted.get(key, 0) + 1
            return ()
        if isinstance(message, Pose):
            return [*self._poses.take(state, message, now_ns), *self._images.retry(now_ns)]
        if isinstance(message, Image):
            return self._image(state, message, now_ns)
        state.arrived(now_ns, message.device_time_ns, -1)
        if isinstance(message, Reading):
            self.readings[state.settings.name] = message.values
        return ()

    def _image(self, state: StreamState, image: Image, now_ns: int) -> Iterable[Effect]:
        effects = self._images.take(state, image, now_ns)
        if state.settings.kind != TEMPERATURE:
            return effects
        evidence.image_age(self.facts, state, now_ns)
        evidence.frames_rising(self.facts, state, now_ns)
        return [*self._judged(now_ns, ("thermometry_age_periods", "frames_not_rising")), *effects]

    def _done(self, event: JobDone) -> Iterable[Effect]:
        effects = self._images.done(event)
        if event.kind != TEMPERATURE or event.failed or self.settings.thermometry is None:
            return effects
        self.thermometry = dict(event.facts)
        stream = self.settings.thermometry.stream
        self._guards.measure(self.facts, event.facts, stream, event.now_ns)
        told = Metrics(
            name=f"thermometry-{stream}",
            device_time_ns=event.now_ns,
            values={key: float(v) for key, v in event.facts.items() if isinstance(v, (int, float))},
            evidence=self._images.evidence,
        )
        return [*self._judged(event.now_ns, evidence.FRAME_FACTS), *self.routes.to("metrics", told), *effects]

    def _tick(self, event: Tick) -> Iterable[Effect]:
        now_ns = event.now_ns
        self._poses.measure(self.streams, now_ns)
        if self.settings.thermometry:
            evidence.image_age(self.facts, self.streams[self.settings.thermometry.stream], now_ns)
        evidence.link_facts(self.facts, self._down_since, now_ns)
        evidence.stop_facts(self.facts, self.stops.unconfirmed_ms(now_ns), now_ns)
        self._clock.measure(self.facts, event.wall_ns, now_ns)
        return [*self._judged(now_ns, None), *self._poses.tick(now_ns), *self._images.tick(now_ns)]

    def _link(self, event: LinkChange) -> Iterable[Effect]:
        if event.link in self._down_since:
            self._down_since[event.link] = 0 if event.up else event.now_ns
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
        act = Act(now_ns=now_ns, verb=command.verb, actor=link, values={"alarm": command.reason})
        verdict, effects = self._carry_out(act)
        return [*effects, Send(link, answer(command, verdict, now_ns), urgent=True)]

    def _act(self, event: Act) -> Iterable[Effect]:
        verdict, effects = self._carry_out(event)
        self.last_verdict = verdict
        return effects

    def _carry_out(self, act: Act) -> tuple[Verdict, list[Effect]]:
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
        return [
            send
            for alarm in changed
            for send in self.routes.to("alert", self._writer.write(alarm, now_ns), urgent=True)
        ]


def _guard_memory(settings: RoomSettings, limits: Limits) -> evidence.GuardMemory:
    """The limits of each guard: its own where the room sets one, else those of the limits file."""
    default = limits["guard_temperature_c"].value
    temperature = {g.structure: default if g.limit_c is None else g.limit_c for g in settings.guards}
    return evidence.GuardMemory(temperature, {g.structure: g.limit_cem43_min for g in settings.guards})
