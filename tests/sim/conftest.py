"""Small rooms for the tests of the simulator."""

import copy
from typing import Any

import pytest

from sim.scenario import load

START = 1_700_000_000_000_000_000


@pytest.fixture
def start_ns() -> int:
    """When the scenarios of these tests begin."""
    return START


@pytest.fixture
def values() -> dict[str, Any]:
    """The liver room with small pictures, free to be changed."""
    found = copy.deepcopy(load("hifu_liver"))
    by_link = {row["link"]: row.setdefault("with", {}) for row in found["peers"]}
    by_link["mr"] |= {"shape": [3, 32, 32], "pixel_mm": 6.0}
    by_link["ultrasound"] |= {"size": [64, 64]}
    found["world"]["body"]["voxel_mm"] = 6.0
    return found
