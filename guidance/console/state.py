"""What every page is told ten times a second: the room now, as JSON, made once for all pages."""

from collections import deque
from collections.abc import Sequence
from typing import Any

import msgspec

from devices.messages import GuidedPose
from devices.openigtlink.link import OpenIGTLinkLink
from guidance.console.lease import digest
from guidance.console.numbers import Numbers
from guidance.console.records import records
from guidance.console.sources import Sources
from guidance.console.steps import missing, not_live
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
        self.numbers = Numbers(room, sources.regions, self._tools)
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
            self.history.append(self.numbers.sample(event.now_ns))
        if not isinstance(event, (Tick, JobDone, Act)):
            return
        core = self._room.core
        told = (core.treatment.phase, *((alarm.id, alarm.state) for alarm in core.judge.shown()))
        if told != self._told:
            self._told = told
            self.changes += 1
            for listener in self._sources.listeners:
                listener.set()

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
        treated = treated or bool(core.cryo.facts.get("lethal_covered"))
        links = {name: self._link(name, row) for name, row in self._links.items()}
        return {
            "now_ns": now_ns,
            "phase": core.treatment.phase.value,
            "phase_since_ns": core.treatment.phase_since_ns,
            "alarms": [self._alarm(alarm) for alarm in shown],
            "standing": [self._alarm(alarm) for alarm in core.judge.refusing() if not alarm.shown],
            "digest": self.alarms_digest,
            "numbers": self.numbers.rows(now_ns),
            "tools": {
                name: {
                    "quality": pose.quality.value,
                    "values": pose.values,
                    "ras_from_tool": pose.ras_from_tool.tolist(),
                    "way": core.poses.targeting.trajectory(name),
                    "age_ms": (now_ns - pose.device_time_ns) / 1e6,
                }
                for name, pose in self._tools.items()
            },
            "not_live": not_live(core, now_ns),
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
            "records": records(core),
            "steps": missing(core, now_ns, links, treated),
            "gate": self._gate(),
            "power": core.treatment.shown().get("power_w"),
            "points": [
                {"name": p.name, "ras": p.at_mm, "radius_mm": p.radius_mm, "limit_c": p.limit_c, "by": p.actor}
                for p in core.places.points.values()
            ],
            "sample": self.history[-1] if self.history else {"t_ms": 0},
        }

    def _gate(self) -> dict[str, Any] | None:
        """Whether the gate lets the beam on, and why; None where nothing is gated."""
        core = self._room.core
        if core.settings.gating is None or core.motion.gate is None:
            return None
        return {"open": core.motion.gate.beam_on, "reason": core.motion.gate.reason.value}

    def _link(self, name: str, row: dict[str, Any]) -> dict[str, Any]:
        """A link's row; OpenIGTLink links say themselves who is there."""
        link = self._room.links.get(name)
        if not isinstance(link, OpenIGTLinkLink):
            return row
        peers = len(link.peers)
        return {**row, "peers": peers, "up": True if peers else (None if row["up"] is None else False)}

    def _alarm(self, alarm: Alarm) -> dict[str, Any]:
        rule = alarm.rule
        return {
            "id": alarm.id,
            "rule": rule.id,
            "priority": alarm.priority.value,
            "kind": rule.kind.value,
            "state": alarm.state.value,
            "text": alarm.text,
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
