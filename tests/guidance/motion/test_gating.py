"""The gate: on late, off at once, never on what is stale, bad or out of place."""

import numpy as np
import pytest

from guidance.motion.gating import Gate, GateReason, GateSettings, Sighting, Target, sight

MS = 1_000_000
INSIDE = Sighting(0.0, (0.0, 0.0))


@pytest.fixture
def target() -> Target:
    """A disc of 20 mm in pixels of 2 mm (rows) by 1 mm (columns)."""
    y, x = np.mgrid[:60, :100]
    return Target.of(np.hypot((y - 30) * 2, x - 50) <= 10, (2.0, 1.0))


def shifted(x_px, y_px):
    return np.broadcast_to(np.float32([x_px, y_px]), (60, 100, 2)).copy()


def running(settings=None, frames=3):
    gate = Gate(settings or GateSettings(interval_ns=200 * MS))
    for k in range(frames):
        gate.frame(INSIDE, k * 200 * MS, k * 200 * MS + 50 * MS)
    return gate, (frames - 1) * 200 * MS


def test_boundary_is_in_mm_on_pixels_that_are_not_square(target):
    assert sight(target, shifted(0, 0), 3.0).outside_share == 0
    along_columns, along_rows = sight(target, shifted(6, 0), 3.0), sight(target, shifted(0, 3), 3.0)
    assert along_columns.centroid_mm == pytest.approx((6, 0)) and along_rows.centroid_mm == pytest.approx((0, 6))
    assert along_columns.outside_share == pytest.approx(along_rows.outside_share, abs=0.05)
    assert along_columns.outside_share > 0.1


def test_share_outside_agrees_with_counting(target):
    """A disc moved by 8 mm: what lies beyond the disc of radius 13 mm."""
    y, x = np.mgrid[:60, :100]
    beyond = np.hypot((y[target.planned] - 30) * 2, x[target.planned] + 8 - 50) > 13
    assert sight(target, shifted(8, 0), 3.0).outside_share == pytest.approx(beyond.mean(), abs=0.05)


def test_a_target_that_left_the_image_is_outside(target):
    assert sight(target, shifted(300, 0), 3.0).outside_share == 1


def test_on_after_two_good_frames_and_off_at_once():
    gate = Gate(GateSettings(interval_ns=200 * MS))
    assert gate.frame(INSIDE, 0, 50 * MS).reason is GateReason.WAITING
    decision = gate.frame(INSIDE, 200 * MS, 260 * MS)
    assert (decision.beam_on, decision.changed, decision.latency_ns) == (True, True, 60 * MS)
    decision = gate.frame(Sighting(0.2, (1.0, 0.0)), 400 * MS, 450 * MS)
    assert (decision.beam_on, decision.reason) == (False, GateReason.SHARE)
    assert not gate.frame(INSIDE, 600 * MS, 650 * MS).beam_on
    assert gate.frame(INSIDE, 800 * MS, 850 * MS).beam_on


@pytest.mark.parametrize(
    ("sighting", "reason"),
    [
        (Sighting(0.11, (0.0, 0.0)), GateReason.SHARE),
        (Sighting(float("nan"), (0.0, 0.0)), GateReason.SHARE),
        (Sighting(0.05, (3.0, 3.0)), GateReason.CENTROID),
        (Sighting(0.0, (float("nan"), 0.0)), GateReason.CENTROID),
        (Sighting(0.0, (0.0, 0.0), through_plane=True), GateReason.THROUGH_PLANE),
        (Sighting(0.0, (0.0, 0.0), usable=False), GateReason.ESTIMATE),
    ],
)
def test_every_fault_turns_the_beam_off(sighting, reason):
    gate, last = running()
    assert gate.beam_on
    decision = gate.frame(sighting, last + 200 * MS, last + 220 * MS)
    assert (decision.beam_on, decision.reason) == (False, reason)


def test_exactly_at_the_limits_is_allowed():
    gate, last = running()
    assert gate.frame(Sighting(0.10, (4.0, 0.0)), last + 200 * MS, last + 220 * MS).beam_on


def test_no_frame_for_two_intervals_is_off_and_counts_anew():
    gate, last = running()
    arrival = last + 50 * MS
    assert gate.tick(arrival + 400 * MS).beam_on
    decision = gate.tick(arrival + 400 * MS + 1)
    assert (decision.beam_on, decision.reason) == (False, GateReason.STALE)
    assert not gate.frame(INSIDE, last + 600 * MS, last + 620 * MS).beam_on
    assert gate.frame(INSIDE, last + 800 * MS, last + 820 * MS).beam_on


def test_an_old_frame_is_not_evidence():
    gate, last = running()
    assert gate.frame(INSIDE, last + 100 * MS, last + 700 * MS).reason is GateReason.STALE


def test_interval_is_learnt_and_a_gap_does_not_loosen_it():
    gate = Gate()
    for k in range(10):
        gate.frame(INSIDE, k * 167 * MS, k * 167 * MS + MS)
    assert gate.interval_ns == pytest.approx(167 * MS, rel=0.01)
    gate.frame(INSIDE, 9 * 167 * MS + 5000 * MS, 9 * 167 * MS + 5001 * MS)
    assert gate.interval_ns < 180 * MS


def test_time_and_frames_must_rise():
    gate, last = running()
    with pytest.raises(ValueError, match="must lie after"):
        gate.frame(INSIDE, last, last + 60 * MS)
    with pytest.raises(ValueError, match="ran back"):
        gate.tick(last)


def test_never_started_is_off():
    assert Gate().tick(5).reason is GateReason.NOT_STARTED


def test_book_counts_time_and_what_the_beam_met():
    gate, last = running()  # on from 250 ms
    gate.frame(Sighting(0.5, (6.0, 8.0)), last + 200 * MS, last + 250 * MS)  # met with the beam on, then off
    gate.tick(last + 450 * MS)
    assert gate.book.duty_cycle == pytest.approx(400 / 800)
    assert gate.book.most_on_mm == 10
    assert gate.book.residual_rms_mm == pytest.approx((100 / 2) ** 0.5)
    assert gate.book.switches == 2
