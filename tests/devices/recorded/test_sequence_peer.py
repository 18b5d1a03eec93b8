"""A sequence file as tracker and ultrasound: what it says, when, and on which link."""

import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from devices.messages import Acknowledgement, AnyMessage, Command, Image, Pose, Text
from devices.packing import pack, unpack
from devices.peer import NEVER_NS, Peer
from devices.quality import Quality
from devices.recorded import RecordedDataError, SequencePeer, read_sequence

IDENTITY = "1 0 0 0 0 1 0 0 0 0 1 0 0 0 0 1"
S = 1_000_000_000


def _play(peer: Peer, moments: int) -> list[tuple[int, list[AnyMessage]]]:
    said = []
    for _ in range(moments):
        due = peer.next_due_ns()
        if due == NEVER_NS:
            break
        assert peer.advance(due - 1) == []
        said.append((due, peer.advance(due)))
    return said


@pytest.fixture
def take(write_sequence: Any) -> Path:
    """Three frames at 5.0, 5.25, 5.5 s; the second lacks B and has an invalid image."""
    images = np.arange(3 * 2 * 4, dtype=np.uint8).reshape(3, 2, 4)
    a = {"AToTrackerTransform": "1 0 0 5 0 1 0 0 0 0 1 0 0 0 0 1", "AToTrackerTransformStatus": "OK"}
    b = {"BToTrackerTransform": IDENTITY, "BToTrackerTransformStatus": "OUT_OF_VIEW"}
    frames = [
        {"Timestamp": "5.0", "UnfilteredTimestamp": "4.9", "FrameNumber": "10", **a, **b, "ImageStatus": "OK"},
        {"Timestamp": "5.25", "UnfilteredTimestamp": "5.2", "FrameNumber": "12", **a, "ImageStatus": "INVALID"},
        {"Timestamp": "5.5", "UnfilteredTimestamp": "5.4", "FrameNumber": "14", **a, **b, "ImageStatus": "OK"},
    ]
    path: Path = write_sequence(images, frames, orientation="UF", fields={"ElementSpacing": "0.5 0.25 1"})
    return path


