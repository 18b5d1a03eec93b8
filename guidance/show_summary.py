"""A session's summary as tables that a person reads at a glance."""

from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.table import Table


def show_summary(out: Console, summary: dict[str, Any]) -> None:
    """Print the summary: streams, latencies, alerts, outcome."""
    out.print(f"\n[bold]{summary['procedure']}[/bold], room {summary['room']}, {summary['duration_s']:.1f} s")
    out.print(_streams(summary["streams"]))
    out.print(_latencies(summary))
    for alert in summary["alerts"]:
        out.print(f"  {alert['priority'].upper():6} {alert['state']:12} {alert['text']}", highlight=False)
    words = [f"{name} {count}" for name, count in summary["outputs"].items()]
    out.print(f"outputs: {', '.join(words)}; phase {summary['phase']}")
    if "thermometry" in summary:
        out.print(f"thermometry: {summary['thermometry']}")
    if "recording" in summary:
        out.print(f"recording: {summary['recording']}")


def _streams(rows: dict[str, dict[str, Any]]) -> Table:
    table = Table("stream", box=None, pad_edge=False)
    columns = ("received", "dropped", "rejected", "gap_max_ms", "age_p99_ms")
    for name in columns:
        table.add_column(name, justify="right")
    for name, row in rows.items():
        table.add_row(name, *(_number(row[column]) for column in columns))
    return table


def _latencies(summary: dict[str, Any]) -> Table:
    table = Table("latency, ms", box=None, pad_edge=False)
    for name in ("n", "p50", "p99", "max"):
        table.add_column(name, justify="right")
    rows = {**summary["latency_ms"], "loop late": summary["loop_late_ms"]}
    rows |= {f"device to consumer, {k}": summary["device_to_consumer_ms"][k] for k in ("pose", "image")}
    for name, row in rows.items():
        table.add_row(name, *(_number(row.get(column)) for column in ("n", "p50", "p99", "max")))
    return table


def _number(value: float | int | None) -> str:
    if value is None:
        return "--.-"
    return f"{value:.2f}" if isinstance(value, float) else str(value)


def show_faults(out: Console, where: str, faults: Sequence[str]) -> None:
    """Print every fault on its own line, or that there is none."""
    if not faults:
        out.print(f"{where}: no fault found")
        return
    out.print(f"[bold]{where}[/bold]: {len(faults)} fault{'s' if len(faults) > 1 else ''}")
    for fault in faults:
        out.print(f"  {fault}", highlight=False, markup=False)
