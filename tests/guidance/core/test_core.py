"""The core as a whole: what goes in, what comes out, and what must never come out."""

import numpy as np
import pytest

from devices.messages import Acknowledgement, Alert, Command, GuidedPose
from devices.quality import Quality
from guidance.events import LinkChange, Send
from guidance.safety.phases import Phase


def test_a_pose_gives_a_guided_pose_with_its_evidence(bench) -> None:
    bench.step(10)
    told = bench.sent(GuidedPose)[-1]
    assert told.quality is Quality.OK
    assert told.evidence["Needle"] == bench.now_ns
    assert told.evidence["Needle.device_ns"] == bench.now_ns
    assert told.values["tip_r_mm"] == pytest.approx(0.01)


def test_an_invalid_pose_is_told_as_not_live_and_moves_nothing(bench) -> None:
    bench.step(50)
    far = np.eye(4)
    far[:3, 3] = 500.0
    bench.say("tracker", bench.pose(Quality.INVALID, far))
    told = bench.sent(GuidedPose)[-1]
    assert told.quality is Quality.INVALID
    assert told.values == {}
    assert abs(told.ras_from_tool[0, 3]) < 1.0


@pytest.mark.parametrize(
    "matrix",
    [np.full((4, 4), np.nan), np.zeros((4, 4)), np.diag([1.0, 1.0, -1.0, 1.0]), np.diag([2.0, 1.0, 1.0, 1.0])],
    ids=["nan", "zero", "mirrored", "scaled"],
)
def test_an_impossible_pose_is_rejected_and_counted(bench, matrix) -> None:
    bench.step(50)
    before = len(bench.sent(GuidedPose))
    bench.say("tracker", bench.pose(matrix=matrix))
    assert len(bench.sent(GuidedPose)) == before
    assert bench.core.streams["Needle"].rejected == 1


def test_a_jump_that_no_hand_makes_is_rejected(bench) -> None:
    bench.step(50)
    jump = np.eye(4)
    jump[0, 3] = 500.0
    bench.say("tracker", bench.pose(matrix=jump))
    assert bench.core.streams["Needle"].rejected == 1


def test_silence_is_told_as_not_live_within_the_limit(bench) -> None:
    bench.step(200)
    bench.step(160, pose=False)
    assert bench.sent(GuidedPose)[-1].quality is Quality.MISSING
    assert not bench.sent(Alert), "a glance away is shown, not sounded"
    bench.step(2100, pose=False)
    assert any(alert.name == "K1.Needle" and alert.state == "active" for alert in bench.sent(Alert))


def test_a_frozen_pose_is_not_live(bench) -> None:
    bench.step(100)
    same = np.eye(4)
    for _ in range(15):
        bench.now_ns += 10_000_000
        bench.say("tracker", bench.pose(matrix=same))
    assert bench.sent(GuidedPose)[-1].quality is Quality.SUSPECT
    bench.step(10, pose=False)
    assert any(alert.name == "K2.Needle" for alert in bench.sent(Alert))


def test_nothing_can_be_armed_before_everything_is_known(bench) -> None:
    bench.step(100, image=False)
    bench.act("RESET")
    answer = bench.act("ARM")
    assert not answer.done
    assert "thermometry_valid_share.MR is unknown" in answer.text


def test_a_service_starts_stopped_and_treats_only_after_two_steps(bench) -> None:
    assert bench.core.treatment.phase is Phase.STOPPED
    bench.step(500)
    assert not bench.act("START").done
    assert bench.act("RESET").done
    assert not bench.act("START").done
    assert bench.act("ARM").done
    assert bench.core.treatment.phase is Phase.READY
    assert bench.act("START").done
    assert bench.core.treatment.phase is Phase.TREATING
    verbs = [command.verb for command in bench.sent(Command, "therapy")]
    assert verbs[-3:] == ["PERMIT", "POWER", "START"]


def test_permits_follow_the_phase_at_10_hz(treating) -> None:
    treating.seen.clear()
    treating.step(1000)
    permits = [c.values["permit"] for c in treating.sent(Command, "therapy") if c.verb == "PERMIT"]
    assert len(permits) == 10
    assert set(permits) == {1.0}


def test_late_thermometry_holds_then_stops(treating) -> None:
    treating.step(300, image=False)
    treating.step(60, image=False)
    assert treating.core.treatment.phase is Phase.HOLD
    assert treating.sent(Command, "therapy")[-1].values.get("permit", 0.0) == 0.0
    treating.step(300, image=False)
    assert treating.core.treatment.phase is Phase.STOPPED
    assert any(command.verb == "STOP" for command in treating.sent(Command, "therapy"))


def test_a_short_pause_holds_and_resumes_by_itself(treating) -> None:
    treating.step(380, image=False)
    assert treating.core.treatment.phase is Phase.HOLD
    treating.frame()
    treating.step(10)
    assert treating.core.treatment.phase is Phase.TREATING


def test_a_stop_repeats_until_confirmed_and_says_use_the_e_stop(treating) -> None:
    treating.obeys = False
    assert treating.act("STOP").done
    treating.step(240)
    stops = [command for command in treating.sent(Command, "therapy") if command.verb == "STOP"]
    assert len(stops) >= 5
    assert any("USE THE HARD E-STOP" in alert.text for alert in treating.sent(Alert))
    assert not treating.act("RESET").done
    answer = Acknowledgement(name="Therapy", command_id=stops[-1].command_id, verb="STOP", done=True)
    treating.say("therapy", answer)
    treating.seen.clear()
    treating.step(200)
    assert not [command for command in treating.sent(Command, "therapy") if command.verb == "STOP"]


def test_an_answer_that_is_not_done_confirms_nothing(treating) -> None:
    treating.obeys = False
    treating.act("STOP")
    stop = next(command for command in treating.sent(Command, "therapy") if command.verb == "STOP")
    treating.say("therapy", Acknowledgement(name="Therapy", command_id=stop.command_id, verb="STOP", done=False))
    assert not treating.core.stops.all_confirmed


def test_a_lost_therapy_link_stops_the_treatment(treating) -> None:
    treating.give(LinkChange(now_ns=treating.now_ns, link="therapy", up=False, reason="reset"))
    treating.step(300)
    assert treating.core.treatment.phase is Phase.STOPPED


def test_commands_from_a_link_that_is_no_console_are_refused(bench) -> None:
    bench.step(50)
    sends = bench.say("tracker", Command(name="x", command_id=7, verb="RESET"))
    answer = next(e.message for e in sends if isinstance(e, Send))
    assert not answer.done
    assert bench.core.treatment.phase is Phase.STOPPED


def test_unlisted_messages_are_counted_and_change_nothing(bench) -> None:
    bench.say("mr", bench.pose())
    assert bench.core.unlisted == {("mr", "NeedleToTracker"): 1}
