"""Device clocks: offset, drift, delay, and every stamp that must not be believed."""

import numpy as np
import pytest

from guidance.timing import ClockAlignment

MS = 1_000_000
S = 1_000_000_000
START = 1_700_000_000 * S


def feed(clock: ClockAlignment, seconds: float, drift_ppm: float, offset_ns: int, seed: int = 0) -> list[float]:
    """Errors in ms of the aligned time at 100 Hz, delays 1 ms + exponential 3 ms."""
    rng = np.random.default_rng(seed)
    errors = []
    for n in range(int(seconds * 100)):
        truth = START + n * 10 * MS
        device = round((truth - START) * (1 + drift_ppm * 1e-6)) + START + offset_ns
        placed = clock.align(device, truth + MS + int(rng.exponential(3 * MS)))
        assert placed.valid, placed.reason
        errors.append((placed.time_ns - truth) / MS)
    return errors


@pytest.mark.parametrize("drift_ppm", [-50, 0, 50])
@pytest.mark.parametrize("offset_ns", [0, 3600 * S, -(START - S)])
def test_the_offset_is_found_through_delay_and_drift(drift_ppm: float, offset_ns: int) -> None:
    errors = feed(ClockAlignment(), 120, drift_ppm, offset_ns)[200:]
    assert min(errors) >= 0.0, "placed before it happened"
    assert max(errors) < 1.0 + 3.2, "later than the least delay plus what the drift allowance costs"


def test_never_after_its_receipt() -> None:
    clock = ClockAlignment()
    for n, delay in enumerate([9, 1, 50, 2, 0, 30]):
        receive = START + n * 10 * MS + delay * MS
        assert clock.align(START + n * 10 * MS, receive).time_ns <= receive


@pytest.mark.parametrize(
    ("device", "reason"),
    [
        (0, "no device time"),
        (START + 1000 * MS, "repeated device time"),
        (START + 900 * MS, "device time went back"),
        (START - 3600 * S, "device time is 3601.010 s behind its clock"),
        (START + 3600 * S, "device time is 3598.990 s ahead of its clock"),
    ],
)
def test_a_bad_stamp_is_refused_with_its_reason_and_placed_at_receipt(device: int, reason: str) -> None:
    clock = ClockAlignment(drift_ppm=0)
    for n in range(101):
        clock.align(START + n * 10 * MS, START + n * 10 * MS + MS)
    receive = START + 1011 * MS
    placed = clock.align(device, receive)
    assert (placed.valid, placed.reason, placed.time_ns) == (False, reason, receive)
    assert not clock.valid
    good = clock.align(START + 1020 * MS, START + 1021 * MS)
    assert good.valid and good.time_ns == START + 1021 * MS, "one bad stamp moved the alignment"


def test_two_tools_may_share_a_stamp() -> None:
    clock = ClockAlignment()
    assert clock.align(START, START + MS, "Probe").valid
    assert clock.align(START, START + MS, "Stylus").valid
    assert clock.align(START, START + 2 * MS, "Probe").reason == "repeated device time"


def test_a_stepped_clock_is_taken_up_again_and_counted() -> None:
    clock = ClockAlignment()
    feed(clock, 2, 0, 0)
    base = START + 2 * S
    valid = [clock.align(base - 3600 * S + n * 10 * MS, base + n * 10 * MS + MS).valid for n in range(100)]
    assert valid.index(True) == 50, "settles after half a second, not at once"
    assert all(valid[50:]) and clock.restarts == 1 and clock.refused == 50


def test_a_frozen_device_clock_is_never_taken_up() -> None:
    clock = ClockAlignment()
    feed(clock, 2, 0, 0)
    assert not any(clock.align(START + S, START + 2 * S + n * 10 * MS).valid for n in range(500))


def test_no_alignment_yet_is_an_error() -> None:
    clock = ClockAlignment()
    with pytest.raises(ValueError, match="no message yet"):
        clock.to_service_ns(5)
    clock.align(START, START + MS)
    assert clock.to_service_ns(START + 5) == START + MS + 5
