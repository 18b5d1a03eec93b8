"""A small room for tests of the core: one tracked tool, one MR stream, a therapy device, a console."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from devices.messages import Acknowledgement, AnyMessage, Command, Image, Pose
from devices.quality import Quality
from guidance.core import Core
from guidance.events import Arrival, Effect, Job, JobDone, LinkChange, Send, Tick
from guidance.load import config_file
from guidance.safety.limits import load_limits
from guidance.settings import parse_settings
from guidance.units import ms

ROOM: dict[str, Any] = {
    "room": "test",
    "procedure": "test",
    "links": [
        {"id": "tracker", "kind": "openigtlink", "role": "tracker"},
        {"id": "mr", "kind": "openigtlink", "role": "imaging"},
        {"id": "therapy", "kind": "openigtlink", "role": "therapy"},
        {"id": "console", "kind": "openigtlink", "mode": "listen", "role": "console"},
    ],
    "streams": [
        {"name": "Needle", "source": "NeedleToTracker", "link": "tracker", "kind": "pose", "period_ms": 10},
        {"name": "MR", "link": "mr", "kind": "thermometry", "period_ms": 200},
    ],
    "tools": [{"name": "Needle", "stream": "Needle"}],
    "space": {"static": [{"moving": "Tracker", "fixed": "RAS", "fixed_from_moving": np.eye(4).tolist()}]},
    "thermometry": {"stream": "MR", "echo_time_s": 0.016, "field_t": 3.0, "t0_c": 37.0},
    "therapy": {"link": "therapy", "power_w": 50},
    "outputs": [
        {"kind": "guided_pose", "to": ["console"]},
        {"kind": "alert", "to": ["console"]},
        {"kind": "overlay", "to": ["console"]},
    ],
}


class Bench:
    """A core with a clock in hand: `step` lets time pass with ticks, `say` lets a device speak."""

    def __init__(self, room: dict[str, Any] | None = None) -> None:
        self.core = Core(parse_settings(room or ROOM, "test"), None, load_limits(config_file("safety", "limits")))
        self.now_ns = 1_000_000_000_000
        self.seen: list[Effect] = []
        self.obeys = True  # the therapy device confirms every STOP
        self._moved = 0.0
        for link in ("tracker", "mr", "therapy", "console"):
            self.give(LinkChange(now_ns=self.now_ns, link=link, up=True))

    def give(self, event: Any) -> list[Effect]:
        effects = self.core.accept(event)
        self.seen += effects
        for effect in effects if self.obeys else ():
            if isinstance(effect, Send) and isinstance(effect.message, Command) and effect.message.verb == "STOP":
                self.say(effect.link, self.confirms(effect.message))
        return effects

    def confirms(self, stop: Command, done: bool = True) -> Acknowledgement:
        """The device's answer to a STOP."""
        return Acknowledgement(name=stop.name, command_id=stop.command_id, verb="STOP", done=done)

    def step(self, milliseconds: float, pose: bool = True, image: bool = True, heat_c: float = 37.0) -> None:
        """Let time pass in ticks of 10 ms with a healthy tracker and, each 200 ms, a temperature result."""
        for _ in range(round(milliseconds / 10)):
            self.now_ns += ms(10)
            if pose:
                self.say("tracker", self.pose())
            if image and (self.now_ns // ms(10)) % 20 == 0:
                self.frame(heat_c)
            self.give(Tick(now_ns=self.now_ns, wall_ns=self.now_ns))

    def say(self, link: str, message: AnyMessage) -> list[Effect]:
        return self.give(Arrival(now_ns=self.now_ns, link=link, message=message))

    def pose(self, quality: Quality = Quality.OK, matrix: Any = None) -> Pose:
        self._moved += 0.01
        given = np.eye(4) if matrix is None else np.asarray(matrix, float)
        if matrix is None:
            given[0, 3] = self._moved
        return Pose(
            name="NeedleToTracker",
            moving="Needle",
            fixed="Tracker",
            fixed_from_moving=given,
            quality=quality,
            device_time_ns=self.now_ns,
            receive_time_ns=self.now_ns,
        )

    def frame(self, heat_c: float = 37.0, **facts: Any) -> list[Effect]:
        """An MR image and the lane's answer to it."""
        image = Image(
            name="MR",
            pixels=np.ones((1, 4, 4), np.complex64),
            frame="RAS",
            frame_from_image_mm=np.eye(4),
            device_time_ns=self.now_ns,
            receive_time_ns=self.now_ns,
        )
        jobs = [e for e in self.say("mr", image) if isinstance(e, Job) and e.kind == "thermometry"]
        answer = {"state": "ok", "valid_share": 1.0, "max_c": heat_c} | facts
        return self.give(
            JobDone(now_ns=self.now_ns, job=jobs[0].number, lane="guard", kind="thermometry", facts=answer)
        )

    def act(self, verb: str, values: dict[str, float] | None = None, reason: str = "") -> Any:
        """A console's command; its acknowledgement. START repeats what was shown unless told otherwise."""
        given = self.core.treatment.shown() if values is None and verb == "START" else values or {}
        command = Command(name="desk", command_id=1, verb=verb, values=given, reason=reason, device_time_ns=self.now_ns)
        sends = self.say("console", command)
        return next(
            e.message for e in sends if isinstance(e, Send) and e.link == "console" and e.message.name == "desk"
        )

    def sent(self, kind: type, link: str | None = None) -> list[Any]:
        """Messages of a type sent so far."""
        sends = [e for e in self.seen if isinstance(e, Send)]
        return [e.message for e in sends if isinstance(e.message, kind) and link in (None, e.link)]


@pytest.fixture
def bench() -> Bench:
    return Bench()


@pytest.fixture
def plain_room() -> dict[str, Any]:
    """Settings of the room, to be added to."""
    return dict(ROOM)


@pytest.fixture
def make_bench() -> type[Bench]:
    """A room of other settings."""
    return Bench


@pytest.fixture
def treating(bench: Bench) -> Bench:
    """A room in the middle of a treatment."""
    bench.step(500)
    for verb in ("RESET", "ARM", "START"):
        answer = bench.act(verb)
        assert answer.done, answer.text
    bench.step(200)
    return bench


Give = Callable[..., Bench]
