"""Sudden motion, drift and motion through the plane: named when they are there, silent when not."""

import numpy as np
import pytest

from guidance.motion import DenseFlow, FlowQuality, Verdict
from guidance.motion.disturbance import Disturbance, MotionWatch


def quality(similarity=0.85, verdict=Verdict.OK):
    return FlowQuality(verdict, similarity, 0.0, 1.0, 1.0, 1.0, 0.02)


def watched(extra=lambda t: 0.0, similarity=lambda t: 0.85, until_s=60.0):
    """Kinds and times of all that was found while breathing 12 mm at 4 s, with something on top."""
    watch, found = MotionWatch(), []
    for k in range(int(until_s * 6)):
        t = k / 6
        lift = 6 * np.cos(2 * np.pi * t / 4) + extra(t)
        found += [(d.kind, t) for d in watch.frame(round(t * 1e9), (0.0, lift), quality(similarity(t)))]
    return watch, found


def test_breathing_is_silent():
    assert watched()[1] == []


def test_a_cough_is_sudden_at_once():
    _, found = watched(lambda t: 12.0 if 30 <= t < 30.4 else 0.0)
    assert found[0] == (Disturbance.SUDDEN, pytest.approx(30.0))


def test_a_slow_drift_is_found_once_it_counts_and_ends_when_rebased():
    watch, found = watched(lambda t: 0.2 * max(t - 25, 0))
    assert {kind for kind, _ in found} == {Disturbance.DRIFT}
    assert 35 < found[0][1] < 50
    watch.rebase()
    assert watch.frame(round(61e9), (0.0, 8.0), quality()) == ()


def test_a_plane_that_is_left_shows_in_the_likeness():
    _, found = watched(similarity=lambda t: 0.7 if t >= 40 else 0.85)
    assert found[0] == (Disturbance.THROUGH_PLANE, pytest.approx(40 + 1 / 6))


def test_unusable_estimates_do_not_move_the_watch():
    watch, _ = watched()
    assert watch.frame(round(61e9), (0.0, 80.0), quality(verdict=Verdict.UNLIKE)) == ()
    with pytest.raises(ValueError, match="time must rise"):
        watch.frame(0, (0.0, 0.0), quality())


@pytest.mark.data
@pytest.mark.parametrize("which", [0, 1])
def test_real_free_breathing_raises_hardly_any(cine, which):
    frames = cine(which)
    flow, watch, found = DenseFlow(frames[0]), MotionWatch(), []
    for k, frame in enumerate(frames[:250]):
        estimate = flow.estimate(frame)
        middle = estimate.displacement_px[flow.region].mean(axis=0) * 1.818
        found += watch.frame(round(k * 0.167e9), (float(middle[0]), float(middle[1])), estimate.quality)
    assert len([d for d in found if d.kind is not Disturbance.DRIFT]) < 0.01 * 250, found
