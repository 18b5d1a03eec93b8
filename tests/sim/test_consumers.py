"""The consumer notices what is wrong, and measures from the device on."""

import json

import msgspec
import numpy as np
import pytest

from devices.messages import Acknowledgement, Alert, AlertKind, GuidedPose, Metrics, Overlay, Pose, Priority, Text
from devices.quality import Quality
from sim.consumers import Console
from sim.latency import Latencies, SendLog
from sim.phantom.world import World, WorldSettings
from sim.tools import ToolMotion, ToolSettings

MS = 1_000_000


@pytest.fixture
def console():
    return Console(name="console", sends=SendLog(), start_ns=0, acts=[{"verb": "ARM"}, {"verb": "START"}])


def pose(device_ns, **changes):
    given = {"ras_from_tool": np.eye(4), "quality": Quality.OK, "values": {"mm": 1.0}}
    evidence = {"Needle": 1, "Needle.device_ns": device_ns}
    return GuidedPose(name="Needle", tool="Needle", **{**given, "evidence": evidence, **changes})


def sent(console, device_ns, sent_ns):
    about = {"name": "N", "moving": "N", "fixed": "T", "fixed_from_moving": np.eye(4)}
    console._sends.note(Pose(device_time_ns=device_ns, **about), sent_ns)


def test_latency_is_from_the_send_to_the_receipt(console):
    for n in range(1, 101):
        sent(console, n * MS, n * 10 * MS)
        console.accept(pose(n * MS), n * 10 * MS + (2 * MS if n < 100 else 30 * MS))
    report = console.report()
    assert report["pose"]["n"] == 100
    assert report["pose"]["p50"] == pytest.approx(2.0, rel=0.03)
    assert report["pose"]["max"] == 30.0
    assert report["faults"] == {}


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("not_rigid", pose(7 * MS, ras_from_tool=np.diag([-1.0, 1, 1, 1]))),
        ("not_finite", pose(7 * MS, ras_from_tool=np.full((4, 4), np.nan))),
        ("not_finite", pose(7 * MS, values={"mm": float("inf")})),
        ("evidence_missing", pose(7 * MS, evidence={})),
        ("time_backwards", pose(4 * MS)),
        ("evidence_missing", Metrics(name="m", values={})),
    ],
)
def test_faults_are_counted(console, fault, message):
    console.accept(pose(5 * MS), 6 * MS)
    console.accept(message, 8 * MS)
    assert console.report()["faults"] == {fault: 1}


def test_stale_shown_as_live(console):
    sent(console, 5 * MS, 6 * MS)
    console.accept(pose(5 * MS), 7 * MS)
    console.accept(pose(5 * MS, quality=Quality.SUSPECT), 900 * MS)
    assert console.report()["faults"] == {}
    console.accept(pose(5 * MS), 900 * MS)
    assert console.report()["faults"] == {"stale_shown_as_live": 1}


def test_alerts_must_not_go_back(console):
    about = {"name": "T1", "room": "r", "priority": Priority.HIGH, "kind": AlertKind.TECHNICAL, "state": "active"}
    about |= {"text": "", "reaction": "", "advice": "", "first_ns": 1}
    for sequence in (1, 2, 1):
        console.accept(Alert(sequence=sequence, **about), 5)
    assert console.faults == {"alert_backwards": 1}
    assert console.alerts["T1"].sequence == 2


def test_an_overlay_counts_as_an_image(console):
    overlay = Overlay(name="o", view="v", rgba=np.zeros((2, 2, 4), np.uint8), ras_from_image_mm=np.eye(4),
                      quality=Quality.OK, evidence={"MR": 1, "MR.device_ns": 3})  # fmt: skip
    console.accept(overlay, 9 * MS)
    assert console.report()["image"] == {"n": 0}, "the send is not known"
    assert console.received["Overlay"] == 1


def test_the_report_is_json_once_a_second(console):
    said = console.advance(console.next_due_ns())
    assert said[0].name == "ConsumerReport"
    assert json.loads(said[0].text)["pose"] == {"n": 0}
    assert console.next_due_ns() == 2_000 * MS


def test_the_operator_asks_until_it_is_done(console):
    console.accept(pose(5 * MS), 10 * MS)
    first = next(m for m in console.advance(1_010 * MS) if m.name == "Console")
    assert first.verb == "ARM"
    answer = {"name": "Console", "verb": "ARM", "text": "T4 is present"}
    console.accept(Acknowledgement(command_id=first.command_id, done=False, **answer), 1100 * MS)
    again = next(m for m in console.advance(2_010 * MS) if m.name == "Console")
    assert again.verb == "ARM"
    console.accept(Acknowledgement(command_id=again.command_id, done=True, **answer), 2_100 * MS)
    following = next(m for m in console.advance(3_100 * MS) if m.name == "Console")
    assert following.verb == "START"
    assert console.report()["acts"] == {"done": ["ARM"], "refused": {"ARM: T4 is present": 1}}


def test_percentiles_of_the_histogram():
    rng = np.random.default_rng(1)
    values = rng.lognormal(0, 1, 20_000)
    histogram = Latencies()
    for value in values:
        histogram.add(float(value))
    summary = histogram.summary()
    assert summary["p50"] == pytest.approx(np.percentile(values, 50), rel=0.03)
    assert summary["p99"] == pytest.approx(np.percentile(values, 99), rel=0.03)
    assert summary["max"] == pytest.approx(values.max(), rel=1e-3)


def test_hands_keep_step_with_an_operator_who_heard_of_the_service_late():
    settings = {"name": "Stylus", "motion": "visit", "visits_mm": ((0, 95, 10), (70, 5, 0)), "start_s": 0.5}
    rows = []
    for contact_ns in (0, 2_300_000_000):
        world = World(WorldSettings(), seed=1, start_ns=0)
        tool = ToolMotion(msgspec.convert(settings, ToolSettings), world, 1)
        late = Console(name="console", sends=SendLog(), start_ns=0, world=world, acts=[{"verb": "COLLECT"}])
        waiting = tool.tip_mm(contact_ns)
        late.accept(Text(name="t", text="here I am"), contact_ns)
        assert np.abs(tool.tip_mm(contact_ns) - waiting).max() < 0.5
        rows.append(world.hand_seconds(contact_ns + 4_000_000_000))
    assert rows == pytest.approx([4.0, 4.05])
    alone = World(WorldSettings(), seed=1, start_ns=0)
    assert alone.hand_seconds(2_300_000_000) == 2.3
