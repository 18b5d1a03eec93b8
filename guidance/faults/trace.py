"""What happened in one session, as anybody beside the core could have seen it: arrivals, results, bytes sent."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from devices.messages import (
    Acknowledgement,
    Alert,
    Command,
    GuidedPose,
    Image,
    Overlay,
    Pose,
    Priority,
    Reading,
    Status,
)
from devices.quality import Quality
from guidance.events import Act, AnyEvent, Arrival, Effect, Health, Job, JobDone, LinkChange, Loss, Tick
from guidance.plan import Plan
from guidance.settings import IMAGES, RoomSettings

STILL_TICKS = 5.0  # a longer pause between two ticks is a service that stands still


class Frame(msgspec.Struct, frozen=True, gc=False):
    """One thermometry frame that arrived."""

    at_ns: int
    number: int
    device_ns: int
    pixels: bytes  # of the picture, to see whether it is the same one again
    alike: float = 1.0  # correlation of its brightness with the mean of the sound pictures before the case


class Answer(msgspec.Struct, frozen=True):
    """One result of thermometry and the arrival of its frame."""

    at_ns: int
    frame_ns: int
    facts: dict[str, Any]
    told_ns: int  # from when it must act: its frame, or a period before it came (a lane that hangs is for T2l)


class Sample(msgspec.Struct, frozen=True, gc=False):
    """One pose that arrived."""

    at_ns: int
    matrix: NDArray[np.float64]
    usable: bool


class Said(msgspec.Struct, frozen=True, gc=False):
    """One command to an energy or motion device."""

    at_ns: int
    verb: str
    command_id: int
    permit: bool
    phase: str
    device: str = ""


class Told(msgspec.Struct, frozen=True):
    """Values that somebody told: a device's reading or status, the service of itself, the place of a tool."""

    at_ns: int
    source: str
    values: Mapping[str, Any]


class Shown(msgspec.Struct, frozen=True, gc=False):
    """One picture that was shown, and when the newest picture in it had come."""

    at_ns: int
    name: str
    stream: str
    evidence_ns: int
    quality: Quality


