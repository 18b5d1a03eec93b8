"""The score of a lesion: told outlines against the true surface."""

import numpy as np
import pytest

from devices.messages import Metrics, Outlines
from sim.lesions import burn_score, depth_mm, outline_distance_mm, outside_mm
from sim.phantom.anatomy import Grid
from sim.phantom.head import HeadSettings
from sim.phantom.laser import LaserSettings, LaserTissue

GRID = Grid((-20.0, -20.0, -20.0), (41, 41, 41), 1.0)


def circle(radius, name="Damage"):
    angle = np.linspace(0, 2 * np.pi, 60)
    points = radius * np.stack((np.cos(angle), np.sin(angle), np.zeros(60)), axis=-1)
    return Outlines(name=name, frame="RAS", points_mm=points, counts=np.array([60], np.int32))


def ball(radius):
    return np.linalg.norm(GRID.points_mm(), axis=-1) <= radius


def test_depth_is_zero_at_the_surface():
    depth = depth_mm(ball(8.5), 1.0)
    assert depth[20, 20, 20] == pytest.approx(8.5, abs=0.6)
    assert depth[20 + 12, 20, 20] == pytest.approx(-3.5, abs=0.6)


@pytest.mark.parametrize(("told", "bias"), [(8.5, 0.0), (6.5, 2.0), (11.5, -3.0)])
def test_distance_and_side_of_an_outline(told, bias):
    found = outline_distance_mm(circle(told), ball(8.5), GRID)
    assert found["bias"] == pytest.approx(bias, abs=0.4)
    assert found["mean"] == pytest.approx(abs(bias), abs=0.5)
    assert outside_mm(circle(told), ball(8.5), GRID) == pytest.approx(max(-bias, 0.0), abs=0.8)


def test_nothing_told_is_no_good_score():
    tissue = LaserTissue(HeadSettings(), LaserSettings(voxel_mm=2.0, reach_mm=16.0))
    assert not burn_score(tissue, [], [])["ok"]
    tissue.omega[tissue.where("tumour")] = 2.0
    told = [(0, Metrics(name="laser", values={"known": 1.0, "covered": 1.0}))]
    found = burn_score(tissue, told, [(1, 0.0)])
    assert found["covered"] == 1.0 and found["told_covered"] == 1.0
    assert not found["ok"]  # no outline was told
