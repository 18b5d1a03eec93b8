"""The phase machine: ways, two steps, stops that repeat, permits, gating."""

import math
from itertools import pairwise

import pytest
from safety_kit import LIMITS, POWER_W, TICK_NS, World

from devices.messages import Acknowledgement, Command
from guidance.safety.facts import Fact, Facts
from guidance.safety.judge import Judge
from guidance.safety.phases import TRANSITIONS, Cause, Phase, next_phase
from guidance.safety.rules import RULES, Compare, Rule
from guidance.safety.safe_states import SAFE_STATES
from guidance.safety.stops import Stoppable, Stops
from guidance.safety.treatment import ACTS
from guidance.settings import Robot, Therapy
from guidance.units import ms


def test_the_ways_between_phases_are_these_and_no_others() -> None:
    ways = {f"{before} {cause.name} {after}" for (before, cause), after in TRANSITIONS.items()}
    assert ways == {
        "STOPPED RESET IDLE",
        "IDLE ARM READY",
        "READY START TREATING",
        "READY AWAIT HOLD",
        "READY EXPIRE IDLE",
        "READY FINISH IDLE",
        "READY HOLD IDLE",
        "TREATING FINISH IDLE",
        "TREATING HOLD HOLD",
        "HOLD RESUME TREATING",
        "HOLD FINISH IDLE",
        *(f"{phase} STOP STOPPED" for phase in Phase),
    }
    assert next_phase(Phase.STOPPED, Cause.START) is None
    assert "AWAIT" not in ACTS
    assert "EXPIRE" not in ACTS


def test_a_treatment_takes_two_steps_and_both_devices_are_told(world: World) -> None:
    world.treat()
    assert world.phase is Phase.TREATING
    assert world.permit == 1.0
    assert world.verbs("Therapy") == ["ARM", "POWER", "START"]
    assert world.verbs("Robot") == ["ARM", "START"]
    power = next(command for _, _, command in world.sent if command.verb == "POWER")
    assert power.values == {"power_w": POWER_W}


def test_unknown_acts_and_impossible_ones_are_refused_with_the_reason(world: World) -> None:
    assert world.act("DANCE").reasons[0].startswith("unknown act 'DANCE'")
    assert world.act("START").reasons == ("START is not possible in phase STOPPED",)


@pytest.mark.parametrize(
    ("values", "console", "reason"),
    [
        ({"power_w": 60.0}, "desk", "power_w 50 was shown, 60.0 confirmed: begin again"),
        ({}, "desk", "power_w 50 was shown, nothing confirmed: begin again"),
        ({"power_w": 50.0}, "wall", "it was armed at console 'desk'; confirm it there or begin again"),
    ],
)
def test_the_second_step_repeats_what_was_shown_at_the_same_console(world: World, values, console, reason) -> None:
    world.act("RESET")
    assert world.act("ARM").shown == {"power_w": 50.0}
    assert world.act("START", values, console).reasons == (reason,)
    assert world.phase is Phase.READY


def test_without_a_ticket_nothing_starts(world: World) -> None:
    world.act("RESET")
    world.act("ARM")
    world.treatment.ticket = None
    assert world.act("START").reasons == ("nothing was armed: begin again",)


def test_an_armed_room_disarms_itself_when_nobody_confirms(world: World) -> None:
    world.act("RESET")
    world.act("ARM")
    world.now_ns += ms(9_990)
    world.tick()
    world.tick()
    assert world.phase is Phase.IDLE
    assert world.verbs("Therapy") == ["ARM", "HOLD"]


def test_permits_beat_at_10_hz_and_change_at_once(treating: World) -> None:
    treating.sent.clear()
    for _ in range(50):
        treating.tick()
    beats = [at for at, link, command in treating.sent if command.verb == "PERMIT" and link == "therapy"]
    assert len(beats) == 10
    treating.act("HOLD")
    assert treating.permit == 0.0


def test_the_moment_at_which_the_permit_ended_is_known(treating: World) -> None:
    assert treating.treatment.permit_ended_ns == 0
    treating.now_ns += ms(7)
    treating.act("STOP")
    ended_ns = treating.now_ns
    assert treating.treatment.permit_ended_ns == ended_ns
    treating.tick()
    treating.act("RESET")  # goes on without a permit
    assert (treating.phase, treating.treatment.permit_ended_ns) == (Phase.IDLE, ended_ns)


