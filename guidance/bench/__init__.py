"""Performance and precision tables, side by side with what else is there: one module a table.

A table is a module with `rows(quick) -> list[dict]`; each row has name, size, ours_ms, peer, peer_ms, ratio, limit,
ok. Peers and ours are timed in turn in the same run, and medians are compared as ratios.
"""

import importlib
from typing import Any

from rich.console import Console
from rich.table import Table

from guidance.errors import SettingsError

TABLES = (
    "link",
    "links",
    "thermometry",
    "truth_thermometry",
    "real_heating",
    "alternating",
    "baselines",
    "motion",
    "following",
    "prediction",
    "navigation",
    "intervals",
    "room",
)
COLUMNS = ("name", "size", "ours_ms", "peer", "peer_ms", "ratio", "limit", "ok")


def run_bench(name: str, quick: bool, out: Console) -> list[dict[str, Any]]:
    """The rows of one table, or of all; printed as they come. SettingsError names the tables there are."""
    if name not in (*TABLES, "all"):
        raise SettingsError("bench", [f"there is no table {name!r} (have {', '.join(TABLES)}, all)"])
    found: list[dict[str, Any]] = []
    for table in TABLES if name == "all" else (name,):
        rows = importlib.import_module(f"guidance.bench.{table}").rows(quick)
        show(out, table, rows)
        found += rows
    return found


def show(out: Console, title: str, rows: list[dict[str, Any]]) -> None:
    """Print rows as a table; a missed limit is said in words."""
    table = Table(title=title, title_justify="left", box=None, pad_edge=False)
    for column in COLUMNS:
        table.add_column(column, justify="left" if column in ("name", "size", "peer") else "right")
    for row in rows:
        table.add_row(*(_cell(row.get(column)) for column in COLUMNS))
    out.print(table)


def _cell(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "MISSED"
    if isinstance(value, float):
        return f"{value:.4g}"
    return "" if value is None else str(value)
