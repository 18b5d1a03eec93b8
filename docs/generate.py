"""Writes the pages of docs/ that are made from tables in the code: `python docs/generate.py`."""

from pathlib import Path

from guidance.load import config_file
from guidance.safety.describe import hazards, phases_svg
from guidance.safety.limits import load_limits


def pages() -> dict[str, str]:
    """File name in docs/ -> its content."""
    return {"hazards.md": hazards(load_limits(config_file("safety", "limits"))), "phases.svg": phases_svg()}


if __name__ == "__main__":
    for name, content in pages().items():
        Path(__file__).with_name(name).write_text(content, encoding="utf-8")
