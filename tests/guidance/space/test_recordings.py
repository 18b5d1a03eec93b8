"""The real recordings of the PLUS toolkit against the answers shipped beside them."""

import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import pytest

from devices.quality import Quality
from devices.recorded import read_sequence
from guidance.space import (
    NWire,
    WireFrame,
    calibrate_nwire,
    estimate_lag,
    find_dwells,
    line_depth,
    register_landmarks,
    rotation_angle_deg,
    validate_nwire,
)
from guidance.timing import Kind, PoseRing

pytestmark = pytest.mark.data


@pytest.fixture(scope="module")
def folder(data_dir: Path) -> Path:
    return data_dir / "tracked_ultrasound"


def matrix(text: str) -> np.ndarray:
    return np.array([float(word) for word in text.split()]).reshape(4, 4)


def transform(root: ET.Element, moving: str, fixed: str) -> np.ndarray:
    (found,) = [e for e in root.iter("Transform") if (e.get("From"), e.get("To")) == (moving, fixed)]
    return matrix(found.get("Matrix", ""))


def pose_of(frame, moving: str):  # type: ignore[no-untyped-def]
    return next(pose for pose in frame.poses if pose.moving == moving)


def test_water_tank_lag(folder: Path) -> None:
    video = read_sequence(folder / "WaterTankBottomTranslationVideoBuffer.igs.mha")
    tracker = read_sequence(folder / "WaterTankBottomTranslationTrackerBuffer.igs.mha")
    depth = np.array([line_depth(np.asarray(video.images[n])[0]) for n in range(len(video.frames))])
    picture_s = np.array([frame.time_s for frame in video.frames])
    seen = [(f.time_s, pose_of(f, "Probe")) for f in tracker.frames]
    kept = [(t, p.fixed_from_moving[:3, 3]) for t, p in seen if p.quality is Quality.OK]
    times, places = np.array([t for t, _ in kept]), np.array([p for _, p in kept])
    baseline = ET.parse(folder / "TemporalCalibrationResultsBaseline.xml").getroot()
    expected = float(next(v for e in baseline.iter() for k, v in e.attrib.items() if "lag" in k.lower()))
    assert expected == pytest.approx(-0.0648266)
    assert estimate_lag(places, times, depth, picture_s) == pytest.approx(expected, abs=0.005)
    assert estimate_lag(depth, picture_s, places, times) == pytest.approx(-expected, abs=0.005)


def test_landmark_registration(folder: Path) -> None:
    room = ET.parse(folder / "PlusDeviceSet_fCal_Sim_RecordPhantomLandmarks.xml").getroot()
    answer = ET.parse(folder / "PhantomRegistrationLandmarkDetection.results.xml").getroot()
    stylus_from_tip = transform(room, "StylusTip", "Stylus")
    baseline = transform(answer, "Phantom", "Reference")
    landmarks = np.array([[float(v) for v in e.get("Position", "").split()] for e in room.iter("Landmark")])
    recording = read_sequence(folder / "EightLandmarkPointsTrackedForPhantomRegistration.igs.mha")
    tips, times = [], []
    for frame in recording.frames:
        stylus, reference = pose_of(frame, "Stylus"), pose_of(frame, "Reference")
        if stylus.quality is Quality.OK and reference.quality is Quality.OK:
            inverse = np.linalg.inv(reference.fixed_from_moving)
            tips.append((inverse @ stylus.fixed_from_moving @ stylus_from_tip)[:3, 3])
            times.append(frame.time_s)
    found, used = register_landmarks(landmarks, find_dwells(np.array(tips), np.array(times)))
    assert len(used) == 8
    assert found.fre_mm <= 0.20
    assert rotation_angle_deg(found.fixed_from_moving, baseline) <= 0.2
    assert np.linalg.norm(found.fixed_from_moving[:3, 3] - baseline[:3, 3]) <= 0.2


