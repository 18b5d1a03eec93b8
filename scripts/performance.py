"""docs/performance.md from the tables of `guidance bench`, each with its command and the machine's state.

.venv/bin/python scripts/performance.py room link thermometry motion prediction navigation
"""

import os
import sys
from pathlib import Path

from rich.console import Console

from guidance.bench import COLUMNS, run_bench
from guidance.recording.header import machine

TARGET = Path(__file__).resolve().parents[1] / "docs" / "performance.md"
HEAD = """# Performance

Every table is what the command above it printed, in one run, on the machine named here; `make bench ARGS=NAME` prints
it anew. Compare ratios, not milliseconds: peers and ours are timed in turn in the same run.
"""


def cell(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "**missed**"
    if isinstance(value, float):
        return f"{value:.3g}"
    return "" if value is None else str(value)


def section(name: str, out: Console) -> str:
    """One table as markdown."""
    rows = run_bench(name, True, out)
    lines = [f"## {name}", "", f"`guidance bench {name} --quick`", ""]
    lines += ["| " + " | ".join(COLUMNS) + " |", "|" + "---|" * len(COLUMNS)]
    lines += ["| " + " | ".join(cell(row.get(column)) for column in COLUMNS) + " |" for row in rows]
    return "\n".join(lines)


def main(names: list[str]) -> None:
    """Measure and write."""
    facts = machine()
    where = f"Machine: {facts['processor']}, {facts['cores']} cores; load at the start {os.getloadavg()[0]:.1f}."
    out = Console()
    TARGET.write_text("\n\n".join([HEAD.rstrip(), where, *(section(name, out) for name in names)]) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
