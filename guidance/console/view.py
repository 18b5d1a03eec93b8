"""What the page is told: a plain picture of the room, made from the core's own state."""

from collections.abc import Iterator, Sequence
from typing import Any

import cv2

from devices.messages import GuidedPose, Overlay
from guidance.events import AnyEvent, Effect, Send
from guidance.service.room import Room

JPEG_QUALITY = 85


class View:
    """A watcher of the room that keeps the newest of everything."""

    def __init__(self, room: Room) -> None:
        self._room = room
        self._overlays: dict[str, Overlay] = {}
        self._numbers: dict[str, int] = {}
        self._jpegs: dict[str, tuple[int, bytes]] = {}
        self._poses: dict[str, GuidedPose] = {}
        room.watchers.append(self._see)

    def _see(self, event: AnyEvent, effects: Sequence[Effect]) -> None:
        for effect in effects:
            if isinstance(effect, Send):
                message = effect.message
                if isinstance(message, Overlay) and self._overlays.get(message.view) is not message:
                    self._overlays[message.view] = message
                    self._numbers[message.view] = self._numbers.get(message.view, 0) + 1
                elif isinstance(message, GuidedPose):
                    self._poses[message.tool] = message

    def pictures(self) -> Iterator[tuple[str, int, bytes]]:
        """Newest picture of each view as JPEG with its number; encoded once for all pages."""
        for name, overlay in self._overlays.items():
            number = self._numbers[name]
            if self._jpegs.get(name, (0, b""))[0] != number:
                bgr = cv2.cvtColor(overlay.rgba, cv2.COLOR_RGBA2BGR)
                _, data = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
                self._jpegs[name] = (number, data.tobytes())
            yield name, *self._jpegs[name]

    def state(self) -> dict[str, Any]:
        """The room now, as JSON values; ages in ms."""
        core, now_ns = self._room.core, self._room.clock.now_ns()
        return {
            "now_ns": now_ns,
            "room": core.settings.room,
            "title": core.settings.title or core.settings.procedure,
            "training": core.settings.training,
            "plan": core.plan.content_sha256[:8] if core.plan else "",
            "phase": core.treatment.phase.value,
            "streams": {
                name: {
                    "age_ms": round(state.age_ms(now_ns), 1) if state.received else None,
                    "live": state.is_live(now_ns),
                    "received": state.received,
                    "dropped": state.dropped,
                    "rejected": state.rejected,
                }
                for name, state in core.streams.items()
            },
            "views": {name: round((now_ns - row.device_time_ns) / 1e6, 1) for name, row in self._overlays.items()},
            "alarms": [
                {
                    "id": alarm.id,
                    "priority": alarm.rule.priority.value,
                    "state": alarm.state.value,
                    "text": alarm.rule.hazard
                    if alarm.value is None
                    else alarm.rule.text.format(subject=alarm.subject, value=alarm.value, limit=alarm.limit),
                    "advice": alarm.rule.advice,
                    "first_ns": alarm.first_ns,
                }
                for alarm in core.judge.shown()
            ],
            "thermometry": core.thermometry.facts,
            "tools": {
                name: {"quality": pose.quality.value, "values": pose.values, "tip": pose.ras_from_tool[:3, 3].tolist()}
                for name, pose in self._poses.items()
            },
            "readings": core.devices.readings,
        }