def test_nwire_calibration(folder: Path) -> None:
    room = ET.parse(folder / "PlusDeviceSet_fCal_Sim_SpatialCalibration_2.0.xml").getroot()
    answer = ET.parse(folder / "FreehandCalibration3NWires_fCal2.0.results.xml").getroot()
    reference_from_phantom = transform(room, "Phantom", "Reference")
    ends = {
        w.get("Name", ""): tuple(
            tuple(float(v) for v in w.get(key, "").split()) for key in ("EndPointFront", "EndPointBack")
        )
        for w in room.iter("Wire")
    }
    names = list(ends)
    wires = [NWire(*(ends[name] for name in names[n : n + 3])) for n in range(0, 9, 3)]

    def frames(tag: str) -> tuple[list[WireFrame], list[float]]:
        rows, errors = [], []
        for frame in next(answer.iter(tag)):
            if frame.get("SegmentationStatus") != "OK":
                continue
            at = {p.get("WireName"): p.get("Position", "").split() for p in next(frame.iter("SegmentedPoints"))}
            told = {e.get("Name"): e.get("Value", "") for e in frame.iter("CustomFrameField")}
            probe, reference = (matrix(told[f"{tool}ToTrackerTransform"]) for tool in ("Probe", "Reference"))
            points = np.array([[float(v) for v in at[name][:2]] for name in names])
            rows.append(WireFrame(points, np.linalg.inv(probe) @ reference @ reference_from_phantom))
            errors += [float(e.get("ErrorMm", "")) for e in frame.iter("ReprojectionError3D")]
        return rows, errors

    calibration, _ = frames("CalibrationData")
    validation, theirs = frames("ValidationData")
    baseline = transform(answer, "Image", "Probe")
    again = validate_nwire(baseline, validation, wires)
    assert np.allclose(again, theirs, atol=2e-4), "the error is measured as the baseline measures it"
    found = calibrate_nwire(calibration, wires)
    ours = validate_nwire(found.probe_from_image, validation, wires)
    assert ours.mean() <= np.mean(theirs)
    most = int(0.95 * len(ours))
    stated = float(next(answer.iter("ReprojectionError3DStatistics")).get("ValidationMeanMm", ""))
    assert np.sort(ours)[:most].mean() <= stated, "the baseline states the mean of the better 95 %"


def test_interpolation_of_a_recording(folder: Path) -> None:
    recording = read_sequence(folder / "TransformInterpolationTest.igs.mha")
    poses = [(round(f.time_s * 1e9), pose_of(f, "Probe")) for f in recording.frames]
    (invalid,) = [n for n, (_, pose) in enumerate(poses) if not pose.quality.usable]
    whole = PoseRing(512)
    for time_ns, pose in poses:
        assert whole.append(time_ns, pose.fixed_from_moving, pose.quality) == ""
    before, after = poses[invalid - 1][0], poses[invalid + 1][0]
    for time_ns in np.linspace(before + 1, after - 1, 50).astype(int):
        assert whole.at(int(time_ns)).kind is Kind.INVALID
    for n in range(len(poses) - 1):
        if invalid in (n, n + 1):
            continue
        ends = [poses[n][1].fixed_from_moving, poses[n + 1][1].fixed_from_moving]
        for share in (0.1, 0.25, 0.5, 0.75, 0.9):
            sample = whole.at(round(poses[n][0] + share * (poses[n + 1][0] - poses[n][0])))
            assert sample.kind is Kind.INTERPOLATED and sample.matrix is not None
            nearest = ends[share > 0.5]
            assert rotation_angle_deg(sample.matrix, nearest) <= 1.0
            assert np.linalg.norm(sample.matrix[:3, 3] - nearest[:3, 3]) <= 0.5


def test_interpolation_of_left_out_samples(folder: Path) -> None:
    """Every second sample is left out and foretold from its neighbours, 40 ms apart."""
    recording = read_sequence(folder / "TransformInterpolationTest.igs.mha")
    poses = [(round(f.time_s * 1e9), pose_of(f, "Probe")) for f in recording.frames]
    errors = []
    for first in (0, 1):
        ring = PoseRing(512)
        for time_ns, pose in poses[first::2]:
            ring.append(time_ns, pose.fixed_from_moving, pose.quality)
        for time_ns, pose in poses[1 - first :: 2]:
            sample = ring.at(time_ns)
            if sample.matrix is not None and pose.quality.usable:
                truth = pose.fixed_from_moving
                turn = rotation_angle_deg(sample.matrix, truth)
                errors.append((turn, np.linalg.norm(sample.matrix[:3, 3] - truth[:3, 3])))
    assert len(errors) > 480
    turns, shifts = np.array(errors).T
    assert np.percentile(turns, 99) <= 1.0, "the tracker itself jumps now and then"
    assert np.percentile(shifts, 98) <= 0.5
