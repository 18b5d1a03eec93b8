"""The scene: what all desks share. State only; who changes what is each desk's business."""

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from devices.messages import Acknowledgement, AnyMessage, Image, Matrix, Outlines
from devices.quality import Quality
from guidance.events import Act, Effect, Job, JobDone, Send
from guidance.navigation.tracking import Tracking
from guidance.outputs.routes import Routes
from guidance.plan import Plan, Shape
from guidance.safety.facts import Facts
from guidance.safety.limits import Limits
from guidance.settings import IMAGES, RoomSettings
from guidance.timing.streams import StreamState
from guidance.units import ms

Answer = tuple[tuple[str, ...], list[Effect]]  # why an act was refused (none: it was done), and what follows
ActHandler = Callable[[Act], Answer]


class Desk:
    """One part of the core: the stream kinds and job kinds that it takes, and what it does with them."""

    kinds: frozenset[str] = frozenset()  # kinds of streams whose messages come here
    takes: tuple[type[AnyMessage], ...] = ()  # what such streams consist of; nothing else is a sign of life
    jobs: frozenset[str] = frozenset()  # kinds of jobs whose results come here
    judged: tuple[str, ...] = ()  # facts that a message or a result changes and that cannot wait for the next tick

    @property
    def verbs(self) -> dict[str, ActHandler]:
        """Acts of operators that this desk carries out itself; all others move the treatment."""
        return {}

    def take(self, state: StreamState, message: AnyMessage, now_ns: int) -> Iterable[Effect]:
        """One message of a stream, already counted."""
        return ()

    def done(self, result: JobDone, told: dict[str, int]) -> Iterable[Effect]:
        """One finished job with the evidence it was made from; failed ones too."""
        return ()

    def heard(self, answer: Acknowledgement, now_ns: int) -> None:
        """A device's answer to a command."""

    def measure(self, now_ns: int) -> None:
        """Facts that change with time alone, once a tick."""

    def tick(self, now_ns: int) -> Iterable[Effect]:
        """What time alone makes it say or ask."""
        return ()


class Scene:
    """Settings, plan, streams, facts, routes and tracking of one room; the newest volume; numbering of jobs."""

    def __init__(self, settings: RoomSettings, plan: Plan | None, limits: Limits) -> None:
        self.settings = settings
        self.plan = plan
        self.limits = limits
        self.streams = {row.name: StreamState(row) for row in settings.streams}
        self.facts = Facts()
        self.routes = Routes(settings)
        self.tracking = Tracking(settings, limits["pose_repeats"].value)
        self.volume: dict[str, Any] = {}  # newest volume and its maps, by reference
        self.region: dict[str, Any] = {}  # newest maps of the heated target, for the views
        self.volume_evidence: dict[str, int] = {}
        self.wall_ns = 0  # wall time of the newest tick; 0: never told
        self.searched: dict[str, str] = {}  # stream whose pictures are searched, not drawn -> kind of the job
        self.registration_tre_mm: dict[str, float] = {}  # "moving-fixed" -> rms error predicted at the target
        self.pictures: dict[str, Matrix] = {}  # image frame -> geometry of its newest image
        self.zones: list[tuple[Shape, Matrix]] = []  # zones of the plan with `ras_from_planned`: what was treated
        self.volume_number = 0  # rises with every new volume
        self._jobs = 0
        self._told: dict[int, dict[str, int]] = {}

    def sigma_mm(self, tool: str) -> float:
        """Sigma per axis of a tool's tip in RAS: its own and that of its way."""
        return math.hypot(self.tracking.tools[tool].tip_sigma_mm, self.tracking.way_errors(tool)[0])

    def job(self, lane: str, slot: str, kind: str, inputs: dict[str, Any], told: dict[str, int]) -> Job:
        """A numbered job; its evidence is kept until its result comes."""
        self._jobs += 1
        self._told[self._jobs] = told
        return Job(self._jobs, lane, slot, kind, inputs, told)

    def evidence_of(self, result: JobDone) -> dict[str, int]:
        """What a finished job was made from; asked once."""
        return self._told.pop(result.job, {})

    def quality(self, told: dict[str, int], now_ns: int, of_itself: Quality = Quality.OK) -> Quality:
        """`of_itself`, or SUSPECT where what is shown as live was made from `told`, and that is older than its limit.

        Of a picture with tools the picture counts: a tool is shown where it was then.
        """
        known = [(self.streams[name].settings, ns) for name, ns in told.items() if name in self.streams]
        images = [row for row in known if row[0].kind in IMAGES]
        old = any(now_ns - ns > ms(stream.limit_ms) for stream, ns in images or known)
        return Quality.SUSPECT if old and of_itself is Quality.OK else of_itself

    def show_volume(self, volume: dict[str, Any], told: dict[str, int]) -> None:
        """From now on the plane views show this volume."""
        self.volume, self.volume_evidence = {**self.region, **volume}, told
        self.volume_number += 1

    def outlines(self, names: Mapping[str, str], result: JobDone) -> Iterable[Send]:
        """What a lane drew: `names` maps the message's name to the key of its points, counts and number of lines."""
        for name, key in names.items():
            if result.facts.get(f"{key}_lines"):
                points, counts = result.arrays[f"{key}.points"], result.arrays[f"{key}.counts"]
                message = Outlines(
                    name=name, device_time_ns=result.now_ns, frame="RAS", points_mm=points, counts=counts
                )
                yield from self.routes.to("geometry", message)

    def live_tools(self, now_ns: int) -> tuple[dict[str, Matrix], dict[str, int]]:
        """`ras_from_tool` of every tool that may be shown as live, and the poses that this comes from."""
        placed = (self.tracking.place(name, now_ns) for name in self.tracking.tools)
        live = [p for p in placed if p is not None and p.quality is Quality.OK]
        told = {stream: ns for p in live for stream, ns in p.evidence.items()}
        return {p.tool.name: p.ras_from_tool for p in live}, told


def image_evidence(state: StreamState, image: Image) -> dict[str, int]:
    """Receive time (service clock) and device time of an image, under its stream's name."""
    name = state.settings.name
    return {name: image.receive_time_ns, f"{name}.device_ns": image.device_time_ns}