def test_poses_then_the_image_at_each_time(take: Path) -> None:
    said = _play(SequencePeer(str(take), "us", start_ns=7 * S), 9)
    assert [due for due, _ in said] == [7 * S, 7 * S + S // 4, 7 * S + S // 2]
    for due, messages in said:
        assert [type(message) for message in messages] == [Pose, Pose, Image]
        assert {message.device_time_ns for message in messages} == {due}
    a, b, image = said[1][1]
    assert isinstance(a, Pose) and isinstance(b, Pose) and isinstance(image, Image)
    assert (a.name, a.moving, a.fixed, a.quality, a.number) == ("AToTracker", "A", "Tracker", Quality.OK, 12)
    assert a.fixed_from_moving[0, 3] == 5
    assert b.quality is Quality.MISSING  # this frame has no B at all
    assert said[0][1][1].quality is Quality.MISSING  # type: ignore[union-attr]  # B is out of view
    assert (image.quality, image.frame, image.number) == (Quality.INVALID, "Image", 12)
    assert image.tags["UltrasoundImageOrientation"] == "MF"
    assert float(image.tags["UnfilteredTimestamp_s"]) == 5.2
    np.testing.assert_array_equal(image.pixels[0, 0], [11, 10, 9, 8])
    np.testing.assert_array_equal(image.frame_from_image_mm, np.eye(4))


def test_messages_pack_and_unpack(take: Path) -> None:
    for message in SequencePeer(str(take)).advance(S):
        back = unpack(pack(message))
        assert pack(back) == pack(message)


def test_original_times_go_on_through_loops(take: Path) -> None:
    said = _play(SequencePeer(str(take), start_ns=100 * S, timing="original", loop=True), 8)
    device = [messages[0].device_time_ns for _, messages in said]
    assert device[:4] == [5 * S, 5 * S + S // 4, 5 * S + S // 2, 5 * S + 3 * S // 4]
    assert np.all(np.diff(device) == S // 4)
    assert np.all(np.diff([due for due, _ in said]) == S // 4)
    numbers = [messages[0].number for _, messages in said if isinstance(messages[0], Pose)]
    assert numbers[:3] == [10, 12, 14] and np.all(np.diff(numbers) > 0)
    np.testing.assert_array_equal(said[0][1][2].pixels, said[3][1][2].pixels)  # type: ignore[union-attr]


def test_a_period_replaces_the_recorded_gaps(take: Path) -> None:
    said = _play(SequencePeer(str(take), start_ns=S, timing=0.04), 9)
    assert [due for due, _ in said] == [S, S + 40_000_000, S + 80_000_000]
    assert [messages[0].device_time_ns for _, messages in said] == [due for due, _ in said]


def test_after_the_end_it_has_nothing_to_say(take: Path) -> None:
    peer = SequencePeer(str(take))
    assert len(peer.advance(10 * S)) == 9
    assert peer.next_due_ns() == NEVER_NS
    assert peer.advance(100 * S) == []


def test_tracker_and_ultrasound_as_two_peers_stay_in_step(take: Path) -> None:
    tracker = SequencePeer(str(take), "tracker", start_ns=S, emit="tracker")
    ultrasound = SequencePeer(str(take), "us", start_ns=S, emit="ultrasound", image_unit="mm", image_name="Image_Ref")
    for (due, poses), (due_too, images) in zip(_play(tracker, 9), _play(ultrasound, 9), strict=True):
        assert due == due_too
        assert [type(message) for message in poses] == [Pose, Pose]
        assert [type(message) for message in images] == [Image]
    assert isinstance(images[0], Image) and images[0].name == "Image_Ref"
    np.testing.assert_allclose(np.diag(images[0].frame_from_image_mm), [0.5, 0.25, 1, 1])


def test_transforms_can_be_chosen(take: Path) -> None:
    peer = SequencePeer(str(take), emit="tracker", transforms=["BToTracker"])
    assert [message.name for message in peer.advance(0)] == ["BToTracker"]
    with pytest.raises(RecordedDataError, match="CToTracker"):
        SequencePeer(str(take), transforms=["CToTracker"])


def test_a_command_is_refused_at_once(take: Path) -> None:
    peer = SequencePeer(str(take), start_ns=5 * S)
    peer.accept(Text(name="x", text="hello"), S)
    assert peer.next_due_ns() == 5 * S
    peer.accept(Command(name="c", command_id=4, verb="STOP"), 2 * S)
    assert peer.next_due_ns() == 2 * S
    (answer,) = peer.advance(2 * S)
    assert isinstance(answer, Acknowledgement)
    assert (answer.command_id, answer.verb, answer.done) == (4, "STOP", False)
    assert peer.next_due_ns() == 5 * S


@pytest.mark.parametrize(
    "wrong",
    [{"emit": "all"}, {"timing": "fast"}, {"timing": 0}, {"timing": -1.0}, {"timing": True}, {"image_unit": "cm"}],
)
def test_a_wrong_parameter_is_refused(take: Path, wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        SequencePeer(str(take), **wrong)


def test_one_frame_has_no_period_to_loop_with(write_sequence: Any) -> None:
    path = str(write_sequence(np.zeros((1, 1, 1), "u1"), [{"Timestamp": "1"}]))
    with pytest.raises(ValueError, match="period"):
        SequencePeer(path, loop=True)
    assert len(_play(SequencePeer(path, loop=True, timing=0.5), 5)) == 5


def test_paths_come_from_the_environment(take: Path) -> None:
    scenario = tomllib.loads(f'path = "${{WHERE}}/{take.name}"\ntiming = "original"\nloop = true\nseed = 3\n')
    peer = SequencePeer(**scenario, environment={"WHERE": str(take.parent)})
    assert len(peer.advance(0)) == 3
    with pytest.raises(RecordedDataError, match="set WHERE"):
        SequencePeer(**scenario, environment={})
    with pytest.raises(RecordedDataError, match="not there"):
        SequencePeer(**scenario, environment={"WHERE": "/nowhere"})


@pytest.mark.data
def test_nwire_with_its_original_timing(data_dir: Path) -> None:
    path = data_dir / "tracked_ultrasound" / "NwirePhantomFreehand.igs.mha"
    sequence = read_sequence(path)
    said = _play(SequencePeer(str(path), start_ns=3 * S, timing="original"), 200)
    assert len(said) == 97
    for frame, (due, messages) in zip(sequence.frames, said, strict=True):
        assert due == 3 * S + round((frame.time_s - sequence.frames[0].time_s) * S)
        assert abs(messages[0].device_time_ns - frame.time_s * S) <= 500  # float seconds of the file
        quality = {message.moving: message.quality for message in messages if isinstance(message, Pose)}
        assert quality == {"Probe": Quality.OK, "Reference": Quality.OK, "Stylus": Quality.INVALID}


@pytest.mark.data
def test_water_tank_buffers_play_on_one_time_line(data_dir: Path) -> None:
    folder = data_dir / "tracked_ultrasound"
    tracker = SequencePeer(str(folder / "WaterTankBottomTranslationTrackerBuffer.igs.mha"), timing="original")
    video = SequencePeer(str(folder / "WaterTankBottomTranslationVideoBuffer.igs.mha"), "us", timing="original")
    assert len(_play(tracker, 10_000)) == 5000
    said = _play(video, 1000)
    assert len(said) == 201
    assert said[0][1][0].device_time_ns == pytest.approx(7417.7313 * S, abs=1000)
    with pytest.raises(RecordedDataError, match="poses only"):
        SequencePeer(str(folder / "WaterTankBottomTranslationTrackerBuffer.igs.mha"), emit="ultrasound")
