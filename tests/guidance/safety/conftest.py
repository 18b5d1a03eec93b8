"""A judge, its stops and a treatment in hand, without a room around them."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from safety_kit import World


@pytest.fixture
def world() -> World:
    """Stopped, with an energy device and a robot that obey."""
    return World()


@pytest.fixture
def treating(world: World) -> World:
    """In the middle of a treatment."""
    world.treat()
    return world