def test_a_stop_reaches_every_channel_every_50_ms_until_confirmed(treating: World) -> None:
    treating.obeys = False
    treating.sent.clear()
    treating.set("hot_region_c", 60.0)
    for _ in range(20):
        treating.tick()
    stops = [(at, link, command) for at, link, command in treating.sent if command.verb == "STOP"]
    assert {link for _, link, _ in stops} == {"therapy", "bus", "robot"}
    times = [at for at, link, _ in stops if link == "bus"]
    assert max(b - a for a, b in pairwise(times)) <= ms(50) + TICK_NS
    assert treating.stops.unconfirmed_ms(treating.now_ns)["Robot"] == pytest.approx(380, abs=1)
    command = next(command for _, link, command in stops if link == "bus")
    treating.confirm("bus", command)
    treating.sent.clear()
    for _ in range(5):
        treating.tick()
    assert {link for _, link, command in treating.sent if command.verb == "STOP"} == {"robot"}
    assert not treating.stops.all_confirmed
    treating.act("RESET")
    assert treating.phase is Phase.STOPPED


def test_answers_of_another_run_device_or_verb_confirm_nothing(treating: World) -> None:
    treating.obeys = False
    treating.act("STOP")
    number = treating.stops.requests["Therapy"].command_id
    wrong = [
        ("robot", number, "STOP", True),
        ("therapy", 1, "STOP", True),
        ("therapy", number, "HOLD", True),
        ("therapy", number, "STOP", False),
    ]
    for link, command_id, verb, done in wrong:
        answer = Acknowledgement(name="x", command_id=command_id, verb=verb, done=done)
        assert treating.stops.confirm(link, answer, treating.now_ns) is None
    right = Acknowledgement(name="x", command_id=number, verb="STOP", done=True)
    assert treating.stops.confirm("therapy", right, treating.now_ns) is not None
    assert treating.stops.confirm("therapy", right, treating.now_ns) is None


def test_a_stop_is_left_only_when_the_cause_is_gone_seen_and_reset(treating: World) -> None:
    treating.set("hot_region_c", 60.0)
    treating.tick()
    assert treating.phase is Phase.STOPPED
    assert treating.act("RESET").reasons == ("T1.it is active",)
    treating.set("hot_region_c", 37.0)
    treating.tick()
    assert treating.act("RESET").reasons == ("T1.it is latched",)
    alarm = treating.judge.alarms["T1", "it"]
    alarm.acknowledge("anna", treating.now_ns)
    alarm.reset()
    assert treating.act("RESET").done
    assert treating.phase is Phase.IDLE
    assert treating.stops.requests == {}


def test_a_new_danger_in_a_stopped_room_stops_again(treating: World) -> None:
    treating.set("hot_region_c", 60.0)
    treating.tick()
    first = treating.stops.requests["Therapy"].command_id
    treating.tick()
    assert treating.stops.requests["Therapy"].command_id == first
    treating.set("forbidden_power_w", 20.0)
    treating.tick()
    assert treating.stops.requests["Therapy"].command_id > first
    assert treating.stops.requests["Therapy"].reason == "N2e.it"


def test_a_device_that_comes_back_into_a_stopped_room_is_stopped(world: World) -> None:
    world.treatment.link_up("therapy", world.now_ns)
    world.speak()
    assert world.verbs("Therapy") == ["STOP", "STOP"]  # both channels
    assert world.verbs("Robot") == []
    world.treat()
    world.treatment.link_up("therapy", world.now_ns)
    world.speak()
    assert world.verbs("Therapy")[-1] == "START"


def test_hold_resumes_by_itself_only_where_every_row_allows(treating: World) -> None:
    treating.set("target_outside_share", 0.5)
    treating.tick()
    assert treating.phase is Phase.HOLD
    treating.set("target_outside_share", 0.0)
    treating.tick()
    assert treating.phase is Phase.TREATING
    treating.set("target_outside_share", 0.5)
    treating.tick()
    treating.set("impossible_poses_per_s", 50.0)
    treating.tick()
    treating.set("target_outside_share", 0.0)
    treating.set("impossible_poses_per_s", 0.0)
    treating.tick()
    assert treating.phase is Phase.HOLD
    assert treating.act("RESUME").done
    assert treating.verbs("Therapy")[-4:] == ["HOLD", "RESUME", "HOLD", "RESUME"]


