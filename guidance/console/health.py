"""Numbers for machines: Prometheus text and a health answer. Both only look."""

from typing import Any

from guidance.console.desk import Desk


def health(desk: Desk) -> dict[str, Any]:
    """`ok` is false while a required stream is not live or a high alarm is active."""
    core, now_ns = desk.room.core, desk.now_ns()
    stale = [n for n, s in core.streams.items() if s.settings.required and not s.is_live(now_ns)]
    high = [a.id for a in core.judge.shown() if a.priority.value == "high" and a.present]
    return {
        "ok": not stale and not high,
        "room": core.settings.room,
        "phase": core.treatment.phase.value,
        "stale_streams": stale,
        "high_alarms": high,
        "consoles": desk.shared(now_ns)["consoles"],
    }


def metrics(desk: Desk) -> str:
    """Prometheus text format, version 0.0.4."""
    core, meter, now_ns = desk.room.core, desk.room.meter, desk.now_ns()
    room = core.settings.room
    lines = ["# TYPE guidance_stream_received_total counter", "# TYPE guidance_stream_age_seconds gauge"]
    for name, state in core.streams.items():
        at = f'{{room="{room}",stream="{name}"}}'
        lines.append(f"guidance_stream_received_total{at} {state.received}")
        lines.append(f"guidance_stream_dropped_total{at} {state.dropped}")
        lines.append(f"guidance_stream_rejected_total{at} {state.rejected}")
        if state.received:
            lines.append(f"guidance_stream_age_seconds{at} {state.age_ms(now_ns) / 1e3:.6f}")
    for kind, count in meter.outputs.items():
        lines.append(f'guidance_outputs_total{{room="{room}",kind="{kind}"}} {count}')
    timed = {**meter.latency, **{f"drawn_{name}": row for name, row in desk.drawn.items()}}
    for kind, histogram in timed.items():
        for share in (0.5, 0.99):
            value = histogram.percentile_ms(share)
            if value is not None:
                lines.append(f'guidance_latency_ms{{room="{room}",kind="{kind}",quantile="{share}"}} {value:.3f}')
    shown = core.judge.shown()
    for priority in ("high", "medium", "low"):
        count = sum(1 for alarm in shown if alarm.priority.value == priority)
        lines.append(f'guidance_alarms{{room="{room}",priority="{priority}"}} {count}')
    lines.append(f'guidance_consoles{{room="{room}"}} {len(desk.consoles.present)}')
    return "\n".join(lines) + "\n"
