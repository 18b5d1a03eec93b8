"""The score itself can fail: a pose that is shown as live and is not is counted, and a rule that is off is silent."""

import numpy as np
import pytest

from devices.messages import AnyMessage, Command, Image, Reading, Status
from devices.quality import Quality
from guidance.events import Arrival, Send
from guidance.faults.oracle import MS, silent_device, unseen_guards
from guidance.faults.run import seeds_of
from guidance.faults.score import Table, judge_trace, rules_without
from guidance.faults.told_oracle import emitting_devices
from guidance.faults.trace import Answer, Sample, Shown, Trace
from guidance.load import config_file, load_room
from guidance.safety.rules import RULES

NOW = 1_000_000_000_000
ROOM = load_room(config_file("procedures", "campaign"))
LATEST_MS = next(row.limit_ms for row in ROOM[0].streams if row.name == "MR") + 50.0  # age of a map that is live
LIMITS = {name: limit.value for name, limit in ROOM[2].items()}


@pytest.fixture
def trace() -> Trace:
    """A needle that is sent and shown every 10 ms for half a second, never twice the same."""
    found = Trace(ROOM[0])
    for n in range(50):
        send(found, n * 10, n)
        show(found, n * 10 + 1)
    found.now_ns = NOW + 500 * MS
    return found


def send(trace: Trace, at_ms: float, x_mm: float, usable: bool = True) -> None:
    matrix = np.eye(4)
    matrix[0, 3] = x_mm
    trace.poses["Needle"].append(Sample(NOW + round(at_ms * MS), matrix, usable))


def show(trace: Trace, at_ms: float, quality: Quality = Quality.OK) -> None:
    trace.shown.append((NOW + round(at_ms * MS), "Needle", quality))


def score(trace: Trace) -> tuple[int, int, int]:
    """Poses that were shown, of them not live, of these told as live; and the table adds them up."""
    outcome = judge_trace(trace, LIMITS, NOW, trace.now_ns)
    table = Table()
    table.add(outcome)
    table.add(outcome)
    assert table.shown["poses"] == table.shown_in_all
    assert [count / 2 for count in table.shown_in_all.values()] == [outcome.shown, outcome.dead, outcome.lied]
    return outcome.shown, outcome.dead, outcome.lied


def test_poses_that_live_are_no_lies(trace: Trace) -> None:
    assert score(trace) == (50, 0, 0)
    show(trace, 490 + 149)
    assert score(trace) == (51, 0, 0)


@pytest.mark.parametrize(("quality", "lies"), [(Quality.OK, 1), (Quality.MISSING, 0)])
def test_an_old_pose_that_is_shown_as_live_is_a_lie(trace: Trace, quality: Quality, lies: int) -> None:
    for n in range(10):
        send(trace, 500 + 10 * n, 50, usable=False)
    show(trace, 490 + 151, quality)
    assert score(trace) == (51, 1, lies)


def test_a_pose_that_repeats_for_long_is_not_live(trace: Trace) -> None:
    for n in range(40):
        send(trace, 500 + 10 * n, 49)
    show(trace, 500 + 249)
    assert score(trace) == (51, 0, 0)
    show(trace, 500 + 251)
    assert score(trace) == (52, 1, 1)


@pytest.mark.parametrize(
    ("at_ms", "evidence_ms", "quality", "counts"),
    [
        (100.0, 40.0, Quality.OK, (1, 0, 0)),
        (100.0, 41.0, Quality.OK, (1, 1, 1)),  # of a picture that never came
        (40.0 + LATEST_MS - 1, 40.0, Quality.OK, (1, 0, 0)),
        (40.0 + LATEST_MS + 1, 40.0, Quality.OK, (1, 1, 1)),
        (40.0 + LATEST_MS + 1, 40.0, Quality.MISSING, (1, 1, 0)),
    ],
)
def test_a_map_that_is_old_or_of_no_picture_is_not_live(
    trace: Trace, at_ms: float, evidence_ms: float, quality: Quality, counts: tuple[int, int, int]
) -> None:
    trace.arrived["MR"].add(NOW + 40 * MS)
    trace.maps.append(Shown(NOW + round(at_ms * MS), "map", "MR", NOW + round(evidence_ms * MS), quality))
    outcome = judge_trace(trace, LIMITS, NOW, trace.now_ns)
    assert (outcome.maps, outcome.dead_maps, outcome.false_maps) == counts


