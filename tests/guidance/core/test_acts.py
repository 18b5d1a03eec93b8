"""People at consoles, and rows whose facts the core measures itself: through the running core."""

from typing import Any

import pytest

from devices.messages import Acknowledgement, Alert, Command, Reading, Status
from guidance.core import stoppables
from guidance.events import Act, Health, JobDone, LinkChange, Loss
from guidance.safety.phases import Phase
from guidance.settings import parse_settings


def act(bench: Any, verb: str, console: str = "desk", role: str = "operator", **values: Any) -> Any:
    event = Act(now_ns=bench.now_ns, verb=verb, actor="anna", console=console, role=role, values=values)
    bench.give(event)
    return bench.core.last_verdict


def alarm(bench: Any, name: str) -> Any:
    rule, _, subject = name.partition(".")
    return bench.core.judge.alarms.get((rule, subject))


@pytest.mark.parametrize("verb", ["RESET", "ARM", "START", "TAKE_CONTROL", "FINISH", "RESUME"])
def test_an_assistant_may_not_do_what_an_operator_does(bench, verb) -> None:
    assert act(bench, verb, role="assistant").reasons == (f"role 'assistant' may not {verb}",)
    assert bench.core.consoles.known == {}


def test_everybody_but_a_viewer_may_stop(treating) -> None:
    assert act(treating, "STOP", console="wall", role="viewer").reasons == ("role 'viewer' may not STOP",)
    assert act(treating, "STOP", console="wall", role="assistant").done
    assert treating.core.treatment.phase is Phase.STOPPED


def test_unknown_acts_are_refused(bench) -> None:
    assert act(bench, "DANCE").reasons[0].startswith("unknown act 'DANCE'")


def test_one_console_holds_control_until_its_lease_lapses(bench) -> None:
    bench.step(400)
    act(bench, "LEASE", "a")
    assert act(bench, "TAKE_CONTROL", "a").done
    assert "'a' holds control" in act(bench, "RESET", "b").reasons[0]
    assert act(bench, "HAND_OVER", "b").reasons == ("this console does not hold control",)
    bench.step(2100)
    assert alarm(bench, "O1l.a").present
    assert act(bench, "RESET", "b").done
    assert bench.core.consoles.holder == "b"


def test_a_lapsed_console_blocks_arming_until_somebody_saw_it_and_reset(bench) -> None:
    bench.step(400)
    act(bench, "LEASE", "a")
    bench.step(2100)
    act(bench, "RESET", "b")
    assert any("O1l.a" in reason for reason in act(bench, "ARM", "b").reasons)
    act(bench, "ACKNOWLEDGE", "b", alarm="O1l.a")
    assert act(bench, "RESET", "b").done
    assert not alarm(bench, "O1l.a").shown
    assert act(bench, "ARM", "b").done


def test_a_console_that_signs_off_is_not_missed(bench) -> None:
    act(bench, "LEASE", "a")
    act(bench, "LEAVE", "a")
    bench.step(2500)
    assert alarm(bench, "O1l.a") is None


def test_a_controlling_console_that_stops_beating_stops_the_treatment(treating) -> None:
    treating.core.consoles.holder = "a"
    act(treating, "BEAT", "a")
    treating.step(290)
    assert treating.core.treatment.phase is Phase.TREATING
    treating.step(30)
    assert treating.core.treatment.phase is Phase.STOPPED


def test_the_link_of_the_controlling_console_is_watched(treating) -> None:
    treating.give(LinkChange(now_ns=treating.now_ns, link="console", up=False, reason="reset"))
    treating.step(300)
    assert treating.core.treatment.phase is Phase.STOPPED
    assert alarm(treating, "N1.console").present


def test_tones_pause_for_two_minutes_at_most(bench) -> None:
    assert act(bench, "AUDIO_PAUSE", seconds=60.0).done
    assert bench.core.signals.is_paused(bench.now_ns)
    assert not act(bench, "AUDIO_PAUSE", seconds=600.0).done
    assert "must be a number" in act(bench, "AUDIO_PAUSE", seconds="long").reasons[0]


def test_a_high_alarm_that_nobody_sees_calls_the_next_console_and_blocks(treating) -> None:
    for _ in range(12):
        act(treating, "LEASE", "a")
        act(treating, "LEASE", "b")
        treating.step(1000, image=False)
    assert alarm(treating, "O1.alarms").present
    assert treating.core.signals.calling in ("a", "b")