def test_an_operators_hold_never_resumes_by_itself(treating: World) -> None:
    treating.act("HOLD")
    treating.set("target_outside_share", 0.5)
    treating.tick()
    treating.set("target_outside_share", 0.0)
    treating.tick()
    assert treating.phase is Phase.HOLD


def test_started_outside_the_gate_the_beam_waits_for_it(world: World) -> None:
    world.act("RESET")
    world.set("target_outside_share", 0.5)
    world.act("ARM")
    assert world.act("START").done
    assert world.phase is Phase.HOLD
    assert world.permit == 0.0
    assert world.verbs("Therapy") == ["ARM", "POWER"]
    world.set("target_outside_share", 0.0)
    world.tick()
    assert world.phase is Phase.TREATING
    assert world.verbs("Therapy") == ["ARM", "POWER", "START"]


def test_a_latched_hold_must_be_reset_before_energy_resumes(treating: World) -> None:
    treating.set("held_control_ms", 5000.0)
    treating.tick()
    treating.set("held_control_ms", 0.0)
    treating.tick()
    assert treating.act("RESUME").reasons == ("O2.it is latched: reset it",)
    alarm = treating.judge.alarms["O2", "it"]
    alarm.acknowledge("anna", treating.now_ns)
    alarm.reset()
    assert treating.act("RESUME").done


def test_arming_looks_ahead_at_rows_that_hold_only_while_treating(world: World) -> None:
    world.act("RESET")
    world.set("device_silent_ms", 5000.0)
    assert world.act("ARM").reasons == ("N1d.it is present",)
    assert not world.judge.shown()
    world.facts.declare("coolant_ok", "it")
    assert "coolant_ok.it is unknown" in world.act("ARM").reasons


def powers(world: World) -> list[float]:
    """What the therapy device was told to emit, without repetitions."""
    told = [command.values["power_w"] for _, link, command in world.sent if command.verb == "POWER"]
    return list(dict.fromkeys(told))


def test_power_is_raised_only_at_rest_and_never_above_the_rooms(world: World) -> None:
    world.act("RESET")
    treatment = world.treatment
    for wrong in (0.0, -1.0, POWER_W + 1.0, float("nan")):
        assert "must be above 0" in treatment.set_power(wrong)
    assert not treatment.set_power(20.0)
    assert treatment.shown()["power_w"] == 20.0
    assert not treatment.set_power(30.0)
    world.act("ARM")
    assert "finish, then set the power" in treatment.set_power(10.0)
    world.act("START")
    assert "needs a new arming" in treatment.set_power(40.0)
    assert not treatment.set_power(15.0)
    world.tick()
    assert powers(world)[-1] == treatment.shown()["power_w"] == 15.0
    world.act("HOLD")
    assert "needs a new arming" in treatment.set_power(20.0)
    assert not treatment.set_power(5.0)


def test_a_room_without_devices_says_nothing() -> None:
    stops = Stops([])
    stops.request("x", 1)
    assert stops.due(2) == []
    assert Stoppable("a", "b", "c", ("d",)).links == ("a", "d")
    assert isinstance(Command(name="a", command_id=1, verb="STOP"), Command)


def test_every_modality_declares_its_safe_state() -> None:
    modalities = [name for model in (Therapy, Robot) for name in model.model_fields["modality"].annotation.__args__]
    assert set(SAFE_STATES) == set(modalities)
    assert all(state.text and state.values for state in SAFE_STATES.values())
    assert SAFE_STATES["laser"].values["coolant"] == 1.0
    assert SAFE_STATES["cryo"].values == {"freeze": 0.0, "thaw": 0.0}


@pytest.mark.parametrize("row", RULES, ids=lambda row: row.id)
def test_what_nothing_bounds_is_beyond_every_limit_and_what_is_no_number_is_unknown(row: Rule) -> None:
    phase = next(phase for phase in (Phase.TREATING, Phase.IDLE) if phase in row.phases)
    worst = math.inf if row.compare is Compare.ABOVE else -math.inf
    for value, violated in ((worst, True), (-worst, False), (math.nan, False)):
        facts = Facts()
        judge = Judge(facts, LIMITS, RULES)
        facts.set(row.fact, "it", Fact(value, 1_000_000_000))
        judge.judge(1_000_000_000, phase, (row.fact,))
        alarm = judge.alarms[row.id, "it"]
        assert (alarm.pending_since_ns > 0) is (violated or phase in row.unknown_in)
        assert (f"{row.fact}.it" in judge.unknown(1_000_000_000)) is not row.gate
