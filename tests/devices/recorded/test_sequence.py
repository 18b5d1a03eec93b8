"""PLUS sequences: the real recordings, orientations, statuses, and every fault with its name."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from devices.quality import Quality
from devices.recorded import RecordedDataError, read_sequence
from devices.recorded.orientation import reorient

IDENTITY = "1 0 0 0 0 1 0 0 0 0 1 0 0 0 0 1"
# name, frames, image (rows, columns) or None, transforms, statuses other than OK
REAL = [
    ("EightLandmarkPointsTrackedForPhantomRegistration.igs.mha", 1000, None, ("Reference", "Stylus"), {}),
    ("NwirePhantomFreehand.igs.mha", 97, (616, 820), ("Probe", "Reference", "Stylus"), {("Stylus", "INVALID"): 97}),
    ("NwirePhantomFreehand.igs.nrrd", 97, (616, 820), ("Probe", "Reference", "Stylus"), {("Stylus", "INVALID"): 97}),
    ("ReferenceToRASCalibration.igs.mha", 93, None, ("Reference", "Stylus"), {}),
    ("SpinePhantomFreehand.igs.mha", 21, (616, 820), ("Probe", "Reference", "Stylus"), {}),
    ("TimestampFilteringTest.igs.mha", 500, (1, 1), ("Identity",), {}),
    (
        "TransformInterpolationTest.igs.mha",
        500,
        (1, 1),
        ("Probe", "Reference"),
        {("Probe", "INVALID"): 1, ("Reference", ""): 500},
    ),
    ("WaterTankBottomTranslationTrackerBuffer.igs.mha", 5000, None, ("Probe", "Reference", "Stylus"), {}),
    ("WaterTankBottomTranslationVideoBuffer.igs.mha", 201, (616, 820), (), {}),
    ("fCal_Test_Calibration_3NWires_fCal2.0.igs.mha", 190, (616, 820), ("Probe", "Reference", "Stylus"), {}),
    ("fCal_Test_Validation_3NWires_fCal2.0.igs.mha", 103, (616, 820), ("Probe", "Reference", "Stylus"), {}),
]


@pytest.mark.data
@pytest.mark.parametrize(("name", "count", "image", "tools", "unusual"), REAL, ids=[row[0] for row in REAL])
def test_real_recordings(
    data_dir: Path,
    name: str,
    count: int,
    image: tuple[int, int] | None,
    tools: tuple[str, ...],
    unusual: dict[tuple[str, str], int],
) -> None:
    sequence = read_sequence(data_dir / "tracked_ultrasound" / name)
    assert len(sequence.frames) == count
    assert tuple(moving for moving, _ in sequence.transforms) == tools
    if image is None:
        assert sequence.images is None
        assert {frame.image_quality for frame in sequence.frames} == {Quality.MISSING}
    else:
        assert sequence.images is not None and sequence.images.shape == (count, 1, *image)
        assert sequence.images.dtype == np.uint8 and not sequence.images.flags.writeable
        assert {frame.image_quality for frame in sequence.frames} == {Quality.OK}
    seen: dict[tuple[str, str], int] = {}
    for frame in sequence.frames:
        for pose in frame.poses:
            if pose.status != "OK":
                seen[pose.moving, pose.status] = seen.get((pose.moving, pose.status), 0) + 1
            assert pose.quality.usable == (pose.status == "OK")
    assert seen == unusual
    assert (np.diff(sequence.times_s) > 0).all()


@pytest.mark.data
def test_all_real_sequences_are_in_the_table(data_dir: Path) -> None:
    assert sorted(path.name for path in (data_dir / "tracked_ultrasound").glob("*.igs.*")) == [row[0] for row in REAL]


@pytest.mark.data
def test_nwire_by_its_numbers(data_dir: Path) -> None:
    sequence = read_sequence(data_dir / "tracked_ultrasound" / "NwirePhantomFreehand.igs.mha")
    first = sequence.frames[0]
    assert first.time_s == 345.627957
    assert np.median(np.diff(sequence.times_s)) == pytest.approx(0.079, abs=0.001)
    probe = first.poses[0]
    assert (probe.moving, probe.fixed) == ("Probe", "Tracker")
    np.testing.assert_allclose(probe.fixed_from_moving[:3, 3], [-190.886, -98.0911, -1949.07])
    np.testing.assert_allclose(probe.fixed_from_moving[0, :3], [0.956683, -0.263308, 0.124204])


@pytest.mark.data
def test_nrrd_and_metaimage_of_one_recording_are_equal(data_dir: Path) -> None:
    folder = data_dir / "tracked_ultrasound"
    mha = read_sequence(folder / "NwirePhantomFreehand.igs.mha")
    nrrd = read_sequence(folder / "NwirePhantomFreehand.igs.nrrd")
    assert mha.images is not None and nrrd.images is not None
    np.testing.assert_array_equal(mha.images, nrrd.images)
    np.testing.assert_array_equal(mha.times_s, nrrd.times_s)
    assert mha.orientation == nrrd.orientation == "MFA"
    assert mha.spacing_mm == nrrd.spacing_mm
    for one, other in zip(mha.frames, nrrd.frames, strict=True):
        assert one.image_quality == other.image_quality
        assert [pose.status for pose in one.poses] == [pose.status for pose in other.poses]
        for here, there in zip(one.poses, other.poses, strict=True):
            np.testing.assert_array_equal(here.fixed_from_moving, there.fixed_from_moving)


@pytest.mark.data
def test_water_tank_video_keeps_filtered_and_read_times(data_dir: Path) -> None:
    frame = read_sequence(data_dir / "tracked_ultrasound" / "WaterTankBottomTranslationVideoBuffer.igs.mha").frames[0]
    assert (frame.time_s, frame.unfiltered_time_s, frame.number) == (7417.7313, 7417.73, 1449)


@pytest.mark.data
def test_a_field_that_is_no_transform_is_kept_as_text(data_dir: Path) -> None:
    frame = read_sequence(data_dir / "tracked_ultrasound" / "TransformInterpolationTest.igs.mha").frames[0]
    assert frame.fields == {"Stylus": IDENTITY}


def _frames(count: int, **more: str) -> list[dict[str, str]]:
    return [{"Timestamp": f"{10 + 0.1 * index}", **more} for index in range(count)]


@pytest.mark.parametrize(
    ("status", "quality"),
    [
        ("OK", Quality.OK),
        ("TOOL_OK", Quality.OK),
        ("SWITCH1_IS_ON", Quality.OK),
        ("MISSING", Quality.MISSING),
        ("TOOL_OUT_OF_VIEW", Quality.MISSING),
        ("OUT_OF_VOLUME", Quality.MISSING),
        ("REQ_TIMEOUT", Quality.MISSING),
        ("INVALID", Quality.INVALID),
        ("BETTER_THAN_EVER", Quality.INVALID),
        (None, Quality.SUSPECT),
    ],
)
def test_statuses(write_sequence: Any, status: str | None, quality: Quality) -> None:
    fields = {"TooltipToTrackerTransform": IDENTITY}
    if status is not None:
        fields["TooltipToTrackerTransformStatus"] = status
    pose = read_sequence(write_sequence(np.zeros((1, 2, 2), "u1"), _frames(1, **fields))).frames[0].poses[0]
    assert (pose.moving, pose.fixed, pose.quality) == ("Tooltip", "Tracker", quality)


IMAGE = np.array([[0, 1, 2], [3, 4, 5]], dtype=np.uint8)


@pytest.mark.parametrize(
    ("orientation", "turned"),
    [
        ("MF", IMAGE),
        ("MFA", IMAGE),
        ("UF", IMAGE[:, ::-1]),
        ("UFD", IMAGE[:, ::-1]),
        ("MN", IMAGE[::-1]),
        ("UN", IMAGE[::-1, ::-1]),
        ("FM", IMAGE.T),
        ("FU", IMAGE.T[:, ::-1]),
        ("NM", IMAGE.T[::-1]),
        ("NU", IMAGE.T[::-1, ::-1]),
    ],
)
def test_images_are_brought_to_a_stated_orientation(
    write_sequence: Any, orientation: str, turned: np.ndarray[Any, Any]
) -> None:
    path = write_sequence(IMAGE[np.newaxis], _frames(1), orientation=orientation, fields={"ElementSpacing": "2 3 1"})
    sequence = read_sequence(path, wanted_orientation="MF")
    assert sequence.images is not None and not sequence.images.flags.writeable
    np.testing.assert_array_equal(sequence.images[0, 0], turned)
    assert sequence.orientation == "MF"
    assert sequence.spacing_mm[:2] == ((2, 3) if turned.shape == IMAGE.shape else (3, 2))


@given(st.permutations(["MU", "FN", "AD"]), st.tuples(*[st.integers(0, 1)] * 3), st.sampled_from(["MFA", "UND", "AMF"]))
def test_turning_there_and_back_changes_nothing(pairs: list[str], which: tuple[int, ...], wanted: str) -> None:
    recorded = "".join(pair[letter] for pair, letter in zip(pairs, which, strict=True))
    frames = np.arange(2 * 3 * 4 * 5).reshape(2, 3, 4, 5)
    frames.flags.writeable = False
    np.testing.assert_array_equal(reorient(reorient(frames, recorded, wanted), wanted, recorded), frames)


def test_volumes_turn_by_their_third_letter(write_sequence: Any) -> None:
    volumes = np.arange(2 * 2 * 2 * 3, dtype=np.uint8).reshape(2, 2, 2, 3)
    path = write_sequence(volumes, _frames(2), orientation="MFD")
    images = read_sequence(path, wanted_orientation="MFA").images
    np.testing.assert_array_equal(images, volumes[:, ::-1])


def test_an_unknown_orientation_cannot_be_turned(write_sequence: Any) -> None:
    path = write_sequence(IMAGE[np.newaxis], _frames(1), orientation="XX")
    with pytest.raises(RecordedDataError, match="XX"):
        read_sequence(path, wanted_orientation="MF")
    assert read_sequence(path).orientation == "XX"


@pytest.mark.parametrize(("said", "quality"), [("OK", Quality.OK), ("INVALID", Quality.INVALID), (None, Quality.OK)])
def test_image_status(write_sequence: Any, said: str | None, quality: Quality) -> None:
    fields = {} if said is None else {"ImageStatus": said}
    sequence = read_sequence(write_sequence(IMAGE[np.newaxis], _frames(1, **fields)))
    assert sequence.frames[0].image_quality is quality


@pytest.mark.parametrize(
    ("frames", "named"),
    [
        ([{"Timestamp": "1"}], "Seq_Frame"),
        ([{"Timestamp": "1"}, {"ImageStatus": "OK"}], "Seq_Frame0001_Timestamp"),
        ([{"Timestamp": "1"}, {"Timestamp": "0.5"}], "Seq_Frame0001_Timestamp"),
        ([{"Timestamp": "1"}, {"Timestamp": "nan"}], "Seq_Frame0001_Timestamp"),
        ([{"Timestamp": "1"}, {"Timestamp": "soon"}], "Seq_Frame0001_Timestamp"),
        ([{"Timestamp": "1"}, {"Timestamp": "2", "AToBTransform": "1 2 3"}], "AToBTransform"),
        ([{"Timestamp": "1"}, {"Timestamp": "2", "AToBTransform": IDENTITY + " 1"}], "AToBTransform"),
        ([{"Timestamp": "1"}, {"Timestamp": "2", "AToBTransform": "x " * 16}], "AToBTransform"),
        ([{"Timestamp": "1"}, {"Timestamp": "2", "AToBTransform": "inf" + IDENTITY[1:]}], "AToBTransform"),
        ([{"Timestamp": "1"}, {"Timestamp": "2", "AToBTransform": IDENTITY[:-1] + "2"}], "AToBTransform"),
    ],
)
def test_a_wrong_frame_is_named(write_sequence: Any, frames: list[dict[str, str]], named: str) -> None:
    with pytest.raises(RecordedDataError) as fault:
        read_sequence(write_sequence(np.zeros((2, 1, 1), "u1"), frames))
    assert fault.value.field.endswith(named)


@pytest.mark.data
def test_a_cut_recording_is_refused(data_dir: Path, tmp_path: Path) -> None:
    whole = (data_dir / "tracked_ultrasound" / "NwirePhantomFreehand.igs.mha").read_bytes()
    cut = tmp_path / "cut.igs.mha"
    for length in (0, 1, 100, 5000, 40_000, len(whole) // 2, len(whole) - 1):
        cut.write_bytes(whole[:length])
        with pytest.raises(RecordedDataError):
            read_sequence(cut)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(at=st.integers(0, 10_000), value=st.integers(0, 255))
def test_a_changed_byte_gives_a_sequence_or_a_named_fault(write_sequence: Any, at: int, value: int) -> None:
    fields = {"AToBTransform": IDENTITY, "AToBTransformStatus": "OK", "FrameNumber": "7"}
    path = write_sequence(np.zeros((2, 1, 1), "u1"), _frames(2, **fields))
    content = bytearray(path.read_bytes())
    content[at % len(content)] = value
    path.write_bytes(content)
    try:
        assert len(read_sequence(path, wanted_orientation="MF").frames) == 2
    except RecordedDataError as fault:
        assert fault.field
