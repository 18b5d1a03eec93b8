"""Poses by time: exact, interpolated, or the reason why not."""

import numpy as np
import pytest

from devices.quality import Quality
from guidance.timing import Kind, PoseRing

MS = 1_000_000


def pose(x: float) -> np.ndarray:
    matrix = np.eye(4)
    matrix[0, 3] = x
    return matrix


def filled(count: int = 20, capacity: int = 64, bad: dict[int, Quality] | None = None) -> PoseRing:
    ring = PoseRing(capacity)
    for n in range(count):
        quality = (bad or {}).get(n, Quality.OK)
        assert ring.append(n * 10 * MS + MS, pose(n), quality) == ""
    return ring


def test_exact_and_interpolated() -> None:
    ring = filled()
    exact = ring.at(51 * MS)
    assert exact.kind is Kind.EXACT and exact.matrix is not None and exact.matrix[0, 3] == 5
    between = ring.at(53 * MS)
    assert between.kind is Kind.INTERPOLATED and between.matrix is not None
    assert between.matrix[0, 3] == pytest.approx(5.2)
    assert between.gap_ns == 10 * MS and between.age_ns == 2 * MS
    assert ring.at(59 * MS).age_ns == -2 * MS


def test_nothing_is_extrapolated() -> None:
    ring = filled()
    late = ring.at(192 * MS)
    assert (late.kind, late.matrix, late.age_ns) == (Kind.TOO_OLD, None, MS)
    early = ring.at(0)
    assert (early.kind, early.matrix, early.age_ns) == (Kind.TOO_OLD, None, -MS)
    assert PoseRing(4).at(5).kind is Kind.EMPTY


@pytest.mark.parametrize("quality", [Quality.INVALID, Quality.MISSING, Quality.SUSPECT])
def test_nothing_is_interpolated_across_an_invalid_sample(quality: Quality) -> None:
    ring = filled(bad={5: quality})
    kinds = {ms: ring.at(ms * MS).kind for ms in (41, 42, 50, 51, 52, 60, 61)}
    assert kinds == {
        41: Kind.EXACT,
        42: Kind.INVALID,
        50: Kind.INVALID,
        51: Kind.INVALID,
        52: Kind.INVALID,
        60: Kind.INVALID,
        61: Kind.EXACT,
    }
    assert ring.at(51 * MS).matrix is None


def test_a_long_gap_is_refused() -> None:
    ring = filled()
    ring.append(191 * MS + 21 * MS, pose(30))
    refused = ring.at(200 * MS)
    assert (refused.kind, refused.reason, refused.gap_ns) == (Kind.TOO_OLD, "gap between samples", 21 * MS)
    ring = filled()
    ring.append(191 * MS + 20 * MS, pose(30))
    assert ring.at(200 * MS).kind is Kind.INTERPOLATED
    sparse = PoseRing(8, max_gap_ns=50 * MS)
    sparse.append(MS, pose(0))
    sparse.append(101 * MS, pose(1))
    assert sparse.at(50 * MS).kind is Kind.TOO_OLD, "the cap holds where the median knows only the gap"


def test_repeated_and_reordered_samples_are_not_taken() -> None:
    ring = filled()
    assert ring.append(191 * MS, pose(1)) == "repeated time"
    assert ring.append(100 * MS, pose(1)) == "time went back"
    assert len(ring) == 20


def test_the_ring_turns_over() -> None:
    ring = filled(count=200, capacity=16)
    assert len(ring) == 16
    newest = ring.newest()
    assert newest.matrix is not None and newest.matrix[0, 3] == 199
    oldest = ring.at(184 * 10 * MS + MS)
    assert oldest.kind is Kind.EXACT and oldest.matrix is not None and oldest.matrix[0, 3] == 184
    assert ring.at(183 * 10 * MS + MS).kind is Kind.TOO_OLD
    for n in range(185, 199):
        middle = ring.at(n * 10 * MS + 6 * MS)
        assert middle.matrix is not None and middle.matrix[0, 3] == pytest.approx(n + 0.5)
    ring.clear()
    assert ring.newest().kind is Kind.EMPTY


def test_an_answer_is_not_changed_by_later_samples() -> None:
    ring = filled(count=4, capacity=4)
    answer = ring.at(31 * MS)
    for n in range(4, 12):
        ring.append(n * 10 * MS + MS, pose(n))
    assert answer.matrix is not None and answer.matrix[0, 3] == 3
