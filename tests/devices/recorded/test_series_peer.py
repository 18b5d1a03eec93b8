"""A recorded series as a scanner, and respiratory markers as a camera."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from devices.messages import AnyMessage, Image, Points, Pose
from devices.packing import pack, unpack
from devices.peer import NEVER_NS
from devices.recorded import MarkerPeer, RecordedDataError, SeriesPeer, read_markers

FIELDMAP = Path("thermometry") / "free_breathing_gre_3t" / "realtime_fmap"
S = 1_000_000_000


def _images(peer: SeriesPeer, until_ns: int) -> list[Image]:
    messages: list[AnyMessage] = []
    while peer.next_due_ns() <= until_ns:
        messages += peer.advance(peer.next_due_ns())
    images = [message for message in messages if isinstance(message, Image)]
    assert len(images) == len(messages)
    return images


@pytest.mark.data
def test_the_free_breathing_run_as_a_scanner(data_dir: Path) -> None:
    peer = SeriesPeer("${DATA}/" + str(FIELDMAP), "mr", start_ns=2 * S, environment={"DATA": str(data_dir)})
    images = _images(peer, 60 * S)
    assert [image.number for image in images] == list(range(10))
    assert peer.next_due_ns() == NEVER_NS
    np.testing.assert_allclose([image.device_time_ns / S for image in images], 2 + np.arange(10) * 0.786667, atol=1e-5)
    for image in images:
        assert image.pixels.dtype == np.complex64 and not image.pixels.flags.writeable
        assert (image.frame, image.tags["Component"], image.tags["EchoTime_s"]) == ("RAS", "complex", "0.00246")
    back = unpack(pack(images[3]))
    assert isinstance(back, Image)
    np.testing.assert_array_equal(back.pixels, images[3].pixels)


@pytest.mark.data
def test_magnitude_and_phase_come_as_pairs(data_dir: Path) -> None:
    whole = _images(SeriesPeer(str(data_dir / FIELDMAP)), 10 * S)
    pairs = _images(SeriesPeer(str(data_dir / FIELDMAP), component="magnitude_phase", image_name="gre"), 10 * S)
    assert len(pairs) == 20
    for index, image in enumerate(whole):
        magnitude, phase = pairs[2 * index : 2 * index + 2]
        assert (magnitude.name, phase.name) == ("gre_magnitude", "gre_phase")
        assert (magnitude.tags["Component"], phase.tags["Component"]) == ("magnitude", "phase")
        assert magnitude.number == phase.number == index
        assert magnitude.device_time_ns == phase.device_time_ns == image.device_time_ns
        assert magnitude.pixels.dtype == phase.pixels.dtype == np.float32
        np.testing.assert_allclose(magnitude.pixels * np.exp(1j * phase.pixels), image.pixels, atol=0.01)


@pytest.mark.data
def test_dicom_keeps_its_own_clock(data_dir: Path) -> None:
    images = _images(SeriesPeer(str(data_dir / "liver_cine_mr" / "dicom_sample"), timing="original", loop=True), 5 * S)
    assert images[0].device_time_ns == 1605619741_057_500_000
    assert np.all(np.diff([image.device_time_ns for image in images]) > 0)
    assert len(images) > 24 and [image.number for image in images] == list(range(len(images)))
    np.testing.assert_array_equal(images[1].pixels, images[13].pixels)


@pytest.mark.data
def test_a_series_without_absolute_times_has_no_original_ones(data_dir: Path) -> None:
    with pytest.raises(ValueError, match="absolute"):
        SeriesPeer(str(data_dir / FIELDMAP), timing="original")


@pytest.mark.data
def test_x_ray_and_ultrasound_cine_play(data_dir: Path) -> None:
    xray = SeriesPeer(str(data_dir / "xray" / "XA_512x512x96_fo-dicom_HasFragmentSequence.dcm"), tags={"Room": "2"})
    images = _images(xray, S)
    assert len(images) == 31 and images[0].frame == "Image" and images[0].tags["Room"] == "2"
    with pytest.raises(RecordedDataError, match="not complex"):
        SeriesPeer(str(data_dir / "xray" / "XA_512x512x96_fo-dicom_HasFragmentSequence.dcm"), component="magnitude")


def test_a_number_serves_files_without_times(write_mha: Any) -> None:
    path = write_mha(np.arange(12, dtype="u1").reshape(3, 2, 2), fields={"Kinds": "domain domain list"})
    with pytest.raises(RecordedDataError, match="period"):
        SeriesPeer(str(path))
    images = _images(SeriesPeer(str(path), timing=0.5), 2 * S)
    assert [image.device_time_ns for image in images] == [0, S // 2, S]
    np.testing.assert_array_equal(images[2].pixels[0], [[8, 9], [10, 11]])


def test_a_wrong_component_is_refused(write_mha: Any) -> None:
    with pytest.raises(ValueError, match="component"):
        SeriesPeer(str(write_mha(np.zeros((1, 2, 2), "u1"))), component="real")


SESSIONS = [
    ("201205101519-LAC-1-T-222-6.csv", ("LAC", "UAC", "UCC"), 2220, 1),
    ("201205101522-UAC-1-N-138-6.csv", ("LAC", "UAC", "UCC"), 1383, 1),
    ("201205101536-UCC-1-LT-142-6.csv", ("LAC", "UAC", "UCC"), 1422, 1),
    ("201205101541-UCC-1-N-130-6.csv", ("LAC", "UAC", "UCC"), 1305, 3),
    ("201205111055-LAR-1-N-117-6.csv", ("LAC", "LAR", "UAR"), 1170, 2),
    ("201205181211-LAC-1-N-320-6.csv", ("LAC", "UAC", "UCC"), 3198, 2),
]


@pytest.mark.data
@pytest.mark.parametrize(("name", "labels", "count", "left_out"), SESSIONS, ids=[row[0] for row in SESSIONS])
def test_real_marker_sessions(data_dir: Path, name: str, labels: tuple[str, ...], count: int, left_out: int) -> None:
    markers = read_markers(data_dir / "respiratory_markers" / name)
    assert markers.labels == labels
    assert markers.positions_mm.shape == (count, 3, 3)
    assert markers.rows_left_out == left_out
    gaps = np.diff(markers.times_s)
    assert gaps.min() > 0.05 and gaps.max() < 0.5 and np.median(gaps) == pytest.approx(0.1, abs=0.001)


@pytest.mark.data
def test_markers_as_points_and_as_poses(data_dir: Path) -> None:
    path = str(data_dir / "respiratory_markers" / "201205101519-LAC-1-T-222-6.csv")
    (points,) = MarkerPeer(path, start_ns=S).advance(S)
    assert isinstance(points, Points) and points.labels == ("LAC", "UAC", "UCC") and points.frame == "Camera"
    np.testing.assert_allclose(points.positions_mm, [[-490.7, 4.1, 64.7], [-396.9, 5.1, 85.6], [-286.4, 2.2, 95.4]])
    poses = MarkerPeer(path, say_as="poses").advance(117_000_000)
    assert [(pose.name, pose.device_time_ns) for pose in poses][3] == ("LACToCamera", 117_000_000)
    assert isinstance(poses[3], Pose)
    np.testing.assert_allclose(poses[3].fixed_from_moving[:3, 3], [-490.7, 4.3, 64.2])


HEADING = '"Frame";"Timestamp";"x";"y";"z"\n'


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("", "line 1"),
        ("Frame,Timestamp,x,y,z\n", "line 1"),
        (HEADING, "rows"),
        (HEADING + "0;0;1;2\n", "line 2"),
        (HEADING + "0;0;1;2;3\n1;soon;1;2;3\n", "line 3"),
        (HEADING + "0;0;1;2;nan\n", "rows"),
        (HEADING + "0;100;1;2;3\n1;0;1;2;3\n", "Timestamp"),
        (HEADING + "0;0;1;2;\xff\n", "line 2"),
    ],
)
def test_a_wrong_marker_file_is_named(tmp_path: Path, text: str, named: str) -> None:
    path = tmp_path / "s-A-1.csv"
    path.write_text(text, "utf-8")
    with pytest.raises(RecordedDataError) as fault:
        read_markers(path)
    assert fault.value.field == named


def test_files_of_one_session_share_their_times(tmp_path: Path) -> None:
    (tmp_path / "s-A-1.csv").write_text(HEADING + "0;0;1,5;2;3\n")
    (tmp_path / "s-B-1.csv").write_text(HEADING + "0;5;1;2;3\n")
    with pytest.raises(RecordedDataError, match="differs"):
        read_markers(tmp_path / "s-A-1.csv")
    (tmp_path / "s-B-1.csv").write_text(HEADING + "0;0;4;2;3\n")
    np.testing.assert_allclose(read_markers(tmp_path / "s-B-1.csv").positions_mm[0, :, 0], [1.5, 4])