class Trace:
    """A watcher that keeps all of it."""

    def __init__(self, settings: RoomSettings, plan: Plan | None = None) -> None:
        self.settings, self.plan = settings, plan
        self.began_ns = 0  # of the case
        row = settings.thermometry
        self.thermometry = row.stream if row else ""
        self.period_ns = next((round(s.period_ms * 1e6) for s in settings.streams if s.name == self.thermometry), 0)
        self.limits_ns = {s.name: round(s.limit_ms * 1e6) for s in settings.streams if s.kind == "pose"}
        self.periods_ns = {s.name: round(s.period_ms * 1e6) for s in settings.streams}
        self.still = frozenset(s.name for s in settings.streams if not s.free_tool)
        self._names = {(s.link, s.message_name): s.name for s in settings.streams}
        self._pictures_ns = {s.name: round(s.limit_ms * 1e6) for s in settings.streams if s.kind in IMAGES}
        self.guards = tuple(guard.structure for guard in settings.guards)
        self.guard_limits = {row.structure: (row.limit_c, row.limit_cem43_min) for row in settings.guards}
        self.frames: list[Frame] = []
        self._usual = np.zeros(0)  # sum of the brightness of sound pictures
        self.answers: list[Answer] = []  # of thermometry
        self.jobs: dict[str, list[Answer]] = {}  # of every lane, by kind
        self.poses: dict[str, list[Sample]] = {name: [] for name in self.limits_ns}
        self.marker = next((s.name for s in settings.streams if s.kind == "respiration"), "")  # on the chest
        self.breath: list[Sample] = []  # of it
        self.links: list[tuple[int, str, bool]] = []
        devices = [row for row in (settings.therapy, settings.robot) if row is not None]
        self.devices = {row.link: row.device for row in devices}  # that STOP must reach
        self.readings: dict[str, list[int]] = {  # arrivals of what energy and motion devices say
            s.name: [] for s in settings.streams if s.kind == "reading" and s.link in self.devices
        }
        self.told: list[Told] = []  # values of readings and codes of statuses, by stream
        self.health: list[Told] = []  # what the service said of itself
        self.placed: list[Told] = []  # numbers of every tool that was shown as live
        self.pixels_mm: list[tuple[int, str, float]] = []  # (ns, frame, size of a picture's pixel)
        self.tags: list[Told] = []  # who an image says that it shows
        self.acts: list[tuple[int, str, str]] = []  # (ns, verb, console)
        self.losses: list[tuple[int, str, str]] = []
        self.shed: list[tuple[int, str, int]] = []  # (ns, link, messages that a slow reader did not get)
        self.refused: list[tuple[int, str, int]] = []  # (ns, link, messages that were refused)
        self.walls: list[tuple[int, int]] = []  # (service time, wall - service) of each tick
        self.said: list[Said] = []
        self.confirmations: list[tuple[int, int]] = []  # (ns, command id) of STOPs that were done
        self.alerts: list[tuple[int, str, str]] = []  # (ns, name, state)
        self.calling: set[str] = set()  # alerts of high priority that stop
        self.shown: list[tuple[int, str, Quality]] = []  # (ns, tool, quality)
        self.maps: list[Shown] = []
        self.arrived: dict[str, set[int]] = {name: set() for name in self._pictures_ns}
        self.now_ns = 0
        self._jobs: dict[int, int] = {}

    def __call__(self, event: AnyEvent, effects: Sequence[Effect]) -> None:
        """See one step."""
        self.now_ns = now_ns = event.now_ns
        if isinstance(event, Arrival):
            self._arrival(event)
        elif isinstance(event, Tick):
            self.walls.append((now_ns, event.wall_ns - now_ns))
        elif isinstance(event, JobDone):
            frame_ns = self._jobs.pop(event.job, 0)
            facts = {} if event.failed else dict(event.facts)
            answer = Answer(now_ns, frame_ns, facts, max(frame_ns, now_ns - self.period_ns))
            self.jobs.setdefault(event.kind, []).append(answer)
            if event.kind == "thermometry":
                self.answers.append(answer)
        elif isinstance(event, LinkChange):
            self.links.append((now_ns, event.link, event.up))
        elif isinstance(event, Loss):
            self.losses.append((now_ns, event.link, event.reason))
            rejected = event.reason.startswith("rejected")
            (self.refused if rejected else self.shed).append((now_ns, event.link, event.count))
        elif isinstance(event, Health):
            self.health.append(Told(now_ns, event.source, event.facts))
        elif isinstance(event, Act):
            self.acts.append((now_ns, event.verb, event.console or event.actor))
        for effect in effects:
            self._effect(effect, now_ns)

    def _arrival(self, event: Arrival) -> None:
        message, now_ns = event.message, event.now_ns
        stream = self._names.get((event.link, message.name), "")
        if isinstance(message, Acknowledgement):
            if message.verb == "STOP" and message.done:
                self.confirmations.append((now_ns, message.command_id))
        elif isinstance(message, Pose) and stream in self.poses:
            self.poses[stream].append(Sample(now_ns, message.fixed_from_moving, message.quality is Quality.OK))
        elif isinstance(message, Pose) and stream and stream == self.marker:
            self.breath.append(Sample(now_ns, message.fixed_from_moving, message.quality is Quality.OK))
        elif isinstance(message, Reading | Status):
            if stream in self.readings:
                self.readings[stream].append(now_ns)
            if stream:
                values = message.values if isinstance(message, Reading) else {"code": float(message.code)}
                self.told.append(Told(now_ns, stream, values))
        elif isinstance(message, Image) and stream:
            self._picture(stream, message, now_ns)

    def _picture(self, stream: str, message: Image, now_ns: int) -> None:
        if stream in self.arrived:
            self.arrived[stream].add(now_ns)
        self.pixels_mm.append((now_ns, message.frame, float(np.linalg.norm(message.frame_from_image_mm[:3, 0]))))
        if message.tags:
            self.tags.append(Told(now_ns, stream, message.tags))
        if stream == self.thermometry:
            pixels = message.pixels.tobytes()
            alike = self._alike(np.nan_to_num(np.abs(message.pixels).astype(np.float64), posinf=0.0))
            self.frames.append(Frame(now_ns, message.number, message.device_time_ns, pixels, alike))

    def _alike(self, brightness: NDArray[np.float64]) -> float:
        """1 where nothing can be said: before the case, for another shape, without any signal."""
        if not self.began_ns:
            self._usual = brightness + (self._usual if self._usual.shape == brightness.shape else 0.0)
            return 1.0
        if self._usual.shape != brightness.shape or not brightness.any():
            return 1.0
        one, two = (row - row.mean() for row in (brightness, self._usual))
        return float(np.vdot(one, two) / max(float(np.linalg.norm(one) * np.linalg.norm(two)), 1e-30))

    def _effect(self, effect: Effect, now_ns: int) -> None:
        if isinstance(effect, Job):
            self._jobs[effect.number] = next(
                (effect.evidence[name] for name in self._pictures_ns if name in effect.evidence), now_ns
            )
            return
        message = effect.message
        if isinstance(message, Command):
            permit = message.values.get("permit", 0.0) > 0
            row = Said(now_ns, message.verb, message.command_id, permit, message.reason, message.name)
            self.said.append(row)
        elif isinstance(message, Alert):
            self.alerts.append((now_ns, message.name, message.state))
            if message.priority is Priority.HIGH and message.reaction == "STOP sent":
                self.calling.add(message.name)
        elif isinstance(message, GuidedPose):
            self.shown.append((now_ns, message.tool, message.quality))
            if message.quality is Quality.OK:
                self.placed.append(Told(now_ns, message.tool, message.values))
        elif isinstance(message, Overlay):
            for stream in self._pictures_ns.keys() & message.evidence.keys():
                self.maps.append(Shown(now_ns, message.name, stream, message.evidence[stream], message.quality))

    def live_until_ns(self, row: Shown) -> int:
        """Until when a picture may be shown as live: its stream's limit and 50 ms after what it shows had come."""
        return row.evidence_ns + self._pictures_ns[row.stream] + 50_000_000

    def forget(self, before_ns: int) -> None:
        """Drop what happened before, save how each alarm stood."""
        standing = {name: (at, name, state) for at, name, state in self.alerts if at < before_ns}
        rows: list[list[Any]] = [self.frames, self.answers, self.said, self.told, self.health, self.placed, self.tags]
        for kept in (*rows, self.maps, self.breath, *self.jobs.values(), *self.poses.values()):
            kept[:] = [row for row in kept if row.at_ns >= before_ns]
        pairs: list[list[Any]] = [self.links, self.losses, self.shed, self.refused, self.walls, self.confirmations]
        for kept in (*pairs, self.shown, self.pixels_mm, self.acts):
            kept[:] = [row for row in kept if row[0] >= before_ns]
        for times in self.readings.values():
            times[:] = [at for at in times if at >= before_ns]
        self.arrived = {name: {at for at in times if at >= before_ns} for name, times in self.arrived.items()}
        self.alerts = [*standing.values(), *(row for row in self.alerts if row[0] >= before_ns)]

    def standstills(self, ticks: float = STILL_TICKS) -> list[tuple[int, int]]:
        """Times longer than so many ticks in which the service did not tick: the tick before, the one after."""
        most_ns = round(ticks * self.settings.tick_ms * 1e6)
        return [(before, at) for (before, _), (at, _) in pairwise(self.walls) if at - before > most_ns]

    def phase_at(self, at_ns: int) -> str:
        """The phase that the devices were last told before `at_ns`."""
        for said in reversed(self.said):
            if said.at_ns < at_ns and said.verb == "PERMIT":
                return said.phase
        return "STOPPED"
