"""What docs/ shows of the tables is what the tables say."""

import runpy
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

from guidance.safety.phases import Phase
from guidance.safety.rules import RULES

DOCS = Path(__file__).parents[3] / "docs"
PAGES = runpy.run_path(str(DOCS / "generate.py"))["pages"]()


@pytest.mark.parametrize("name", PAGES)
def test_the_page_is_current(name: str) -> None:
    assert (DOCS / name).read_text(encoding="utf-8") == PAGES[name], "run: python docs/generate.py"


def test_every_row_and_every_phase_is_shown() -> None:
    table = PAGES["hazards.md"]
    assert all(f"| {rule.id} | {rule.hazard} ←" in table for rule in RULES)
    shown = {text.text for text in ElementTree.fromstring(PAGES["phases.svg"]).iter("{http://www.w3.org/2000/svg}text")}
    assert {phase.value for phase in Phase} <= shown
