"""Consumers that check what they receive: a console, a robot's or a colleague's viewer.

They count faults (time going backwards, evidence missing, stale shown as live, values that are
not finite, poses that are not rigid) and measure how long a datum took from the device that sent
it. Once a period the findings go back to the service as `Text` named `ConsumerReport`.
"""

import json
from collections import Counter
from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np

from devices.messages import Acknowledgement, Alert, AnyMessage, Command, GuidedPose, Metrics, Overlay, Text
from devices.peer import NEVER_NS
from devices.quality import Quality
from sim.latency import Latencies, SendLog
from sim.phantom.world import World

_KIND = {GuidedPose: "pose", Overlay: "image"}
_MADE = (GuidedPose, Overlay, Metrics)


class ActRow(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An act of the simulated operator, `after_s` after the one before was done (the first: after contact)."""

    verb: str
    after_s: float = 1.0
    name: str = ""  # what it is about: a tool, a landmark
    values: dict[str, float] = {}


class Operator:
    """Carries out a list of acts through the console, asking again every second until each is done."""

    AGAIN_NS = 1_000_000_000

    def __init__(self, acts: Sequence[dict[str, Any]], device: str = "Console") -> None:
        self._acts = [msgspec.convert(row, ActRow, strict=False) for row in acts]
        self._device = device
        self._asked = 0
        self._due_ns = NEVER_NS
        self._shown: dict[str, float] = {}  # what the first of two steps showed, to be repeated with the second
        self.refused: Counter[str] = Counter()
        self.done: list[tuple[int, str]] = []

    def contact(self, now_ns: int) -> None:
        """The service was heard of: begin."""
        if self._due_ns == NEVER_NS and self._acts and not self._asked:
            self._due_ns = now_ns + round(self._acts[0].after_s * 1e9)

    def next_due_ns(self) -> int:
        """When the operator acts next."""
        return self._due_ns

    def advance(self, now_ns: int) -> list[AnyMessage]:
        """The act that is due."""
        if now_ns < self._due_ns:
            return []
        self._due_ns = now_ns + self.AGAIN_NS
        self._asked += 1
        act = self._acts[0]
        values = self._shown | act.values
        return [
            Command(
                name=self._device, device_time_ns=now_ns, command_id=self._asked, verb=act.verb, values=values,
                reason=act.name,
            )
        ]  # fmt: skip

    def hear(self, answer: Acknowledgement, now_ns: int) -> None:
        """Go on to the next act, or note why not."""
        if not self._acts or answer.verb != self._acts[0].verb or answer.command_id != self._asked:
            return
        if not answer.done:
            self.refused[f"{answer.verb}: {answer.text}"] += 1
            return
        pairs = (pair.partition("=") for pair in answer.text.split("; "))
        self._shown = {name: float(value) for name, found, value in pairs if found}
        self.done.append((now_ns, answer.verb))
        self._acts.pop(0)
        self._due_ns = now_ns + round(self._acts[0].after_s * 1e9) if self._acts else NEVER_NS


class Console:
    """Checks guided poses, overlays, metrics and alerts; `stale_ms` is the age that is not live any more.

    `acts` is what the simulated operator does at it, in step with the hands of `world`. What came is checked a little
    later, in the pause between two sets of poses: the check of one must not make the next look late.
    """

    CHECK_AFTER_NS = 3_000_000

    def __init__(
        self,
        *,
        name: str,
        sends: SendLog,
        start_ns: int,
        world: World | None = None,
        report_s: float = 1.0,
        stale_ms: float = 400.0,
        acts: Sequence[dict[str, Any]] = (),
    ) -> None:
        self.name = name
        self.operator = Operator(acts)
        self._world = world if acts else None
        if self._world is not None:
            self._world.operator_waits()
        self.received: Counter[str] = Counter()
        self.faults: Counter[str] = Counter()
        self.latencies = {kind: Latencies() for kind in ("pose", "image")}
        self.alerts: dict[str, Alert] = {}
        self._sends = sends
        self._stale_ns = round(stale_ms * 1e6)
        self._period_ns = round(report_s * 1e9)
        self._due_ns = start_ns + self._period_ns
        self._newest: dict[tuple[str, str], int] = {}
        self._unchecked: list[tuple[GuidedPose | Overlay | Metrics, int]] = []

    def next_due_ns(self) -> int:
        """When the next report leaves, the operator acts, or what came is to be checked."""
        check_ns = self._unchecked[0][1] + self.CHECK_AFTER_NS if self._unchecked else NEVER_NS
        return min(self._due_ns, check_ns, self.operator.next_due_ns())

    def advance(self, now_ns: int) -> list[AnyMessage]:
        """The operator's act; the report, once a period."""
        self._check_waiting()
        said = self.operator.advance(now_ns)
        if now_ns >= self._due_ns:
            self._due_ns = now_ns + self._period_ns
            said.append(Text(name="ConsumerReport", device_time_ns=now_ns, text=json.dumps(self.report())))
        return said

    def report(self) -> dict[str, object]:
        """Latencies in ms by kind, faults and counts so far."""
        self._check_waiting()
        found: dict[str, object] = {kind: values.summary() for kind, values in self.latencies.items()}
        acts = {"done": [verb for _, verb in self.operator.done], "refused": dict(self.operator.refused)}
        return found | {"faults": dict(self.faults), "received": dict(self.received), "acts": acts}

    def accept(self, message: AnyMessage, now_ns: int) -> None:
        """Check one message that arrived at `now_ns`."""
        kind = type(message).__name__
        self.received[kind] += 1
        self.operator.contact(now_ns)
        if self._world is not None:
            self._world.operator_begins(now_ns)
        if isinstance(message, Acknowledgement):
            self.operator.hear(message, now_ns)
        if isinstance(message, Alert):
            self._check_alert(message)
        if isinstance(message, _MADE):
            self._unchecked.append((message, now_ns))

    def _check_waiting(self) -> None:
        unchecked, self._unchecked = self._unchecked, []
        for message, came_ns in unchecked:
            self._check_evidence(message, came_ns)
            if isinstance(message, GuidedPose):
                self._check_pose(message)
            if not isinstance(message, Overlay) and not np.all(np.isfinite(list(message.values.values()))):
                self.faults["not_finite"] += 1

    def _check_alert(self, alert: Alert) -> None:
        known = self.alerts.get(alert.name)
        if known is not None and alert.sequence < known.sequence:
            self.faults["alert_backwards"] += 1
            return
        self.alerts[alert.name] = alert

    def _check_pose(self, guided: GuidedPose) -> None:
        rotation = guided.ras_from_tool[:3, :3]
        if not np.all(np.isfinite(guided.ras_from_tool)):
            self.faults["not_finite"] += 1
        elif np.abs(rotation @ rotation.T - np.eye(3)).max() > 1e-3 or np.linalg.det(rotation) < 0:
            self.faults["not_rigid"] += 1

    def _check_evidence(self, message: GuidedPose | Overlay | Metrics, now_ns: int) -> None:
        device_times = {key: ns for key, ns in message.evidence.items() if key.endswith(".device_ns")}
        if not message.evidence:
            self.faults["evidence_missing"] += 1
            return
        kind = _KIND.get(type(message))
        for stream, device_ns in device_times.items():
            key = (f"{type(message).__name__}/{message.name}", stream)
            if device_ns < self._newest.get(key, 0):
                self.faults["time_backwards"] += 1
            self._newest[key] = device_ns
        if kind is None:
            return
        known = (
            self._sends.sent_ns(kind, device_ns, stream.removesuffix(".device_ns"))
            for stream, device_ns in device_times.items()
        )
        sent = [ns for ns in known if ns]
        if not sent:
            return
        self.latencies[kind].add((now_ns - max(sent)) / 1e6)
        if message.quality is Quality.OK and now_ns - min(sent) > self._stale_ns:
            self.faults["stale_shown_as_live"] += 1
