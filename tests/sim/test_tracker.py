"""The tracker: accuracy, hidden tools, dropouts, clocks."""

import numpy as np
import pytest

from devices.quality import Quality
from sim.phantom.world import World, WorldSettings
from sim.tracker import Tracker

S = 1_000_000_000
TOOL = {"name": "Needle", "motion": "approach", "tip_mm": [0, 0, 150], "at_mm": [78, 0, 0], "start_s": 0.0}


def poses(start_ns, seconds=2.0, tool=None, **parameters):
    world = World(WorldSettings(), seed=1, start_ns=start_ns)
    rng = np.random.default_rng(1)
    tracker = Tracker(
        name="tracker", world=world, rng=rng, start_ns=start_ns, tools=[TOOL | (tool or {})], **parameters
    )
    return tracker, tracker.advance(start_ns + round(seconds * S))


def test_measured_poses_lie_about_the_true_ones(start_ns):
    tracker, said = poses(start_ns)
    true = [tracker.tools["Needle"].ras_from_tool(pose.device_time_ns) for pose in said]
    error = np.array([pose.fixed_from_moving[:3, 3] - t[:3, 3] for pose, t in zip(said, true, strict=True)])
    assert error.std() == pytest.approx(0.05, rel=0.2)
    for pose in said:
        np.testing.assert_allclose(
            pose.fixed_from_moving[:3, :3] @ pose.fixed_from_moving[:3, :3].T, np.eye(3), atol=1e-9
        )


def test_the_approach_ends_at_its_target(start_ns):
    tracker, _ = poses(start_ns, tool={"tremor_mm": 0.0, "reach_s": 5.0, "miss_mm": [1.0, 0, 0]})
    motion = tracker.tools["Needle"]
    np.testing.assert_allclose(motion.tip_mm(start_ns + 6 * S), [79, 0, 0], atol=1e-9)
    assert np.linalg.norm(motion.tip_mm(start_ns) - [78, 0, 0]) == pytest.approx(60, abs=1)


@pytest.mark.parametrize("hidden_pose", ["last", "identity"])
def test_a_hidden_tool_is_invalid_and_repeats_or_is_the_identity(start_ns, hidden_pose):
    _, said = poses(start_ns, tool={"hidden_s": [[0.5, 1.0]]}, hidden_pose=hidden_pose)
    hidden = [pose for pose in said if pose.quality is not Quality.OK]
    assert len(hidden) == 50
    before = said[said.index(hidden[0]) - 1].fixed_from_moving
    expected = before if hidden_pose == "last" else np.eye(4)
    assert all(pose.quality is Quality.INVALID for pose in hidden)
    assert all(np.array_equal(pose.fixed_from_moving, expected) for pose in hidden)


def test_dropouts_have_their_share(start_ns):
    _, said = poses(start_ns, seconds=10, tool={"dropout": 0.1})
    lost = np.mean([pose.quality is Quality.INVALID for pose in said])
    assert 0.07 < lost < 0.13


def test_its_clock_is_its_own(start_ns):
    tracker, said = poses(start_ns, clock_offset_ms=1500.0)
    assert said[0].device_time_ns == start_ns + 1_500_000_000
    assert tracker.measured_ns(said[0].device_time_ns) == start_ns


def test_latency_and_jitter_of_sending(start_ns):
    tracker, _ = poses(start_ns, seconds=0.001, latency_ms=5.0, send_jitter_ms=3.0)
    late = []
    for _ in range(200):
        due_ns = tracker.next_due_ns()
        late.append(due_ns - tracker.advance(due_ns)[0].device_time_ns)
    assert 5e6 <= min(late) < 5.3e6
    assert 7.5e6 < max(late) <= 8e6
