"""A scenario becomes a room: every peer keeps its contract, and the seed decides everything."""

import numpy as np
import pytest

from devices.messages import Command, GuidedPose, Image, Pose
from devices.packing import pack
from devices.peer import NEVER_NS
from devices.quality import Quality
from sim.errors import ScenarioError
from sim.scenario import build, load

S = 1_000_000_000
MS = 1_000_000


def live(room, start_ns, seconds, permit=True):
    """Drive the peers as a service would; all messages as (time, link, message)."""
    said = []
    beat_ns = start_ns
    while True:
        peer = min(room.peers, key=lambda peer: peer.next_due_ns())
        due_ns = min(peer.next_due_ns(), beat_ns)
        if due_ns > start_ns + seconds * S:
            return said
        if due_ns == beat_ns:
            for other in room.peers:
                if permit and other.name == "therapy":
                    other.accept(Command(name="Therapy", command_id=0, verb="PERMIT"), due_ns)
            beat_ns += 100 * MS
            continue
        said += [(due_ns, peer.name, message) for message in peer.advance(due_ns)]
        assert peer.next_due_ns() > due_ns or peer.next_due_ns() == NEVER_NS, f"{peer.name} stays due"


def test_rates_order_and_times(values, start_ns):
    said = live(build(values, seed=1, start_ns=start_ns), start_ns, 2)
    names = [message.name for _, _, message in said]
    assert 198 <= names.count("NeedleToTracker") <= 201
    assert 57 <= names.count("Ultrasound") <= 61
    assert 8 <= names.count("MR") <= 10
    assert 19 <= names.count("Therapy") <= 21
    for name in set(names):
        times = [message.device_time_ns for _, _, message in said if message.name == name]
        assert times == sorted(times)
        assert min(times) >= start_ns
    assert all(message.device_time_ns <= now for now, _, message in said)


def test_pictures_are_read_only_and_native(values, start_ns):
    said = live(build(values, seed=1, start_ns=start_ns), start_ns, 1)
    for image in (message for _, _, message in said if isinstance(message, Image)):
        assert image.pixels.ndim == 3
        assert image.pixels.dtype.isnative
        assert not image.pixels.flags.writeable
        assert np.isfinite(image.pixels).all()
        assert image.frame_from_image_mm.shape == (4, 4)


def test_the_same_seed_gives_the_same_bytes(values, start_ns):
    runs = [
        [pack(message) for _, _, message in live(build(values, seed=seed, start_ns=start_ns), start_ns, 1)]
        for seed in (5, 5, 6)
    ]
    assert runs[0] == runs[1]
    assert runs[0] != runs[2]


def test_a_perfect_guide_scores_no_error_and_a_shifted_one_its_shift(values, start_ns):
    room = build(values, seed=1, start_ns=start_ns)
    tracker = room.peers[0]
    outputs = []
    for now_ns, _, message in live(room, start_ns, 1):
        if isinstance(message, Pose) and message.moving in ("Needle", "Probe"):
            ras_from_tool = tracker.ras_from_tracker @ message.fixed_from_moving
            ras_from_tool[:3, 3] += [3.0, 0, 0] if message.moving == "Probe" else 0.0
            about = {"tool": message.moving, "quality": Quality.OK, "values": {}, "name": "x"}
            evidence = {f"{message.moving}.device_ns": message.device_time_ns}
            outputs.append((now_ns, GuidedPose(ras_from_tool=ras_from_tool, evidence=evidence, **about)))
    score = room.score(outputs)
    assert score["tip_error_mm"]["Needle"]["rms"] < 0.2
    assert score["tip_error_mm"]["Probe"]["rms"] == pytest.approx(3.0, abs=0.2)
    assert score["outputs"]["GuidedPose"] == len(outputs)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda v: v["peers"][0].update(peer="sim.tracker.Radar"), "Radar"),
        (lambda v: v["peers"][0].update(link="nowhere"), "nowhere"),
        (lambda v: v["peers"][0]["with"].update(colour="red"), "colour"),
        (lambda v: v["peers"][0]["with"]["tools"][0].update(motion="dance"), "dance"),
        (lambda v: v["world"]["breathing"].update(period_s="four"), r"world\.breathing\.period_s"),
        (lambda v: v.update(speed=3), "speed"),
        (lambda v: v.update(faults=[{"link": "tracker", "kind": "explode"}]), "explode"),
        (lambda v: v["peers"][2]["with"].update(plane="oblique"), "oblique"),
    ],
)
def test_a_wrong_scenario_says_what_is_wrong(values, start_ns, change, says):
    change(values)
    with pytest.raises(ScenarioError, match=says):
        build(values, seed=1, start_ns=start_ns)


def test_a_scenario_that_is_not_there_names_those_that_are():
    with pytest.raises(ScenarioError, match="hifu_liver"):
        load("hifu_lever")
