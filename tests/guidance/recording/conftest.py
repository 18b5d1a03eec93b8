"""Makes `recording_kit` importable beside these tests, and a file on a disk that can fail."""

import sys
from pathlib import Path

import pytest

from guidance.recording.disk import open_append

sys.path.insert(0, str(Path(__file__).parent))

from recording_kit import FaultyFile


@pytest.fixture
def faulty(tmp_path: Path) -> FaultyFile:
    """An empty file on a faulty disk."""
    file = open_append(tmp_path, "faulty.mcap", new=True)
    return FaultyFile(file.fileno(), file.path)
