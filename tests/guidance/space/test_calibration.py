"""Pivot, hand-eye, lag, dwells, probe calibration and result files on what is known exactly."""

import json

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from guidance.errors import SettingsError
from guidance.space import (
    CalibrationResult,
    LagError,
    NWire,
    WireFrame,
    calibrate_hand_eye,
    calibrate_nwire,
    calibrate_pivot,
    estimate_lag,
    find_dwells,
    line_depth,
    read_result,
    register_landmarks,
    rotation_angle_deg,
    write_result,
)

TIP, PIVOT = np.array([3.0, -2.0, 120.0]), np.array([40.0, 50.0, -900.0])


def pivot_poses(count: int, tilt_deg: float, noise_mm: float = 0.0, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    poses = np.tile(np.eye(4), (count, 1, 1))
    for pose in poses:
        turn = Rotation.from_euler("zxz", [rng.uniform(0, 360), rng.uniform(-tilt_deg, tilt_deg), 0], degrees=True)
        pose[:3, :3] = turn.as_matrix()
        pose[:3, 3] = PIVOT - pose[:3, :3] @ TIP + rng.normal(scale=noise_mm, size=3)
    return poses


def test_pivot_finds_the_tip() -> None:
    found = calibrate_pivot(pivot_poses(200, 40, 0.2))
    assert np.allclose(found.tip_mm, TIP, atol=0.2)
    assert np.allclose(found.pivot_mm, PIVOT, atol=0.2)
    assert found.rms_mm == pytest.approx(0.2 * np.sqrt(3), rel=0.1)
    assert 70 < found.span_deg < 83
    assert found.faults() == []


def test_pivot_leaves_out_slips_and_says_so() -> None:
    poses = pivot_poses(200, 40, 0.1)
    poses[:50, :3, 3] += [15.0, 0, 5.0]
    found = calibrate_pivot(poses)
    assert np.allclose(found.tip_mm, TIP, atol=0.2)
    assert not found.inliers[:50].any() and found.inliers[50:].all()
    poses[:90, :3, 3] += np.random.default_rng(1).normal(scale=20, size=(90, 3))
    assert any("of the poses agree" in text for text in calibrate_pivot(poses).faults())


def test_pivot_refuses_what_does_not_turn() -> None:
    narrow = calibrate_pivot(pivot_poses(200, 15, 0.1))
    assert any("tilted through" in text for text in narrow.faults())
    with pytest.raises(ValueError, match="do not turn"):
        calibrate_pivot(np.tile(np.eye(4), (10, 1, 1)))
    with pytest.raises(ValueError, match="shape"):
        calibrate_pivot(np.eye(4))


def test_hand_eye() -> None:
    rng = np.random.default_rng(2)
    hand_from_eye, base_from_target = np.eye(4), np.eye(4)
    hand_from_eye[:3, :3] = Rotation.from_euler("xyz", [20, -40, 70], degrees=True).as_matrix()
    hand_from_eye[:3, 3] = 30, -20, 80
    base_from_target[:3, 3] = 500, 100, 20
    hands, targets = [], []
    for _ in range(20):
        hand = np.eye(4)
        hand[:3, :3] = Rotation.from_rotvec(rng.normal(scale=0.4, size=3)).as_matrix()
        hand[:3, 3] = rng.normal(scale=100, size=3)
        seen = np.linalg.inv(hand @ hand_from_eye) @ base_from_target
        seen[:3, :3] = seen[:3, :3] @ Rotation.from_rotvec(rng.normal(scale=2e-3, size=3)).as_matrix()
        seen[:3, 3] += rng.normal(scale=0.2, size=3)
        hands.append(hand)
        targets.append(seen)
    found = calibrate_hand_eye(np.array(hands), np.array(targets))
    assert rotation_angle_deg(found.hand_from_eye, hand_from_eye) < 0.2
    assert np.allclose(found.hand_from_eye[:3, 3], hand_from_eye[:3, 3], atol=0.5)
    assert found.faults() == []
    still = np.tile(np.eye(4), (5, 1, 1))
    with pytest.raises(ValueError, match="one axis only"):
        calibrate_hand_eye(still, still)


@pytest.mark.parametrize("lag", [-0.21, -0.0648, 0.0, 0.033, 0.4])
@pytest.mark.parametrize("scale", [5.0, -0.3])
def test_lag_of_known_signals(lag: float, scale: float) -> None:
    def motion(t: np.ndarray) -> np.ndarray:
        return np.sin(2 * np.pi * 0.9 * t) + 0.4 * np.sin(2 * np.pi * 0.37 * t + 1)

    rng = np.random.default_rng(4)
    slow, fast = np.arange(0, 20, 0.05), np.arange(-3, 23, 0.01)
    signal = scale * motion(slow - lag) + rng.normal(scale=0.02 * abs(scale), size=len(slow))
    direction = np.array([0.2, 0.9, -0.3])
    reference = motion(fast)[:, None] * direction + [10, 20, 30]
    assert estimate_lag(signal, slow, reference, fast) == pytest.approx(lag, abs=0.005)
    assert estimate_lag(reference, fast, signal, slow) == pytest.approx(-lag, abs=0.005)


def test_lag_that_cannot_be_told_is_refused() -> None:
    t = np.arange(0, 20, 0.05)
    noise = np.random.default_rng(1).normal(size=len(t))
    wave = np.sin(2 * np.pi * 0.9 * t)
    for a, ta, b, fault in [
        (noise, t, wave, "do not show the same motion"),
        (np.ones_like(t), t, wave, "does not move"),
        (wave, t[::-1], wave, "do not rise"),
        (wave, t + 100, wave, "where both signals run"),
        (wave[:5], t[:5], wave, "fewer than 8"),
    ]:
        with pytest.raises(LagError, match=fault):
            estimate_lag(a, ta, b, t)


def test_line_depth_in_a_noisy_picture() -> None:
    rng = np.random.default_rng(6)
    for depth, slope in [(200.3, 0.1), (410.8, -0.2)]:
        row, column = np.indices((616, 820))
        line = depth + slope * (column - 409.5)
        picture = 200 * np.exp(-0.5 * ((row - line) / 2.5) ** 2) + rng.uniform(0, 20, row.shape)
        picture[50:60, 100:110] = 255
        assert line_depth(picture.astype(np.uint8)) == pytest.approx(depth, abs=0.3)
    with pytest.raises(LagError):
        line_depth(np.zeros((616, 820), np.uint8))


def test_landmarks_touched_in_order() -> None:
    rng = np.random.default_rng(8)
    landmarks = rng.uniform(-60, 60, (6, 3))
    stops = [np.array([300.0, 0, 0]), *(landmarks + np.array([5, 6, 7])), np.array([0.0, 300, 0])]
    path = []
    for here, there in zip(stops, [*stops[1:], stops[-1]], strict=True):
        path += [here + rng.normal(scale=0.2, size=3) for _ in range(30)]
        path += [here + (there - here) * w for w in np.linspace(0.05, 0.95, 10)]
    times = np.arange(len(path)) / 15.0
    dwells = find_dwells(np.array(path), times)
    assert len(dwells) == 8
    found, used = register_landmarks(landmarks, dwells)
    assert np.allclose(found.fixed_from_moving[:3, 3], [5, 6, 7], atol=0.2)
    assert [stay.first for stay in used] == [stay.first for stay in dwells[1:7]]
    with pytest.raises(ValueError, match="held still 2 times"):
        register_landmarks(landmarks, dwells[:2])


WIRES = [
    NWire(((30, 0, 20), (30, 40, 20)), ((55, 0, 20), (35, 40, 20)), ((60, 0, 20), (60, 40, 20))),
    NWire(((35, 0, 0), (35, 40, 0)), ((40, 40, 0), (55, 0, 0)), ((60, 0, 0), (60, 40, 0))),
]


def wire_frames(probe_from_image: np.ndarray, count: int, noise_px: float) -> list[WireFrame]:
    rng = np.random.default_rng(12)
    frames = []
    image_plane = np.linalg.inv(probe_from_image)
    while len(frames) < count:
        placed = np.eye(4)
        placed[:3, :3] = Rotation.from_euler("xyz", [90, 0, 0], degrees=True).as_matrix()
        placed[:3, :3] = Rotation.from_rotvec(rng.normal(scale=0.15, size=3)).as_matrix() @ placed[:3, :3]
        placed[:3, 3] = rng.normal(scale=5, size=3) - np.array([45, 10, 20])
        placed[:3, 3] -= placed[:3, :3] @ [0, rng.uniform(10, 30), 0]
        points = []
        for wire in WIRES:
            for front, back in (wire.first, wire.middle, wire.last):
                a, b = (image_plane @ placed @ [*end, 1.0] for end in (front, back))
                points.append((a + a[2] / (a[2] - b[2]) * (b - a))[:2])
        frames.append(WireFrame(np.array(points) + rng.normal(scale=noise_px, size=(6, 2)), placed))
    return frames


def test_probe_calibration_from_wires() -> None:
    truth = np.eye(4)
    truth[:3, :3] = Rotation.from_euler("xyz", [3, -5, 8], degrees=True).as_matrix() * [
        0.08,
        0.075,
        np.sqrt(0.08 * 0.075),
    ]
    truth[:3, 3] = -30, 5, 2
    found = calibrate_nwire(wire_frames(truth, 120, 0.0), WIRES)
    assert np.allclose(found.probe_from_image, truth, atol=1e-6)
    noisy = calibrate_nwire(wire_frames(truth, 120, 2.0), WIRES)
    corners = np.array([[0, 0, 0, 1], [800, 0, 0, 1], [0, 600, 0, 1], [800, 600, 0, 1]])
    assert np.linalg.norm(corners @ (noisy.probe_from_image - truth).T, axis=1).max() < 1.0
    assert noisy.spacing_mm == pytest.approx((0.08, 0.075), rel=0.01)
    assert noisy.faults((0.08, 0.075)) == []
    assert len(noisy.faults((0.1, 0.094))) == 2, "a changed depth voids the calibration"
    with pytest.raises(ValueError, match="at least 10"):
        calibrate_nwire([], WIRES)


DAY = 86_400_000_000_000
RESULT = CalibrationResult(
    kind="nwire",
    moving="Image",
    fixed="Probe",
    fixed_from_moving=((1, 0, 0, 0), (0, 1, 0, 0), (0, 0, 1, 0), (0, 0, 0, 1)),
    made_ns=10 * DAY,
    errors={"mean_mm": 0.5, "span_deg": 70.0},
    limits={"mean_mm": 1.0, "span_deg_least": 60.0},
    conditions={"row_mm": 0.08, "probe": "L14-5"},
)


def test_a_result_is_refused_beyond_its_limits() -> None:
    now, same = 10 * DAY + 3_600_000_000_000, {"row_mm": 0.0801, "probe": "L14-5"}
    assert RESULT.faults(now, same) == []
    assert "was made 172800 s ago" in RESULT.faults(12 * DAY, same)[0]
    assert "was made -" in RESULT.faults(9 * DAY, same)[0]
    assert RESULT.faults(now, {"row_mm": 0.1, "probe": "L14-5"}) == [
        "nwire Image to Probe: row_mm is 0.1, it was made with 0.08"
    ]
    assert len(RESULT.faults(now, {"probe": "C5-2"})) == 2
    worse = CalibrationResult(
        **{**{f: getattr(RESULT, f) for f in RESULT.__struct_fields__}, "errors": {"mean_mm": 1.4, "span_deg": 50.0}}
    )
    assert len(worse.faults(now, same)) == 2


def test_a_result_file_is_sealed() -> None:
    data = write_result(RESULT)
    assert read_result(data, "r.json") == RESULT
    with pytest.raises(SettingsError, match="was edited"):
        read_result(data.replace(b'"mean_mm": 0.5', b'"mean_mm": 0.4'), "r.json")
    for bad in (b"", b"[]", b"{}", json.dumps({"kind": "magic"}).encode()):
        with pytest.raises(SettingsError):
            read_result(bad, "r.json")
