"""The scanner: geometry, order of frames, pauses."""

import numpy as np
import pytest

from sim.phantom.world import World, WorldSettings
from sim.scanner import PLANES, Scanner, stack_geometry

S = 1_000_000_000


def frames(start_ns, seconds=3.0, **parameters):
    world = World(WorldSettings(), seed=1, start_ns=start_ns)
    given = {"shape": [1, 16, 16], "pixel_mm": 10.0, "start_s": 0.0, "latency_ms": 50.0} | parameters
    scanner = Scanner(name="mr", world=world, rng=np.random.default_rng(1), start_ns=start_ns, **given)
    return [message.number for message in scanner.advance(start_ns + round(seconds * S))]


def test_frames_come_in_order_at_their_rate(start_ns):
    assert frames(start_ns) == list(range(15))


def test_pause_repeat_and_late(start_ns):
    assert frames(start_ns, pauses_s=[[1.0, 2.0]]) == [0, 1, 2, 3, 4, 10, 11, 12, 13, 14]
    assert frames(start_ns, repeats=[3, 4])[:7] == [0, 1, 2, 2, 2, 5, 6]
    assert frames(start_ns, late=[3])[:7] == [0, 1, 2, 4, 3, 5, 6]


@pytest.mark.parametrize("plane", sorted(PLANES))
def test_the_middle_of_the_stack_is_its_centre(plane):
    geometry = stack_geometry(plane, np.array([10.0, -20.0, 30.0]), (3, 64, 48), 2.0, 5.0)
    np.testing.assert_allclose(geometry @ [23.5, 31.5, 1.0, 1.0], [10, -20, 30, 1])
    directions = geometry[:3, :3] / [2.0, 2.0, 5.0]
    np.testing.assert_allclose(directions.T @ directions, np.eye(3), atol=1e-12)


def test_the_picture_is_where_its_geometry_says(start_ns):
    """The body is brighter than what is outside it, voxel by voxel."""
    world = World(WorldSettings(), seed=1, start_ns=start_ns)
    rng = np.random.default_rng(1)
    scanner = Scanner(
        name="mr", world=world, rng=rng, start_ns=start_ns, shape=[1, 64, 64], pixel_mm=6.0, plane="axial"
    )
    image = scanner.advance(scanner.next_due_ns())[0]
    j, i = np.meshgrid(np.arange(64), np.arange(64), indexing="ij")
    index = np.stack((i, j, 0 * i, np.ones_like(i)), axis=-1)
    r, a = (index @ image.frame_from_image_mm.T)[..., 0], (index @ image.frame_from_image_mm.T)[..., 1]
    depth = 1 - np.hypot(r / 165.0, a / 115.0)
    bright = np.abs(image.pixels[0])
    assert bright[depth > 0.1].mean() > 0.4
    assert bright[depth < -0.1].mean() < 0.1
