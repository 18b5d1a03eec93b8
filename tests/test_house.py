"""The house rules that a machine can check: short files, links that lead somewhere, no machine's own paths."""

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


def tracked(*patterns: str) -> list[Path]:
    done = subprocess.run(["git", "ls-files", *patterns], cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip("not a git checkout: nothing tells which files belong to the project")
    return [ROOT / line for line in done.stdout.splitlines() if (ROOT / line).is_file()]


def test_no_source_file_is_longer_than_500_lines() -> None:
    sources = tracked("*.py", "*.js", "*.css", "*.html")
    assert sources
    assert not [str(path) for path in sources if len(path.read_text().splitlines()) > 500]


def test_every_relative_link_in_the_docs_leads_to_a_file() -> None:
    links = [
        (page, target)
        for page in tracked("*.md")
        for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", page.read_text())
        if "://" not in target
    ]
    assert links
    assert not [f"{page.relative_to(ROOT)}: {target}" for page, target in links if not (page.parent / target).exists()]


def test_no_tracked_file_names_a_registry_or_this_machine() -> None:
    words = re.compile(r"index-url|\"resolved\": *\"http|" + re.escape(str(ROOT)) + "/")
    texts = tracked("*.py", "*.md", "*.toml", "*.txt", "*.json", "*.sh", "Makefile")
    here = Path(__file__).resolve()
    assert not [str(path) for path in texts if path != here and words.search(path.read_text(errors="replace"))]
