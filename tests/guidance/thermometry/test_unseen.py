"""The dose of time and voxels that nobody saw: finite, never below what tissue can have taken, and never forgotten."""

from typing import Any

import numpy as np
import pytest

from guidance.thermometry import ThermometryPipeline
from guidance.thermometry.dose import cem43
from guidance.thermometry.unseen import RegionDose, Worst, gap_dose_min

WORST = Worst()


def brute(start_c: float, end_c: float | None, gap_s: float, energy_s: float, hottest_c: float) -> float:
    """The warmest history that the bounds allow, integrated in steps of a millisecond, a longer one of 10 ms."""
    times = np.linspace(0.0, gap_s, round(gap_s * (1000 if gap_s < 60 else 100)) + 1)
    heated = np.minimum(times, energy_s)
    peak = min(start_c + 5.0 * heated[-1], 100.0)
    level = max(peak, min(peak + 0.5 * (gap_s - heated[-1]), hottest_c))
    history = np.minimum(start_c + 5.0 * heated + 0.5 * (times - heated), level)
    if end_c is not None:
        history = np.minimum(history, end_c + 5.0 * (gap_s - times))
    return float(cem43(history, times))


@pytest.mark.parametrize(
    ("start", "end", "gap", "energy", "hottest"),
    [
        (38.0, 38.5, 0.6, 0.6, 60.0),
        (41.0, 42.0, 2.0, 2.0, 60.0),
        (41.0, 42.0, 20.0, 0.5, 43.0),
        (39.0, None, 3.0, 1.0, 39.0),
        (44.0, 38.0, 5.0, 0.0, 60.0),
        (37.5, 37.5, 600.0, 0.0, 40.0),
    ],
)
def test_a_gap_has_at_least_the_dose_of_every_history_that_is_possible(
    start: float, end: float | None, gap: float, energy: float, hottest: float
) -> None:
    bound = gap_dose_min(start, end, gap, energy, hottest, WORST)
    allowed = brute(start, end, gap, energy, hottest)
    assert bound >= allowed * (1.0 - 1e-3)
    assert bound <= allowed * 2.5 + 1e-3, "a bound, not a scare"


def test_a_long_gap_under_power_is_beyond_every_limit_and_still_a_number() -> None:
    bound = gap_dose_min(37.5, None, 3600.0, 3600.0, 60.0, WORST)
    assert np.isfinite(bound)
    assert bound > 1e6


def test_a_pause_at_rest_costs_little() -> None:
    assert gap_dose_min(38.0, 38.0, 600.0, 0.0, 40.0, WORST) < 1.0


class Frames:
    """A region of four voxels in a frame as thermometry would give it."""

    def __init__(self, phantom: Any) -> None:
        self.pipeline = ThermometryPipeline(phantom.settings)
        for number in range(phantom.settings.reference_dynamics):
            self.pipeline.update(phantom.frame(), float(number))
        self.phantom = phantom
        self.dose = RegionDose(1.0, WORST)
        self.mask = np.zeros(phantom.shape, bool)
        self.mask[1, 20:24, 20:24] = True
        self.dose.cut(self.mask)

    def see(self, time_s: float, energy_s: float = 0.0, dark: int = 0) -> float:
        image = self.phantom.frame()
        image[1, 20 : 20 + dark, 20:24] *= 0.02
        frame = self.pipeline.update(image, time_s)
        assert frame.state == "ok"
        return self.dose.seen(frame, 38.0, 39.0, energy_s)


@pytest.fixture
def frames(phantom: Any) -> Frames:
    return Frames(phantom)


def test_the_bound_is_finite_after_a_gap_and_keeps_what_the_gap_may_have_been(frames: Frames) -> None:
    assert frames.dose.unseen(4.0, 0.0) is None, "nothing was ever seen"
    before = [frames.see(4.0 + n) for n in range(3)][-1]
    assert 0.0 < before < 0.01
    opened = frames.dose.unseen(7.0, 1.0)
    longer = frames.dose.unseen(9.0, 3.0)
    assert opened is not None and longer is not None
    assert before < opened < longer
    after = frames.see(10.0, 3.0)
    assert before < after < longer, "it came back cool: it cannot have been as warm as it might have stayed"
    assert frames.see(11.0, 3.0) >= after
    assert frames.see(12.0, 3.0) == pytest.approx(after, abs=0.01)


def test_frames_that_never_came_are_a_gap_too(frames: Frames) -> None:
    before = [frames.see(4.0 + n) for n in range(3)][-1]
    assert frames.see(9.0, 3.0) > before + 0.002
    assert frames.see(30.0, 3.0) < 1.0


def test_a_missing_voxel_counts_as_warm_as_the_warmest_that_is_seen(frames: Frames) -> None:
    doses = [frames.see(4.0 + n, dark=1) for n in range(10)]
    per_second = 0.25 ** (43.0 - 38.0) / 60.0
    assert np.isfinite(doses).all()
    assert doses[-1] == pytest.approx(9 * per_second, rel=0.05)


def test_other_voxels_keep_what_the_old_ones_had(frames: Frames) -> None:
    frames.see(4.0)
    before = frames.see(12.0, 5.0)
    assert before > 0.5
    frames.dose.cut(np.roll(frames.mask, 2, axis=2))
    assert frames.see(13.0, 5.0) > before
