"""What a step lacks is told by its true reason."""

import numpy as np

from devices.messages import Pose
from guidance.console.steps import missing, not_live
from guidance.core import Core
from guidance.load import config_file, load_room

EYE = np.eye(4)


def test_a_tool_that_is_seen_but_not_registered_says_so() -> None:
    settings, plan, limits = load_room(config_file("procedures", "stereotactic_brain"))
    core = Core(settings, plan, limits)
    tracking = core.scene.tracking
    tool = next(row for row in settings.tools if row.role == "tool")
    before = not_live(core, 10**9)[tool.name]
    assert f"{tool.name} is not seen" in before and "registration of Reference to RAS: not measured yet" in before
    for number, (stream, track) in enumerate(tracking.tracks.items(), start=1):
        moving, fixed = track.edge
        pose = Pose(
            name=stream, fixed_from_moving=EYE, moving=moving, fixed=fixed, number=number,
            device_time_ns=10**9, receive_time_ns=10**9,
        )  # fmt: skip
        assert tracking.take(stream, pose, 10**9) == ""
    why = not_live(core, 10**9)[tool.name]
    assert why.startswith("registration of") and why.endswith("not measured yet") and "seen" not in why
    assert f"{tool.name} is not live: {why}" in missing(core, 10**9, {}, treated=False)["target"]
    for edge in [row for row in tracking.errors if row not in tracking.graph.matrices]:
        tracking.join(*edge, EYE, 0.5, 1.0)
    assert tool.name not in not_live(core, 10**9)
    tracking.void[edge] = "the reference was moved"
    assert not_live(core, 10**9)[tool.name] == f"registration of {edge[0]} to {edge[1]}: the reference was moved"
    assert not_live(core, 10**10)[tool.name].count("is not seen") >= 1
