"""The long runs: only with `--soak` (make soak)."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent.parent / "faults"))


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("--soak"):
        return
    for item in items:
        if "soak" in Path(item.fspath).parts:
            item.add_marker(pytest.mark.skip(reason="a long run: make soak"))
