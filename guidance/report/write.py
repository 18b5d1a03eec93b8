"""The report's page: what a physician reads first stands first, settings and versions last."""

import base64
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from guidance.errors import RecordingError
from guidance.plan import Plan
from guidance.recording.plan_copy import restore_plan
from guidance.recording.reader import Recording
from guidance.report import figures
from guidance.report.collect import Session, collect
from guidance.report.html import Markup, cell, figure, page, priority, section, table
from guidance.report.series import Curve
from guidance.report.summary import summarise

BANNER = "RESEARCH SOFTWARE - session report, not for diagnosis"
Pictures = Mapping[str, NDArray[np.uint8]]
Row = dict[str, Any]


def write_report(recording: Path, out: Path, pictures: Pictures | None = None) -> Path:
    """Write `report.html` and `report.json` of `recording` into the folder `out`; the path of the page.

    `pictures`: caption to overlay, (row, column, 4) RGBA uint8, as a replay draws them.
    RecordingError: the recording cannot be read or is malformed, or `out` cannot be written.
    """
    source = Recording(recording)
    session = collect(source)
    plan = restore_plan(session.header["plan"]) if session.header.get("plan") else None
    summary = {"recording_file": recording.name, **summarise(session, plan)}
    html = _page(session, summary, plan, pictures or {})
    try:
        out.mkdir(parents=True, exist_ok=True)
        (out / "report.json").write_text(json.dumps(summary, indent=1, default=str) + "\n", encoding="utf-8")
        (out / "report.html").write_text(html, encoding="utf-8")
    except OSError as fault:
        raise RecordingError(f"{out}: the report cannot be written: {fault.strerror}") from fault
    return out / "report.html"


def _page(session: Session, summary: Row, plan: Plan | None, pictures: Pictures) -> str:
    title = summary["title"] or summary["procedure"] or summary["recording_file"]
    training = " - TRAINING ON SIMULATED DEVICES" if summary["training"] else ""
    body = [
        f"<h1>{cell(title)}</h1>",
        f'<p class="note">Room {cell(summary["room"])}, procedure {cell(summary["procedure"])}, '
        f"began {cell(summary['started_utc'] or 'in virtual time')}, {cell(summary['recording_file'])}</p>",
        _recording(summary),
        _key(session, summary),
        section("Targets", _targets(summary)),
        section("Alarms", *_alarms(session, summary)),
        section("Temperature and dose", *_thermometry(session, summary, plan)),
        section("Tools", *_tools(session, summary)),
        section("Views", _pictures(pictures)) if pictures else "",
        section("Commands and answers", _commands(summary)),
        section("Acts of operators", _acts(summary)),
        section("Streams", *_streams(session, summary)),
        section("Lanes and delays", *_lanes(summary)),
        section("Limits", _limits(summary)),
        section("Settings and versions", *_versions(summary)),
    ]
    return page(f"Session report: {title}", BANNER + training, "".join(body))


def _recording(summary: Row) -> str:
    state = summary["recording"]
    faults = []
    if not state["complete"]:
        faults.append(f"it was not closed; {state['cut_bytes']} bytes at its end are not readable")
    if state["lost_steps"]:
        faults.append(f"{state['lost_steps']} steps were lost while recording")
    return section("This recording is not whole", f"<p>{cell('; '.join(faults))}.</p>") if faults else ""


def _key(session: Session, summary: Row) -> str:
    heat = summary["thermometry"] or {}
    counts = {level: sum(a["priority"] == level for a in summary["alarms"]) for level in ("high", "medium", "low")}
    stops = sum(row["commands"] for row in summary["commands"] if row["verb"] == "STOP")
    facts = [
        ("Duration", f"{summary['duration_s']:.1f} s"),
        ("Alarms high / medium / low", f"{counts['high']} / {counts['medium']} / {counts['low']}"),
        ("STOP requests", str(stops)),
        ("Highest temperature", _unit(heat.get("max_temperature_c"), "°C", 1)),
        ("Highest dose", _unit(heat.get("max_cem43_min"), "CEM43 min", 1)),
        ("Messages received", str(sum(row.received for row in session.streams.values()))),
        ("Messages lost", str(sum(row.lost for row in session.streams.values()))),
    ]
    return section(
        "In short", '<div class="key">' + "".join(f"<div>{cell(n)}<b>{cell(v)}</b></div>" for n, v in facts) + "</div>"
    )


