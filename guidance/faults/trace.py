"""What happened in one session, as anybody beside the core could have seen it: arrivals, results, bytes sent."""

from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from devices.messages import Acknowledgement, Alert, Command, GuidedPose, Image, Pose
from devices.quality import Quality
from guidance.events import AnyEvent, Arrival, Effect, Job, JobDone, LinkChange, Loss, Tick
from guidance.settings import RoomSettings


class Frame(msgspec.Struct, frozen=True, gc=False):
    """One thermometry frame that arrived."""

    at_ns: int
    number: int
    device_ns: int
    pixels: bytes  # of the picture, to see whether it is the same one again


class Answer(msgspec.Struct, frozen=True):
    """One result of thermometry and the arrival of its frame."""

    at_ns: int
    frame_ns: int
    facts: dict[str, Any]


class Sample(msgspec.Struct, frozen=True, gc=False):
    """One pose that arrived."""

    at_ns: int
    matrix: NDArray[np.float64]
    usable: bool


class Said(msgspec.Struct, frozen=True, gc=False):
    """One command to the energy device."""

    at_ns: int
    verb: str
    command_id: int
    permit: bool
    phase: str


class Trace:
    """A watcher that keeps all of it."""

    def __init__(self, settings: RoomSettings) -> None:
        row = settings.thermometry
        self.thermometry = row.stream if row else ""
        self.period_ns = next((round(s.period_ms * 1e6) for s in settings.streams if s.name == self.thermometry), 0)
        self.limits_ns = {s.name: round(s.limit_ms * 1e6) for s in settings.streams if s.kind == "pose"}
        self.periods_ns = {s.name: round(s.period_ms * 1e6) for s in settings.streams}
        self._names = {(s.link, s.message_name): s.name for s in settings.streams}
        self.guards = tuple(guard.structure for guard in settings.guards)
        self.frames: list[Frame] = []
        self.answers: list[Answer] = []
        self.poses: dict[str, list[Sample]] = {name: [] for name in self.limits_ns}
        self.links: list[tuple[int, str, bool]] = []
        self.readings: list[int] = []  # arrivals of the energy device's readings
        therapy = settings.therapy
        self.device_stream = next(
            (s.name for s in settings.streams if therapy and s.link == therapy.link and s.kind == "reading"), ""
        )
        self.losses: list[tuple[int, str, str]] = []
        self.walls: list[tuple[int, int]] = []  # (service time, wall - service) of each tick
        self.said: list[Said] = []
        self.confirmations: list[tuple[int, int]] = []  # (ns, command id) of STOPs that were done
        self.alerts: list[tuple[int, str, str]] = []  # (ns, name, state)
        self.shown: list[tuple[int, str, Quality]] = []  # (ns, tool, quality)
        self.now_ns = 0
        self._jobs: dict[int, int] = {}

    def __call__(self, event: AnyEvent, effects: Sequence[Effect]) -> None:
        """See one step."""
        self.now_ns = event.now_ns
        if isinstance(event, Arrival):
            self._arrival(event)
        elif isinstance(event, Tick):
            self.walls.append((event.now_ns, event.wall_ns - event.now_ns))
        elif isinstance(event, JobDone):
            frame_ns = self._jobs.pop(event.job, 0)
            if event.kind == "thermometry":
                self.answers.append(Answer(event.now_ns, frame_ns, dict(event.facts)))
        elif isinstance(event, LinkChange):
            self.links.append((event.now_ns, event.link, event.up))
        elif isinstance(event, Loss):
            self.losses.append((event.now_ns, event.link, event.reason))
        for effect in effects:
            self._effect(effect, event.now_ns)

    def _arrival(self, event: Arrival) -> None:
        message = event.message
        stream = self._names.get((event.link, message.name), "")
        if isinstance(message, Acknowledgement):
            if message.verb == "STOP" and message.done:
                self.confirmations.append((event.now_ns, message.command_id))
        elif isinstance(message, Pose) and stream in self.poses:
            sample = Sample(event.now_ns, message.fixed_from_moving, message.quality is Quality.OK)
            self.poses[stream].append(sample)
        elif stream and stream == self.device_stream:
            self.readings.append(event.now_ns)
        elif isinstance(message, Image) and stream == self.thermometry:
            pixels = message.pixels.tobytes()
            self.frames.append(Frame(event.now_ns, message.number, message.device_time_ns, pixels))

    def _effect(self, effect: Effect, now_ns: int) -> None:
        if isinstance(effect, Job):
            self._jobs[effect.number] = effect.evidence.get(self.thermometry, now_ns)
            return
        message = effect.message
        if isinstance(message, Command):
            permit = message.values.get("permit", 0.0) > 0
            self.said.append(Said(now_ns, message.verb, message.command_id, permit, message.reason))
        elif isinstance(message, Alert):
            self.alerts.append((now_ns, message.name, message.state))
        elif isinstance(message, GuidedPose):
            self.shown.append((now_ns, message.tool, message.quality))

    def forget(self, before_ns: int) -> None:
        """Drop what happened before, save how each alarm stood."""
        standing = {name: (at, name, state) for at, name, state in self.alerts if at < before_ns}
        self.frames = [row for row in self.frames if row.at_ns >= before_ns]
        self.answers = [row for row in self.answers if row.at_ns >= before_ns]
        self.poses = {name: [row for row in rows if row.at_ns >= before_ns] for name, rows in self.poses.items()}
        self.said = [row for row in self.said if row.at_ns >= before_ns]
        self.readings = [at for at in self.readings if at >= before_ns]
        self.links = [row for row in self.links if row[0] >= before_ns]
        self.losses = [row for row in self.losses if row[0] >= before_ns]
        self.walls = [row for row in self.walls if row[0] >= before_ns]
        self.confirmations = [row for row in self.confirmations if row[0] >= before_ns]
        self.shown = [row for row in self.shown if row[0] >= before_ns]
        self.alerts = [*standing.values(), *(row for row in self.alerts if row[0] >= before_ns)]

    def phase_at(self, at_ns: int) -> str:
        """The phase that the energy device was last told before `at_ns`."""
        for said in reversed(self.said):
            if said.at_ns < at_ns and said.verb == "PERMIT":
                return said.phase
        return "STOPPED"
