"""The session as plain JSON values: the report's second half, and the tables of the first."""

from datetime import UTC, datetime
from typing import Any

import numpy as np

from guidance.plan import Plan
from guidance.report.collect import Session, ToolRow
from guidance.report.series import Curve

Row = dict[str, Any]
CALENDAR_FROM_NS = 10**18  # earlier times are of a virtual clock that began at zero


def summarise(session: Session, plan: Plan | None) -> Row:
    """Everything that the report says, as JSON values. Times in s are of the session unless named otherwise."""
    settings = session.header.get("settings", {})
    return {
        "room": settings.get("room", ""),
        "procedure": settings.get("procedure", ""),
        "title": settings.get("title", ""),
        "training": bool(settings.get("training", False)),
        "started_utc": utc(session.first_ns),
        "duration_s": round((session.last_ns - session.first_ns) / 1e9, 3),
        "steps": session.steps,
        "recording": {
            "complete": session.complete,
            "cut_bytes": session.cut_bytes,
            "lost_steps": session.missing,
        },
        "streams": _streams(session),
        "links": [_timed(session, row) for row in session.links],
        "lanes": {
            kind: {
                "done": row.done,
                "failed": dict(row.failed),
                "answer_ms": row.answer.table(),
                "work_ms": row.work.table(),
            }
            for kind, row in session.jobs.items()
        },
        "image_to_overlay_ms": session.overlay_latency.table(),
        "alerts": [_timed(session, row) for row in session.alerts.values()],
        "alarms": alarms(session),
        "commands": _commands(session),
        "acts": [_timed(session, row) for row in session.acts],
        "outputs": dict(session.outputs),
        "tools": {name: _tool(row) for name, row in session.tools.items()},
        "thermometry": _thermometry(session),
        "targets": targets(session, plan),
        "plan": None
        if plan is None
        else {"name": plan.name, "sha256": plan.content_sha256, "patient": plan.patient_id},
        "versions": session.header.get("versions", {}),
        "machine": session.header.get("machine", {}),
        "code_sha256": session.header.get("code_sha256", ""),
        "limits": session.header.get("limits", {}),
        "settings": settings,
    }


def utc(ns: int) -> str:
    """ISO time, or "" for a virtual clock that began at zero."""
    return datetime.fromtimestamp(ns / 1e9, UTC).isoformat(timespec="milliseconds") if ns >= CALENDAR_FROM_NS else ""


def seconds(session: Session, ns: int) -> float:
    """Seconds since the session's first step."""
    return round((ns - session.first_ns) / 1e9, 3)


def _timed(session: Session, row: Row) -> Row:
    return {"s": seconds(session, row["ns"])} | {key: value for key, value in row.items() if key != "ns"}


def _streams(session: Session) -> Row:
    span_s = max((session.last_ns - session.first_ns) / 1e9, 1e-9)
    return {
        row.name: {
            "link": link,
            "kind": row.kind,
            "received": row.received,
            "rate_hz": round(row.received / span_s, 2),
            "dropped": row.lost,
            "reasons": dict(row.reasons),
            "gap_max_ms": round(row.gap_max_ns / 1e6, 3),
            "age_ms": row.age.table(),
            "quality": dict(row.quality),
        }
        for (link, _), row in session.streams.items()
    }


def alarms(session: Session) -> list[Row]:
    """Every time an alarm stood: from its first alert until the one that cleared it (None: still standing)."""
    standing: dict[str, Row] = {}
    out: list[Row] = []
    for alert in sorted(session.alerts.values(), key=lambda row: int(row["sequence"])):
        row = standing.get(alert["name"])
        if row is None:
            if alert["state"] == "cleared":
                continue
            row = standing[alert["name"]] = {
                "id": alert["name"],
                "priority": alert["priority"],
                "kind": alert["kind"],
                "text": alert["text"],
                "reaction": alert["reaction"],
                "from_s": seconds(session, alert["ns"]),
                "acknowledged_s": None,
                "cleared_s": None,
            }
            out.append(row)
        row["priority"] = min(row["priority"], alert["priority"], key=("high", "medium", "low").index)
        if alert["state"] == "acknowledged" and row["acknowledged_s"] is None:
            row["acknowledged_s"] = seconds(session, alert["ns"])
        if alert["state"] == "cleared":
            row["cleared_s"] = seconds(session, alert["ns"])
            del standing[alert["name"]]
    return out


def _commands(session: Session) -> list[Row]:
    """Commands in order; a run of the same one (a heartbeat's permits, a repeated STOP) is one row."""
    out: list[Row] = []
    for row in session.commands.values():
        key = {name: row[name] for name in ("link", "verb", "values", "reason")}
        if not out or any(out[-1][name] != value for name, value in key.items()):
            start = {"s": seconds(session, row["ns"]), "until_s": 0.0}
            out.append(start | key | {"commands": 0, "sent": 0, "answers": 0, "confirmed": 0, "slowest_ms": None})
        last = out[-1]
        last["until_s"] = seconds(session, row["ns"])
        last["commands"] += 1
        last["sent"] += row["sent"]
        last["answers"] += row["answers"]
        if row["confirmed_ns"] >= 0:
            last["confirmed"] += 1
            last["slowest_ms"] = max(last["slowest_ms"] or 0.0, _number((row["confirmed_ns"] - row["ns"]) / 1e6))
    return out


def _tool(row: ToolRow) -> Row:
    total = sum(row.quality.values())
    return {
        "poses": total,
        "live_share": round(row.quality["ok"] / total, 4) if total else 0.0,
        "quality": dict(row.quality),
        "values": {name: _extent(curve) for name, curve in row.curves.items()},
        "last_values": row.last.get("values", {}),
        "last_ras_from_tool": np.asarray(row.last["ras_from_tool"]).round(4).tolist() if row.last else None,
    }


def _extent(curve: Curve) -> Row:
    values = curve.values
    return {"least": _number(values.min()), "most": _number(values.max()), "last": _number(values[-1])}


def _number(value: float) -> float:
    return round(float(value), 4)


def _thermometry(session: Session) -> Row | None:
    if not session.frames:
        return None
    peaks = {name: _extent(curve) for name, curve in session.thermometry.items() if len(curve.values)}
    return {
        "frames": dict(session.frames),
        "max_temperature_c": peaks.get("max_c", {}).get("most"),
        "max_cem43_min": peaks.get("max_cem43_min", {}).get("most"),
        "values": peaks,
    }


def targets(session: Session, plan: Plan | None) -> list[Row]:
    """What was planned for each target and what is known of it; None = it was not measured."""
    rows = []
    for target in plan.targets if plan else ():
        measured = {
            name: curve.values
            for name, curve in session.thermometry.items()
            if name.partition(".")[0] == target.structure
        }
        nearest = {
            name: _number(tool.curves["target_distance_mm"].values.min())
            for name, tool in session.tools.items()
            if "target_distance_mm" in tool.curves
        }
        rows.append(
            {
                "name": target.name,
                "structure": target.structure,
                "center_ras_mm": [_number(value) for value in target.center_mm],
                "margin_mm": target.margin_mm,
                "prescription": dict(target.prescription),
                "measured": {name.partition(".")[2]: _number(v.max()) for name, v in measured.items() if len(v)}
                or None,
                "nearest_mm": nearest or None,
            }
        )
    return rows