def _unit(value: float | None, unit: str, digits: int) -> str:
    return "not measured" if value is None else f"{value:.{digits}f} {unit}"


def _targets(summary: Row) -> str:
    heads = ("target", "structure", "prescribed", "measured in it (highest)", "nearest approach, mm")
    rows = [
        (
            t["name"],
            t["structure"],
            t["prescription"],
            t["measured"] or "not measured",
            t["nearest_mm"] or "not measured",
        )
        for t in summary["targets"]
    ]
    return table(heads, rows, "No plan was loaded.")


def _alarms(session: Session, summary: Row) -> list[str]:
    end_s = summary["duration_s"]
    rows = summary["alarms"]
    drawn = figures.spans([(a["id"], a["priority"], a["from_s"], a["cleared_s"] or end_s) for a in rows], end_s)
    heads = ("from s", "priority", "alarm", "text", "done", "acknowledged s", "cleared s")
    lines = [
        (a["from_s"], priority(a["priority"]), a["id"], a["text"], a["reaction"], a["acknowledged_s"], a["cleared_s"])
        for a in rows
    ]
    return [
        figure(drawn, "When each alarm stood, from its first alert until it was cleared."),
        table(heads, lines, "There was no alarm."),
    ]


def _thermometry(session: Session, summary: Row, plan: Plan | None) -> list[str]:
    if summary["thermometry"] is None:
        return []
    curves = session.thermometry
    hot = _per_region(curves, "max_c", "max_c")
    dose = _per_region(curves, "max_cem43_min", "dose_upper_cem43_min")
    guards = plan.guards() if plan else ()
    warm_limits = [(g.structure, g.temperature_c) for g in guards if g.temperature_c is not None]
    dose_limits = [(g.structure, g.cem43_min) for g in guards if g.cem43_min is not None]
    power = [(name, curve) for name, curve in session.readings.items() if "power" in name]
    span = (session.first_ns, summary["duration_s"])
    frames = summary["thermometry"]["frames"]
    return [
        figure(
            figures.curves(hot, *span, "°C", warm_limits),
            "Highest temperature of valid voxels, whole image and guards.",
        ),
        figure(
            figures.curves(dose, *span, "CEM43 min", dose_limits, log=True),
            "Highest thermal dose; of guards its upper bound.",
        ),
        figure(figures.curves(power, *span, "W"), "Power as the device reported it."),
        f'<p class="note">Frames by state: {cell(frames)}</p>',
    ]


def _per_region(curves: Mapping[str, Curve], whole: str, guard: str) -> list[tuple[str, Curve]]:
    image = [("whole image", curves[whole])] if whole in curves else []
    return image + [(n.removesuffix(f".{guard}"), curve) for n, curve in curves.items() if n.endswith(f".{guard}")]


def _tools(session: Session, summary: Row) -> list[str]:
    near = [(n, t.curves["target_distance_mm"]) for n, t in session.tools.items() if "target_distance_mm" in t.curves]
    side = [(n, t.curves["lateral_mm"]) for n, t in session.tools.items() if "lateral_mm" in t.curves]
    span = (session.first_ns, summary["duration_s"])
    heads = ("tool", "poses told", "live", "of each quality", "least / most / last")
    rows = [
        (name, row["poses"], f"{100 * row['live_share']:.1f} %", row["quality"], _extents(row["values"]))
        for name, row in summary["tools"].items()
    ]
    return [
        table(heads, rows, "No tool was told."),
        figure(figures.curves(near, *span, "mm"), "Distance of the tip to its target, while live."),
        figure(figures.curves(side, *span, "mm"), "Lateral error, while live."),
    ]


