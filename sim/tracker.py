"""A simulated tracker: tools at a fixed rate with jitter, dropouts and INVALID when hidden.

A hidden tool keeps its last pose or sends the identity, always with quality INVALID, as NDI
and PLUS do. Names follow PLUS: a tool `Needle` is sent as `NeedleToTracker`.
"""

from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np

from devices.messages import AnyMessage, Pose
from devices.quality import Quality
from sim.phantom.world import World
from sim.space import Matrix, inverse, matrix
from sim.tools import ToolMotion, ToolSettings, jittered


class Tracker:
    """Sends every tool once a period, stamped with the tracker's own clock at the time of measurement.

    `latency_ms` lies between measurement and sending; `tracker_from_ras` is the true registration;
    `hidden_pose` is `last` or `identity`; `clock_offset_ms` is how far its clock is from ours.
    """

    def __init__(
        self,
        *,
        name: str,
        world: World,
        rng: np.random.Generator,
        start_ns: int,
        tools: Sequence[dict[str, Any]],
        rate_hz: float = 100.0,
        latency_ms: float = 5.0,
        clock_offset_ms: float = 0.0,
        send_jitter_ms: float = 0.0,
        hidden_pose: str = "last",
        tracker_from_ras: Sequence[Sequence[float]] = ((1, 0, 0, 0), (0, 1, 0, 0), (0, 0, 1, 0), (0, 0, 0, 1)),
    ) -> None:
        self.name = name
        self.tracker_from_ras: Matrix = matrix(tracker_from_ras)
        seeds = rng.integers(0, 2**31, len(tools))
        rows = [msgspec.convert(row, ToolSettings, strict=False) for row in tools]
        self.tools = {row.name: ToolMotion(row, world, int(seed)) for row, seed in zip(rows, seeds, strict=True)}
        if hidden_pose not in ("last", "identity"):
            raise ValueError(f"hidden_pose is 'last' or 'identity', not {hidden_pose!r}")
        self._rng = rng
        self._period_ns = round(1e9 / rate_hz)
        self._latency_ns = round(latency_ms * 1e6)
        self._offset_ns = round(clock_offset_ms * 1e6)
        self._send_jitter_ns = round(send_jitter_ms * 1e6)
        self._identity_when_hidden = hidden_pose == "identity"
        self._start_ns = start_ns
        self._number = 0
        self._last: dict[str, Matrix] = {}
        self._due_ns = self._next_due()

    @property
    def ras_from_tracker(self) -> Matrix:
        """The true registration the other way."""
        return inverse(self.tracker_from_ras)

    def measured_ns(self, device_time_ns: int) -> int:
        """Service time at which a pose with this stamp was measured."""
        return device_time_ns - self._offset_ns

    def next_due_ns(self) -> int:
        """When the next set of poses leaves."""
        return self._due_ns

    def advance(self, now_ns: int) -> list[AnyMessage]:
        """All poses due by `now_ns`, oldest first."""
        said: list[AnyMessage] = []
        while self._due_ns <= now_ns:
            measured_ns = self._start_ns + self._number * self._period_ns
            said += [self._sample(name, measured_ns) for name in self.tools]
            self._number += 1
            self._due_ns = self._next_due()
        return said

    def accept(self, message: AnyMessage, now_ns: int) -> None:
        """A tracker takes no orders."""

    def _next_due(self) -> int:
        late = int(self._rng.uniform(0, self._send_jitter_ns)) if self._send_jitter_ns else 0
        return self._start_ns + self._number * self._period_ns + self._latency_ns + late

    def _sample(self, name: str, measured_ns: int) -> Pose:
        motion = self.tools[name]
        tool = motion.settings
        t_s = (measured_ns - self._start_ns) / 1e9
        hidden = any(begin <= t_s < end for begin, end in tool.hidden_s)
        if hidden or (tool.dropout > 0 and self._rng.random() < tool.dropout):
            seen = np.eye(4) if self._identity_when_hidden else self._last.get(name, np.eye(4))
            quality = Quality.INVALID
        else:
            seen = jittered(self.tracker_from_ras @ motion.ras_from_tool(measured_ns), tool, self._rng)
            quality = Quality.OK
            self._last[name] = seen
        return Pose(
            name=f"{name}ToTracker",
            device_time_ns=measured_ns + self._offset_ns,
            moving=name,
            fixed="Tracker",
            fixed_from_moving=seen,
            quality=quality,
            number=self._number,
        )
