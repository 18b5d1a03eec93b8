"""Region trackers and surrogates: known shifts back, and a name for what they cannot follow."""

import numpy as np
import pytest
from scipy import ndimage

from guidance.motion.quality import Verdict
from guidance.motion.regions import Box, match_template, navigator_shift, track_points
from guidance.motion.surrogate import MarkerBreath, PrincipalBreath, navigator_mm

BOX = Box(row=30, column=20, rows=30, columns=28)


def moved(image, dx, dy):
    return ndimage.shift(image, (dy, dx), order=5, mode="nearest")


@pytest.mark.parametrize("tracker", [track_points, match_template])
@pytest.mark.parametrize("shift", [(0.3, -0.6), (4.25, -7.5)])
def test_trackers_find_the_shift(liver, tracker, shift):
    found = tracker(liver, 1.1 * moved(liver, *shift) + 5, BOX)
    assert found.verdict is Verdict.OK
    np.testing.assert_allclose(found.shift_px, shift, atol=0.12)
    assert found.quality > 0.7


def test_points_tell_two_tissues_in_one_box(liver):
    current = liver.copy()
    current[:, :34] = moved(liver, 0, 4)[:, :34]
    assert track_points(liver, current, BOX).spread_px > 10 * track_points(liver, moved(liver, 0, 4), BOX).spread_px


@pytest.mark.parametrize("tracker", [track_points, match_template])
def test_trackers_refuse_other_content(liver, tracker):
    other = np.random.default_rng(1).uniform(0, 250, liver.shape)
    found = tracker(liver, other, BOX)
    assert not found.verdict.usable
    assert found.quality < 0.7


def test_template_names_edge_and_blank(liver):
    assert match_template(liver, moved(liver, 0, 9), BOX, reach_px=6).verdict in (Verdict.OUTSIDE, Verdict.WEAK)
    assert match_template(liver, np.full_like(liver, 9.0), BOX).verdict is Verdict.BLANK


def test_boxes_outside_are_refused(liver):
    with pytest.raises(ValueError, match="does not lie in an image"):
        track_points(liver, liver, Box(80, 0, 30, 30))


@pytest.mark.parametrize("shift", [-7, -2.5, 0, 3.3, 11])
def test_navigator_profile(shift):
    x = np.arange(128.0)
    profile = lambda at: 100 / (1 + np.exp(-(x - at) / 1.5)) + 20 * np.exp(-(((x - at - 25) / 6) ** 2))  # noqa: E731
    found = navigator_shift(profile(60.0), 0.8 * profile(60.0 + shift) + 3)
    assert found.verdict is Verdict.OK
    assert found.shift_px == (pytest.approx(shift, abs=0.35), 0.0)
    assert navigator_mm(profile(60.0), profile(60.0 + shift), 1.5).value == pytest.approx(1.5 * shift, abs=0.6)


def test_navigator_image_and_rejection(liver):
    found = navigator_shift(liver, moved(liver, 3, -5))
    np.testing.assert_allclose(found.shift_px, (3, -5), atol=0.3)
    noise = np.random.default_rng(0).standard_normal((2, 128))
    assert navigator_shift(noise[0], np.zeros(128)).verdict is Verdict.BLANK
    with pytest.raises(ValueError, match="one shape"):
        navigator_shift(noise[0], noise[1, :100])


def test_principal_breath_follows_and_knows_its_limits(liver):
    phase = 2 * np.pi * np.arange(60) / 20
    truth = 5 * np.cos(phase)
    series = np.array([moved(liver, 0, shift) for shift in truth])
    breath = PrincipalBreath(series[:40])
    values = np.array([breath.value(image).value for image in series[40:]])
    assert abs(np.corrcoef(values, truth[40:])[0, 1]) > 0.98
    assert breath.value(np.zeros_like(liver)).verdict is Verdict.BLANK
    assert breath.value(np.rot90(liver, 2)).verdict is Verdict.UNLIKE
    with pytest.raises(ValueError, match="at least 10"):
        PrincipalBreath(series[:5])


def test_marker_breath_is_the_way_along_its_main_direction():
    direction = np.array([0.0, 0.6, 0.8])
    track = np.sin(np.arange(50) / 5)[:, None] * 7 * direction + 2
    breath = MarkerBreath(track)
    assert breath.value(2 + 3 * direction).value == pytest.approx(3 + breath.value(np.full(3, 2.0)).value)
    assert breath.value(np.array([500.0, 0, 0])).verdict is Verdict.UNLIKE