def _extents(values: Row) -> Markup:
    return Markup(
        "<br>".join(f"{cell(n)}: {cell(v['least'])} / {cell(v['most'])} / {cell(v['last'])}" for n, v in values.items())
    )


def _pictures(pictures: Pictures) -> str:
    parts = []
    for caption, rgba in pictures.items():
        done, png = cv2.imencode(".png", cv2.cvtColor(rgba, cv2.COLOR_RGBA2BGRA))
        if not done:
            raise RecordingError(f"the picture {caption!r} of shape {rgba.shape} cannot be packed as PNG")
        data = base64.b64encode(png.tobytes()).decode()
        parts.append(
            f'<figure><img alt="{cell(caption)}" src="data:image/png;base64,{data}">'
            f"<figcaption>{cell(caption)}</figcaption></figure>"
        )
    return '<div class="pictures">' + "".join(parts) + "</div>"


def _commands(summary: Row) -> str:
    heads = (
        "from s",
        "to s",
        "link",
        "verb",
        "values",
        "reason",
        "commands",
        "sent",
        "answers",
        "confirmed",
        "slowest ms",
    )
    rows = [tuple(row.values()) for row in summary["commands"]]
    return table(heads, rows, "No command was sent.")


def _acts(summary: Row) -> str:
    rows = [(row["s"], row["verb"], row["actor"], row["values"], row["outcome"]) for row in summary["acts"]]
    return table(("s", "act", "who", "values", "outcome"), rows, "No act was recorded.")


def _streams(session: Session, summary: Row) -> list[str]:
    heads = ("stream", "link", "kind", "received", "Hz", "dropped", "longest gap ms", "age p50", "p99 ms", "reasons")
    rows = [
        (
            *(name, s["link"], s["kind"], s["received"], s["rate_hz"], s["dropped"], s["gap_max_ms"]),
            *(s["age_ms"].get("p50"), s["age_ms"].get("p99"), s["reasons"]),
        )
        for name, s in summary["streams"].items()
    ]
    quality = {row.name: row.quality for row in session.streams.values()}
    links = [
        (row["s"], row["link"], "up" if row["up"] else "down", row["peer"], row["reason"]) for row in summary["links"]
    ]
    return [
        table(heads, rows, "No stream was configured."),
        '<p class="note">Age: our clock at arrival less the device\'s own time stamp, clocks as they stood.</p>',
        figure(figures.bars(quality), "Quality of tracked poses as the devices reported it."),
        table(("s", "link", "state", "peer", "reason"), links, "No link changed."),
    ]


def _lanes(summary: Row) -> list[str]:
    heads = ("work", "done", "not done", "asked to taken: p50", "p99", "max ms", "work p50", "max ms")
    rows = [
        (
            *(kind, row["done"], row["failed"]),
            *(row["answer_ms"].get(key) for key in ("p50", "p99", "max")),
            *(row["work_ms"].get(key) for key in ("p50", "max")),
        )
        for kind, row in summary["lanes"].items()
    ]
    overlay = summary["image_to_overlay_ms"]
    return [
        table(heads, rows, "No lane had work."),
        f'<p class="note">Image received to overlay decided, ms: {cell(overlay)}. The bytes to the socket are timed by '
        "the run's own summary.</p>",
    ]


def _limits(summary: Row) -> str:
    rows = [
        (name, row.get("value"), row.get("unit"), row.get("source"), row.get("rationale"))
        for name, row in summary["limits"].items()
    ]
    return table(("limit", "value", "unit", "source", "rationale"), rows, "The recording carries no limits.")


def _versions(summary: Row) -> list[str]:
    plan = summary["plan"] or {}
    rows = [
        ("plan", plan.get("name")),
        ("plan SHA-256", plan.get("sha256")),
        ("code SHA-256", summary["code_sha256"]),
        ("versions", summary["versions"]),
        ("machine", summary["machine"]),
    ]
    settings = [(name, Markup(f"<code>{cell(json.dumps(v))}</code>")) for name, v in summary["settings"].items()]
    return [table(("", ""), rows, ""), table(("setting", "value"), settings, "The recording carries no settings.")]
