"""Steps between frames are the device's own, whatever the way and the alignment did."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from guidance.timing import ClockAlignment
from guidance.timing.frames import FARTHEST_NS, FrameClock
from guidance.units import NS_PER_MS as MS
from guidance.units import NS_PER_S

START, STEP = 1_000 * NS_PER_S, 200 * MS


def steps(delays_ms: list[int], offset_ns: int = 7_000 * NS_PER_S) -> list[int]:
    """Steps of a stream whose messages take so long each, in ns."""
    alignment, clock = ClockAlignment(), FrameClock()
    times = []
    for number, delay_ms in enumerate(delays_ms):
        device_ns = START + number * STEP
        aligned = alignment.align(device_ns, device_ns + offset_ns + delay_ms * MS, "MR")
        times.append(clock.time_ns(device_ns, aligned.time_ns))
    return [later - earlier for earlier, later in pairwise(times)]


@given(st.lists(st.integers(1, 1500), min_size=2, max_size=60))
def test_time_between_frames_is_the_devices_however_late_they_come(delays_ms: list[int]) -> None:
    assert all(abs(step - STEP) <= STEP // 100 for step in steps(delays_ms))


def test_a_heap_after_a_long_delay_is_no_fast_change() -> None:
    delays = [850] * 300 + [480, 330, 260, 60] + [50] * 20  # as in a room on a machine that was overloaded
    assert all(abs(step - STEP) <= STEP // 100 for step in steps(delays))


def test_time_returns_to_the_alignment() -> None:
    clock = FrameClock()
    clock.time_ns(START, START + 900 * MS)
    for number in range(1, 1000):
        last = clock.time_ns(START + number * STEP, START + number * STEP + 50 * MS)
    assert last == START + 999 * STEP + 50 * MS


def test_a_stepped_clock_a_repeated_and_a_missing_stamp_stand_where_the_alignment_says() -> None:
    clock = FrameClock()
    clock.time_ns(START, START)
    for device_ns in (START + STEP + FARTHEST_NS + NS_PER_S, START - NS_PER_S, START - NS_PER_S, 0):
        assert clock.time_ns(device_ns, START + STEP) == START + STEP
    assert clock.time_ns(START - NS_PER_S + STEP, START + 2 * STEP) == START + 2 * STEP, "and goes on from there"
