"""docs/performance.md from the tables of `guidance bench` and of the console, each with its command and machine.

    .venv/bin/python -m scripts.performance room link thermometry motion prediction navigation console

Only the named sections are measured anew.
"""

import os
import sys
from pathlib import Path

from rich.console import Console

from guidance.bench import COLUMNS, run_bench
from guidance.recording.header import machine
from scripts.console_latency import measure
from scripts.pose_legs import COLUMNS as LEGS
from scripts.pose_legs import SECONDS
from scripts.pose_legs import measure as legs

CONSOLE_S = 30
TARGET = Path(__file__).resolve().parents[1] / "docs" / "performance.md"
HEAD = """# Performance

Every table is what the command above it printed, in one run, on the machine named here; `make bench ARGS=NAME` prints
it anew. Compare ratios, not milliseconds: peers and ours are timed in turn in the same run.
"""
LEGS_SAY = """What limits the way from the device to the consumer: the first pose of a burst meets a processor that
has done other things for 10 ms, and a sender that wakes a thread (the bus) or a process on the other core (the
console); the others wait for it. The consumer of the table above is part of the simulator, in one thread with the four
devices, and stamps a guided pose when that thread comes to read it. Running the same code in vain until the next burst
is due shortens the first pose only, for a part of a core: it is not done."""


def cell(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "**missed**"
    if isinstance(value, float):
        return f"{value:.3g}"
    return "" if value is None else str(value)


def section(name: str, out: Console) -> str:
    """One table as markdown, with what it was measured on."""
    facts = machine()
    where = f"{facts['processor']}, {facts['cores']} cores; load at the start {os.getloadavg()[0]:.1f}."
    if name == "console":
        return "\n".join(console_table(where))
    if name == "pose legs":
        return "\n".join(legs_table(where))
    quick = name != "room"  # its first seconds are the reference, without an alert
    rows = run_bench(name, quick, out)
    lines = [f"## {name}", "", f"`guidance bench {name}{' --quick' if quick else ''}`; {where}", ""]
    lines += ["| " + " | ".join(COLUMNS) + " |", "|" + "---|" * len(COLUMNS)]
    lines += ["| " + " | ".join(cell(row.get(column)) for column in COLUMNS) + " |" for row in rows]
    return "\n".join(lines)


def console_table(where: str) -> list[str]:
    """What scripts/console_latency.py finds: one page alone, then beside five clients that read nothing."""
    columns = ("name", "value", "unit", "limit", "ok")
    lines = ["## console", ""]
    for stalled, words in ((0, ""), (5, " 5")):
        lines += [f"`.venv/bin/python -m scripts.console_latency {CONSOLE_S}{words}`; {where}", ""]
        lines += ["| " + " | ".join(columns) + " |", "|" + "---|" * len(columns)]
        found = measure(CONSOLE_S, stalled)
        lines += ["| " + " | ".join(cell(row.get(column)) for column in columns) + " |" for row in found] + [""]
    return lines[:-1]


def legs_table(where: str) -> list[str]:
    """What scripts/pose_legs.py finds, in microseconds."""
    lines = ["## pose legs", "", f"`.venv/bin/python -m scripts.pose_legs`, microseconds; {where}", ""]
    lines += ["| " + " | ".join(LEGS) + " |", "|" + "---|" * len(LEGS)]
    return lines + ["| " + " | ".join(str(row[leg]) for leg in LEGS) + " |" for row in legs(SECONDS)] + ["", LEGS_SAY]


def main(names: list[str]) -> None:
    """Measure the named sections and put them in the page's place of theirs; all others stay."""
    out = Console()
    parts = TARGET.read_text().split("\n## ") if TARGET.exists() else [HEAD]
    found = {part.split("\n", 1)[0]: "## " + part.rstrip() for part in parts[1:]}
    found |= {name: section(name, out).rstrip() for name in names}
    TARGET.write_text("\n\n".join([parts[0].rstrip(), *found.values()]) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