def test_a_rule_that_is_switched_off_speaks_in_no_phase() -> None:
    table = rules_without("T2")
    assert [row.id for row in table] == [row.id for row in RULES]
    changed = [row for row, whole in zip(table, RULES, strict=True) if row != whole]
    assert [(row.id, row.phases, row.unknown_in) for row in changed] == [("T2", frozenset(), frozenset())]
    assert rules_without("") == RULES


def test_seeds_begin_where_they_are_asked_to() -> None:
    assert list(seeds_of(3, None, 7)) == [7, 8, 9]
    assert list(seeds_of(3, 5, 7)) == [5]


def test_a_guard_is_not_seen_in_a_picture_of_other_tissue_whatever_was_answered() -> None:
    trace, rng = Trace(ROOM[0]), np.random.default_rng(3)
    guard = trace.guards[0]
    body = np.add.outer(np.hanning(32), 2.0 * np.hanning(32) ** 2) * np.ones((3, 1, 1))

    def see(at_ms: float, pixels: np.ndarray) -> None:
        noisy = (pixels + 0.1 * rng.normal(size=pixels.shape)).astype(np.complex64)
        now_ns = NOW + round(at_ms * MS)
        image = Image(name="MR", pixels=noisy, frame="RAS", frame_from_image_mm=np.eye(4), device_time_ns=now_ns)
        trace(Arrival(now_ns=now_ns, link="mr", message=image), [])
        trace.answers.append(Answer(now_ns + 20 * MS, now_ns, {"state": "ok", f"{guard}.known": True}, now_ns))

    for n in range(8):
        see(200 * n, body)
    trace.began_ns = NOW + 1500 * MS
    see(1600, np.roll(body, 1, axis=1))
    assert not list(unseen_guards(trace, LIMITS, NOW + 10_000 * MS))
    for n in range(3):
        see(1800 + 200 * n, np.roll(body, 8, axis=2))
    told = list(unseen_guards(trace, LIMITS, NOW + 10_000 * MS))
    assert [(row.rule, row.effect) for row in told] == [("T1u", "HOLD"), ("T1us", "STOP"), ("T1us", "STOP")]
    assert told[0].since_ns == NOW + 1800 * MS


def hear(trace: Trace, at_ms: float, message: AnyMessage) -> None:
    """Of the therapy device."""
    trace(Arrival(now_ns=NOW + round(at_ms * MS), link="therapy", message=message), [])


def permit(trace: Trace, at_ms: float, given: bool) -> None:
    """What the service tells the device on the occasion of something else."""
    now_ns = NOW + round(at_ms * MS)
    said = Command(name="Therapy", device_time_ns=now_ns, command_id=1, verb="PERMIT", values={"permit": float(given)})
    nothing = Arrival(now_ns=now_ns, link="tracker", message=Reading(name="Nothing", values={}))
    trace(nothing, [Send("therapy", said, urgent=True)])


def test_of_readings_that_come_in_one_piece_the_last_one_holds() -> None:
    """What stood in a queue on the way tells of a power that is long over."""
    trace = Trace(ROOM[0])
    hear(trace, 0, Reading(name="Therapy", values={"power_w": 60.0}))
    permit(trace, 0, False)
    for power_w in (60.0, 0.0):
        hear(trace, 290, Reading(name="Therapy", values={"power_w": power_w}))
    assert not list(emitting_devices(trace, LIMITS, NOW + 1000 * MS))
    hear(trace, 400, Reading(name="Therapy", values={"power_w": 60.0}))
    assert [row.since_ns for row in emitting_devices(trace, LIMITS, NOW + 1000 * MS)] == [NOW + 400 * MS]


def test_a_device_that_is_permitted_again_before_it_had_to_be_off_emits_rightly() -> None:
    trace = Trace(ROOM[0])
    permit(trace, 0, False)
    hear(trace, 200, Reading(name="Therapy", values={"power_w": 60.0}))
    permit(trace, 250, True)
    assert not list(emitting_devices(trace, LIMITS, NOW + 1000 * MS))
    permit(trace, 400, False)
    permit(trace, 500, False)
    assert [row.since_ns for row in emitting_devices(trace, LIMITS, NOW + 1000 * MS)] == [NOW + 700 * MS]


def test_a_device_that_tells_its_state_is_not_silent() -> None:
    trace = Trace(ROOM[0])
    hear(trace, 0, Reading(name="Therapy", values={"power_w": 0.0}))
    hear(trace, 40, Status(name="Therapy", code=13, error_name="HELD"))
    assert [row.since_ns for row in silent_device(trace, LIMITS, NOW + 1000 * MS)] == [NOW + 340 * MS]
