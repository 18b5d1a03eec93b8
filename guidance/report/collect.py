"""One pass over a recording: what came, what was decided, what was sent."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from devices.messages import Acknowledgement, Command, Pose, Reading
from guidance.events import Act, AnyEvent, Arrival, JobDone, LinkChange, Loss, Tick
from guidance.recording.codec import JobRecord, SendRecord, read_output
from guidance.recording.reader import Recording
from guidance.report.series import Curve, Samples
from guidance.settings import IMAGES

POSE_CURVES = ("target_distance_mm", "lateral_mm", "angle_deg", "depth_to_go_mm")
Row = dict[str, Any]


@dataclass
class StreamRow:
    """What came of one stream. Ages compare the device's own clock with ours, as it stood."""

    name: str
    kind: str
    received: int = 0
    lost: int = 0
    gap_max_ns: int = 0
    last_ns: int = 0
    age: Samples = field(default_factory=Samples)
    quality: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)


@dataclass
class ToolRow:
    """Where one tool was told to be."""

    quality: Counter[str] = field(default_factory=Counter)
    curves: dict[str, Curve] = field(default_factory=dict)
    last: Row = field(default_factory=dict)


@dataclass
class JobRow:
    """How one kind of lane work went. `answer` = from the core's asking to its taking of the result."""

    done: int = 0
    failed: Counter[str] = field(default_factory=Counter)
    answer: Samples = field(default_factory=Samples)
    work: Samples = field(default_factory=Samples)


@dataclass
class Session:
    """Everything that a report tells. Times in ns of service time; -1 = never."""

    header: Row
    first_ns: int = -1
    last_ns: int = -1
    steps: int = 0
    streams: dict[tuple[str, str], StreamRow] = field(default_factory=dict)
    tools: dict[str, ToolRow] = field(default_factory=dict)
    jobs: dict[str, JobRow] = field(default_factory=dict)
    alerts: dict[int, Row] = field(default_factory=dict)  # by sequence
    commands: dict[tuple[str, int, str], Row] = field(default_factory=dict)  # by link, id, verb
    acts: list[Row] = field(default_factory=list)
    links: list[Row] = field(default_factory=list)
    outputs: Counter[str] = field(default_factory=Counter)
    overlay_latency: Samples = field(default_factory=Samples)
    frames: Counter[str] = field(default_factory=Counter)  # state of each thermometry frame
    thermometry: dict[str, Curve] = field(default_factory=dict)
    readings: dict[str, Curve] = field(default_factory=dict)
    complete: bool = True
    cut_bytes: int = 0
    missing: int = 0


def collect(recording: Recording) -> Session:
    """Read the whole recording once. RecordingError where it is malformed."""
    session = Session(header=recording.header)
    collector = _Collector(session)
    for event, outputs in recording.steps():
        collector.step(event, outputs)
    session.complete, session.cut_bytes = recording.complete, recording.cut_bytes
    session.missing = recording.missing
    return session


