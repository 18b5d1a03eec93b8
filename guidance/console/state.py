"""What every page is told ten times a second: the room now, as JSON, made once for all pages."""

from collections import deque
from collections.abc import Sequence
from typing import Any

import msgspec

from devices.messages import GuidedPose
from devices.openigtlink.link import OpenIGTLinkLink
from guidance.console.lease import digest
from guidance.console.sources import Sources
from guidance.console.steps import missing
from guidance.events import Act, AnyEvent, Effect, JobDone, LinkChange, Loss, Send, Tick
from guidance.safety.alarms import Alarm, AlarmState
from guidance.safety.rules import Reaction
from guidance.service.room import Room

KEPT_S = 120.0
HISTORY_NS = 200_000_000
_DONE = {
    Reaction.WARN: "told, nothing switched",
    Reaction.BLOCK: "arming blocked",
    Reaction.HOLD: "energy held off",
    Reaction.STOP: "STOP sent",
}


class State:
    """A watcher that remembers what a page that opens late needs: tools, links, the last two minutes of numbers."""

    def __init__(self, room: Room, sources: Sources) -> None:
        self._room = room
        self._sources = sources
        self._tools: dict[str, GuidedPose] = {}
        self._links: dict[str, dict[str, Any]] = {
            row.id: {"kind": row.kind, "role": row.role, "up": None, "peers": 0, "error": "", "lost": 0}
            for row in room.core.settings.links
        }
        self.history: deque[dict[str, Any]] = deque(maxlen=round(KEPT_S * 1e9 / HISTORY_NS))
        self._history_ns = 0
        self.alarms_digest = digest(())
        self.changes = 0  # rises with every change of an alarm or of the phase: told at once
        self._told: tuple[object, ...] = ()
        room.watchers.append(self._see)

    # --- watching -------------------------------------------------------------------------------

    def _see(self, event: AnyEvent, effects: Sequence[Effect]) -> None:
        for effect in effects:
            if isinstance(effect, Send) and isinstance(effect.message, GuidedPose):
                self._tools[effect.message.tool] = effect.message
        if isinstance(event, LinkChange) and event.link in self._links:  # the supervisor's line is no link of the room
            row = self._links[event.link]
            row["up"] = event.up
            row["peers"] = max(0, row["peers"] + (1 if event.up else -1))
            row["error"] = row["error"] if event.up else event.reason
        elif isinstance(event, Loss):
            self._links[event.link]["lost"] += event.count
            self._links[event.link]["error"] = event.reason
        elif isinstance(event, Tick) and event.now_ns - self._history_ns >= HISTORY_NS:
            self._history_ns = event.now_ns
            self.history.append(self.sample(event.now_ns))
        if not isinstance(event, (Tick, JobDone, Act)):
            return
        core = self._room.core
        told = (core.treatment.phase, *((alarm.id, alarm.state) for alarm in core.judge.shown()))
        if told != self._told:
            self._told = told
            self.changes += 1
            for listener in self._sources.listeners:
                listener.set()

    def sample(self, now_ns: int) -> dict[str, Any]:
        """One point of the graphs."""
        core = self._room.core
        point: dict[str, Any] = {"t_ms": now_ns // 1_000_000, "phase": core.treatment.phase.value}
        for row in self._numbers(now_ns):
            if row["graph"] and row["value"] is not None:
                point[row["id"]] = row["value"]
        for reading in core.devices.readings.values():
            if "power_w" in reading:
                point["power_w"] = reading["power_w"]
        motion, gate = core.motion.facts, core.motion.gate
        if core.motion.row is not None:
            usable = bool(motion.get("usable"))
            point["motion_mm"] = motion.get("y_mm") if usable else None
            point["predicted_mm"] = motion.get("ahead.y_mm") if usable else None
            point["beam_on"] = bool(gate and gate.beam_on)
        for name, state in core.streams.items():
            point[f"age.{name}"] = state.age_ms(now_ns) if state.received else None
        return point

    # --- telling --------------------------------------------------------------------------------

    def encoded(self, consoles: dict[str, Any]) -> str:
        """The state message."""
        return msgspec.json.encode({"kind": "state", **self.now(), **consoles}).decode()

    def now(self) -> dict[str, Any]:
        """The room now, as JSON values; ages in ms."""
        core, now_ns = self._room.core, self._room.clock.now_ns()
        shown = core.judge.shown()
        self.alarms_digest = digest(f"{alarm.id}={alarm.state.value}" for alarm in shown)
        treated = any(row.get("dose_min", 0.0) >= 1.0 for row in self._sources.regions.numbers.values())
        links = {name: self._link(name, row) for name, row in self._links.items()}
        return {
            "now_ns": now_ns,
            "phase": core.treatment.phase.value,
            "phase_since_ns": core.treatment.phase_since_ns,
            "alarms": [self._alarm(alarm) for alarm in shown],
            "digest": self.alarms_digest,
            "numbers": self._numbers(now_ns),
            "tools": {
                name: {
                    "quality": pose.quality.value,
                    "values": pose.values,
                    "ras_from_tool": pose.ras_from_tool.tolist(),
                    "age_ms": (now_ns - pose.device_time_ns) / 1e6,
                }
                for name, pose in self._tools.items()
            },
            "streams": {
                name: {
                    "age_ms": state.age_ms(now_ns) if state.received else None,
                    "live": state.is_live(now_ns),
                    "received": state.received,
                    "dropped": state.dropped,
                    "rejected": state.rejected,
                    "gap_max_ms": state.gap_max_ns / 1e6,
                }
                for name, state in core.streams.items()
            },
            "pictures": self._sources.ages_ms(now_ns),
            "links": links,
            "readings": core.devices.readings,
            "thermometry": core.thermometry.facts,
            "regions": self._sources.regions.numbers,
            "steps": missing(core, now_ns, links, treated),
            "sample": self.sample(now_ns),
        }

    def _link(self, name: str, row: dict[str, Any]) -> dict[str, Any]:
        """A link's row; OpenIGTLink links say themselves who is there."""
        link = self._room.links.get(name)
        if not isinstance(link, OpenIGTLinkLink):
            return row
        peers = len(link.peers)
        return {**row, "peers": peers, "up": True if peers else (None if row["up"] is None else False)}

    def _alarm(self, alarm: Alarm) -> dict[str, Any]:
        rule = alarm.rule
        known = alarm.value is not None
        return {
            "id": alarm.id,
            "rule": rule.id,
            "priority": alarm.priority.value,
            "kind": rule.kind.value,
            "state": alarm.state.value,
            "text": rule.text.format(subject=alarm.subject, value=alarm.value, limit=alarm.limit)
            if known
            else f"{alarm.subject}: {rule.hazard}, value unknown",
            "done": self._done(alarm),
            "advice": rule.advice,
            "first_ns": alarm.first_ns,
            "acknowledged_by": alarm.acknowledged_by,
        }

    def _done(self, alarm: Alarm) -> str:
        """The reaction and its proof."""
        reaction = alarm.rule.reaction
        text = _DONE[reaction]
        if reaction is not Reaction.STOP:
            return text if alarm.state is not AlarmState.LATCHED else f"{text}; condition gone"
        requests = self._room.core.stops.requests.values()
        waits = [(r.confirmed_ns - r.since_ns) / 1e6 if r.confirmed_ns else None for r in requests]
        if not waits:
            return "in STOPPED" if self._room.core.treatment.phase.value == "STOPPED" else text
        if None in waits:
            return f"{text}, NOT confirmed"
        return f"STOP confirmed after {max(w for w in waits if w is not None):.0f} ms"

    def _numbers(self, now_ns: int) -> list[dict[str, Any]]:
        return [*self._temperatures(now_ns), *self._motion(now_ns), *self._aims(now_ns)]

    def _motion(self, now_ns: int) -> list[dict[str, Any]]:
        core = self._room.core
        row, gate = core.motion.row, core.motion.gate
        if row is None or gate is None:
            return []
        state = core.streams[row.stream]
        age_ms, facts = state.age_ms(now_ns), core.motion.facts
        seen = state.is_live(now_ns) and bool(facts.get("usable"))
        share, x, y = (facts.get(key) if seen else None for key in ("share_outside", "x_mm", "y_mm"))
        percent = 100 * share if isinstance(share, float) else None
        way = (x * x + y * y) ** 0.5 if isinstance(x, float) and isinstance(y, float) else None
        limits, book = gate.settings, gate.book
        return [
            _number("outside", f"{row.target} outside", percent, "%", 0, age_ms,
                    limit=100 * limits.most_outside_share, graph=False),
            _number("moved", f"{row.target} moved", way, "mm", 1, age_ms, limit=limits.centroid_mm, graph=False),
            _number("duty", "duty cycle", 100 * book.duty_cycle if book.frames else None, "%", 0, age_ms, graph=False),
            _number("residual", "residual motion, rms", book.residual_rms_mm, "mm", 1, age_ms, graph=False),
        ]  # fmt: skip

    def _temperatures(self, now_ns: int) -> list[dict[str, Any]]:
        core = self._room.core
        row = core.settings.thermometry
        if row is None:
            return []
        age_ms = core.streams[row.stream].age_ms(now_ns)
        live = core.streams[row.stream].is_live(now_ns)
        facts, rows = core.thermometry.facts, []
        for name, numbers in self._sources.regions.numbers.items():
            shown = numbers if live else {}
            rows.append(_number(f"{name}.max_c", f"T max {name}", shown.get("max_c"), "degC", 1, age_ms))
            rows[-1]["sigma"] = shown.get("sigma_c")
            share = shown.get("treated")
            percent = None if share is None else 100 * share
            rows.append(_number(f"{name}.treated", f"{name} at 240 CEM43", percent, "%", 0, age_ms, graph=False))
        for guard in core.settings.guards:
            limit = guard.limit_c or core.scene.limits["guard_temperature_c"].value
            value = facts.get(f"{guard.structure}.max_c") if live else None
            name = guard.structure
            rows.append(_number(f"{name}.max_c", f"T max {name}", value, "degC", 1, age_ms, limit=limit))
            dose = facts.get(f"{name}.dose_upper_cem43_min") if live else None
            limit_dose = guard.limit_cem43_min
            rows.append(
                _number(f"{name}.dose", f"dose {name}", dose, "CEM43 min", 1, age_ms, limit=limit_dose, graph=False)
            )
        return rows

    def _aims(self, now_ns: int) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = []
        for tool in (row for row in self._room.core.settings.tools if row.role == "tool"):
            pose = self._tools.get(tool.name)
            values = pose.values if pose is not None and pose.quality.usable else {}
            if pose is None or (values and "lateral_mm" not in values):
                continue
            age_ms = (now_ns - pose.device_time_ns) / 1e6
            for key, word, unit in _AIMS:
                rows.append(
                    _number(f"{tool.name}.{key}", f"{tool.name} {word}", values.get(key), unit, 1, age_ms, graph=False)
                )
            break
        return rows


_AIMS = (("lateral_mm", "lateral", "mm"), ("depth_to_go_mm", "to go", "mm"), ("angle_deg", "angle", "deg"))


def _number(
    key: str,
    name: str,
    value: Any,
    unit: str,
    digits: int,
    age_ms: float,
    *,
    limit: float | None = None,
    graph: bool = True,
) -> dict[str, Any]:
    return {
        "id": key,
        "name": name,
        "value": value,
        "unit": unit,
        "digits": digits,
        "age_ms": age_ms,
        "limit": limit,
        "sigma": None,
        "graph": graph,
    }
