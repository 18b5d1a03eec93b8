"""The summary of a session: one JSON object that people and programs read."""

import json
from pathlib import Path
from typing import Any

from devices.messages import Alert
from guidance.events import AnyEvent, Send, Tick
from guidance.service.histogram import Histogram
from guidance.service.room import Room

REPORT = "ConsumerReport"  # text in which a consumer says how long data took to reach it


class Logbook:
    """A watcher that keeps what the summary needs: alerts, ages and the extremes of thermometry."""

    def __init__(self, room: Room) -> None:
        self._room = room
        self.alerts: dict[str, dict[str, Any]] = {}
        self.ages = {name: Histogram() for name in room.core.streams}
        self.extremes: dict[str, float] = {}
        room.watchers.append(self)

    def __call__(self, event: AnyEvent, effects: Any) -> None:
        """See one step."""
        if isinstance(event, Tick):
            for name, state in self._room.core.streams.items():
                if state.received:
                    self.ages[name].add(event.now_ns - state.last_ns)
        for effect in effects:
            if isinstance(effect, Send) and isinstance(effect.message, Alert):
                self._alert(effect.message)
        for key, name in (("max_c", "max_temperature_c"), ("max_cem43_min", "max_cem43_min")):
            value = self._room.core.thermometry.facts.get(key)
            if isinstance(value, float):
                self.extremes[name] = max(value, self.extremes.get(name, value))

    def _alert(self, alert: Alert) -> None:
        row = self.alerts.setdefault(
            alert.name,
            {"id": alert.name, "priority": alert.priority.value, "kind": alert.kind.value, "first_ns": alert.first_ns},
        )
        row["acknowledged"] = bool(row.get("acknowledged")) or alert.state == "acknowledged"
        row["state"], row["text"] = alert.state, alert.text


def summarise(room: Room, book: Logbook, duration_s: float) -> dict[str, Any]:
    """Everything that DESIGN promises of a summary, as JSON values."""
    core, meter = room.core, room.meter
    core_facts = core.thermometry.facts
    return {
        "room": core.settings.room,
        "procedure": core.settings.procedure,
        "duration_s": round(duration_s, 3),
        "streams": {
            name: {
                "received": state.received,
                "dropped": state.dropped,
                "rejected": state.rejected,
                "gap_max_ms": round(state.gap_max_ns / 1e6, 3),
                "age_p99_ms": book.ages[name].percentile_ms(0.99),
            }
            for name, state in core.streams.items()
        },
        "latency_ms": {kind: histogram.summary() for kind, histogram in meter.latency.items()},
        "device_to_consumer_ms": _device_to_consumer(room),
        "loop_late_ms": meter.loop_late.summary(),
        "priority": "raised" if room.hastened else "not permitted: poses may wait for other programs",
        "processors": "kept awake" if room.awake else "may sleep: what follows a pause takes longer",
        "lanes": {
            name: {"done": lane.finished, "replaced": lane.replaced, "busy_s": round(lane.busy_ns / 1e9, 3)}
            for name, lane in room.lanes.items()
        },
        "alerts": list(book.alerts.values()),
        "outputs": dict(meter.outputs),
        "phase": core.treatment.phase.value,
        "unlisted": {f"{link}/{name}": count for (link, name), count in core.unlisted.items()},
        **({"thermometry": {**book.extremes, "state": core_facts.get("state")}} if core_facts else {}),
        **({"motion": core.motion.summary()} if core.motion.row else {}),
        **({"recording": str(room.recorder.path.resolve())} if room.recorder else {}),
    }


def _device_to_consumer(room: Room) -> dict[str, Any]:
    found: dict[str, Any] = {"pose": {"n": 0}, "image": {"n": 0}}
    for (_, name), text in room.core.texts.items():
        if name != REPORT:
            continue
        try:
            report = json.loads(text)
        except json.JSONDecodeError:
            found["unreadable_reports"] = found.get("unreadable_reports", 0) + 1
            continue
        for kind in ("pose", "image"):
            row = report.get(kind) if isinstance(report, dict) else None
            if isinstance(row, dict) and row.get("n", 0) >= found[kind]["n"]:
                found[kind] = row
        if isinstance(report, dict) and report.get("faults"):
            found["faults"] = report["faults"]
    return found


def write_summary(path: Path, summary: dict[str, Any]) -> None:
    """Write it as JSON, whole or not at all."""
    part = path.with_suffix(path.suffix + ".part")
    part.write_text(json.dumps(summary, indent=2, sort_keys=False) + "\n", encoding="utf-8")
    part.replace(path)