def test_the_second_step_must_repeat_the_power(bench) -> None:
    bench.step(500)
    bench.act("RESET")
    assert bench.act("ARM").text == "power_w=50"
    assert "55" in bench.act("START", {"power_w": 55.0}).text
    assert bench.act("START", {"power_w": 50.0}).done


def test_the_held_control_gates_the_energy(make_bench, plain_room) -> None:
    bench = make_bench({**plain_room, "control": {"held": "pedal"}})
    bench.step(500)
    bench.act("RESET")
    assert "O2.control is present" in bench.act("ARM").text
    assert bench.act("HELD").done
    bench.step(10)
    for verb in ("ARM", "START"):
        assert bench.act(verb).done
    bench.step(200)
    assert bench.core.treatment.phase is Phase.TREATING
    bench.step(100)
    assert bench.core.treatment.phase is Phase.HOLD


def test_the_lane_that_fails_or_hangs_is_not_trusted(treating) -> None:
    treating.give(
        JobDone(now_ns=treating.now_ns, job=1, lane="guard", kind="thermometry", facts={}, failed="ValueError: x")
    )
    assert treating.core.treatment.phase is Phase.HOLD
    treating.frame()
    assert treating.core.treatment.phase is Phase.TREATING


def test_devices_that_report_faults_stop_the_treatment(make_bench, plain_room) -> None:
    room = {
        **plain_room,
        "streams": [*plain_room["streams"], {"name": "T", "link": "therapy", "kind": "reading", "period_ms": 100}],
    }
    bench = make_bench(room)
    bench.step(100)
    bench.say("therapy", Reading(name="T", values={"power_w": 0.0, "coolant_ok": 1.0}))
    bench.step(400)
    assert "N1d.T is present" in bench.core.treatment.blocked(bench.now_ns)
    bench.say("therapy", Reading(name="T", values={"power_w": 0.0, "coolant_ok": 1.0}))
    bench.step(10)
    for verb in ("RESET", "ARM", "START"):
        assert bench.act(verb).done
    bench.say("therapy", Reading(name="T", values={"power_w": 50.0, "coolant_ok": 0.0}))
    assert bench.core.treatment.phase is Phase.STOPPED
    bench.step(320)
    assert alarm(bench, "N2e.T").present  # it still says that it emits
    bench.say("therapy", Status(name="T", code=18))
    assert bench.core.scene.facts.get("device_fault", "T").value == 18.0


def test_losses_and_the_rims_own_health_become_facts(bench) -> None:
    bench.give(Loss(now_ns=bench.now_ns, link="mr", stream="x", count=3, reason="rejected: wrong CRC"))
    bench.give(Health(now_ns=bench.now_ns, source="recorder", facts={"record_free_mb": 10.0, "unheard_of": 1.0}))
    bench.step(10)
    names = {alert.name for alert in bench.sent(Alert)}
    assert {"N3m.mr", "C3.recorder"} <= names
    assert bench.core.scene.facts.subjects("unheard_of") == {}


def test_a_service_that_stood_still_while_treating_stops(treating) -> None:
    treating.now_ns += 300_000_000
    treating.step(10)
    assert treating.core.treatment.phase is Phase.STOPPED
    assert alarm(treating, "C2.service").present


def test_every_energy_and_motion_device_is_stopped_into_its_declared_state(plain_room) -> None:
    room = {
        **plain_room,
        "therapy": {"link": "therapy", "power_w": 50, "modality": "laser", "stop_links": ["console"]},
        "robot": {"link": "tracker", "modality": "robot_in_moving_organ"},
    }
    laser, robot = stoppables(parse_settings(room, "test"))
    assert (laser.links, laser.safe_state) == (("therapy", "console"), "emission off, coolant stays on")
    assert (robot.device, robot.values) == ("Robot", {"hold": 0.0, "compliant": 1.0})


def test_answers_to_stops_are_matched_and_alerts_carry_units(treating) -> None:
    treating.step(400, image=False)
    alerts = [alert for alert in treating.sent(Alert) if alert.name == "T2.MR"]
    assert alerts[-1].unit == "frame periods"
    assert isinstance(treating.act("STOP"), Acknowledgement)
    assert any(command.verb == "STOP" for command in treating.sent(Command, "therapy"))