class _Collector:
    def __init__(self, session: Session) -> None:
        self._session = session
        settings = session.header.get("settings", {})
        self._images = set()
        for row in settings.get("streams", ()):
            name = row["name"]
            session.streams[row["link"], row.get("source") or name] = StreamRow(name, row["kind"])
            if row["kind"] in IMAGES:
                self._images.add(name)
        self._open_acts: dict[tuple[str, int], Row] = {}  # by link and command id
        self._asked: dict[int, int] = {}  # job -> when it was asked for
        self._events: dict[type, Callable[[Any], None]] = {
            Arrival: self._arrival,
            Loss: self._loss,
            JobDone: self._done,
            Act: self._act,
            LinkChange: self._link,
            Tick: lambda event: None,
        }
        self._sent: dict[str, Callable[[int, str, Row], None]] = {
            "acknowledgement": self._answer,
            "alert": self._alert,
            "command": self._command,
            "guided_pose": self._pose,
            "overlay": self._overlay,
        }

    def step(self, event: AnyEvent, outputs: list[bytes]) -> None:
        session = self._session
        session.steps += 1
        session.first_ns = event.now_ns if session.first_ns < 0 else session.first_ns
        session.last_ns = event.now_ns
        self._events[type(event)](event)
        for record in outputs:
            row = read_output(record)
            if isinstance(row, SendRecord):
                self._send(event.now_ns, row)
            else:
                self._job(event.now_ns, row)

    def _stream(self, link: str, name: str) -> StreamRow:
        return self._session.streams.setdefault((link, name), StreamRow(name, "not configured"))

    def _arrival(self, event: Arrival) -> None:
        message = event.message
        if isinstance(message, Acknowledgement):
            self._acknowledged(event, message)
        if isinstance(message, Command):
            self._asked_for(event, message)
        row = self._stream(event.link, message.name)
        row.received += 1
        if row.last_ns:
            row.gap_max_ns = max(row.gap_max_ns, event.now_ns - row.last_ns)
        row.last_ns = event.now_ns
        if message.device_time_ns:
            row.age.add(event.now_ns - message.device_time_ns)
        if isinstance(message, Pose):
            row.quality[message.quality.value] += 1
        if isinstance(message, Reading):
            for name, value in message.values.items():
                self._session.readings.setdefault(f"{message.name}.{name}", Curve()).add(event.now_ns, value)

    def _acknowledged(self, event: Arrival, message: Acknowledgement) -> None:
        key = (event.link, message.command_id, message.verb)
        if (row := self._session.commands.get(key)) is not None:
            row["answers"] += 1
            if message.done and row["confirmed_ns"] < 0:
                row["confirmed_ns"] = event.now_ns

    def _loss(self, event: Loss) -> None:
        row = self._stream(event.link, event.stream)
        row.lost += event.count
        row.reasons[event.reason] += event.count

    def _done(self, event: JobDone) -> None:
        row = self._session.jobs.setdefault(event.kind, JobRow())
        asked_ns = self._asked.pop(event.job, None)
        if event.failed:
            row.failed[event.failed] += 1
            return
        row.done += 1
        if asked_ns is not None:
            row.answer.add(event.now_ns - asked_ns)
        if event.started_ns:
            row.work.add(event.now_ns - event.started_ns)
        if event.kind == "thermometry":
            self._session.frames[str(event.facts.get("state", "unknown"))] += 1
            for name, value in event.facts.items():
                if isinstance(value, int | float) and not isinstance(value, bool):
                    self._session.thermometry.setdefault(name, Curve()).add(event.now_ns, value)

    def _act(self, event: Act) -> None:
        act = {"ns": event.now_ns, "verb": event.verb, "actor": event.actor, "values": dict(event.values)}
        self._session.acts.append(act | {"outcome": ""})

    def _asked_for(self, event: Arrival, message: Command) -> None:
        act = {"ns": event.now_ns, "verb": message.verb, "actor": f"{event.link}: {message.name}"}
        self._session.acts.append(act | {"values": message.values, "outcome": "no answer"})
        self._open_acts[event.link, message.command_id] = self._session.acts[-1]

    def _answer(self, now_ns: int, link: str, message: Row) -> None:
        act = self._open_acts.pop((link, message["command_id"]), None)
        if act is not None:
            act["outcome"] = "done" if message["done"] else f"refused: {message['text']}"

    def _link(self, event: LinkChange) -> None:
        self._session.links.append(
            {"ns": event.now_ns, "link": event.link, "up": event.up, "peer": event.peer, "reason": event.reason}
        )

    def _job(self, now_ns: int, row: JobRecord) -> None:
        self._asked[row.number] = now_ns

    def _send(self, now_ns: int, row: SendRecord) -> None:
        message = row.message
        kind = str(message.get("type", "unknown"))
        self._session.outputs[kind] += 1
        handler = self._sent.get(kind)
        if handler is not None and "digest" not in message:
            handler(now_ns, row.link, message)

    def _alert(self, now_ns: int, link: str, message: Row) -> None:
        row = self._session.alerts.setdefault(message["sequence"], {**message, "ns": now_ns, "links": []})
        row["links"].append(link)

    def _command(self, now_ns: int, link: str, message: Row) -> None:
        key = (link, message["command_id"], message["verb"])
        new = {"ns": now_ns, "link": link, "sent": 0, "answers": 0, "confirmed_ns": -1}
        row = self._session.commands.setdefault(key, new | {k: message[k] for k in ("verb", "values", "reason")})
        row["sent"] += 1

    def _pose(self, now_ns: int, link: str, message: Row) -> None:
        row = self._session.tools.setdefault(message["tool"], ToolRow())
        if row.last.get("ns") == now_ns:
            return  # the same pose on another link
        row.quality[message["quality"]] += 1
        for name in POSE_CURVES:
            if name in message["values"]:
                row.curves.setdefault(name, Curve()).add(now_ns, message["values"][name])
        row.last = {"ns": now_ns, "ras_from_tool": message["ras_from_tool"], "values": message["values"]}

    def _overlay(self, now_ns: int, link: str, message: Row) -> None:
        received = [ns for stream, ns in message["evidence"].items() if stream in self._images]
        if received:
            self._session.overlay_latency.add(now_ns - max(received))
