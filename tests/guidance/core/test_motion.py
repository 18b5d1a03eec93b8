"""Gating through the running core: frames in, permits out, and what happens when the target is not known."""

from itertools import pairwise

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from devices.messages import Acknowledgement, Alert, Command, Image, Metrics, Overlay, Reading
from guidance.core import Core
from guidance.events import Act, Arrival, Job, JobDone, LinkChange, Send, Tick
from guidance.lanes import Workbench
from guidance.load import config_file, load_room
from guidance.safety.phases import Phase
from guidance.settings import parse_settings
from guidance.units import ms

PERIOD_NS = ms(125)
TICK_NS = ms(20)
LANE_NS = ms(6)
LAG_MS = 70.0  # of the room's cine stream
SAGITTAL = np.array([[0, 0, -6.0, 78], [-2.0, 0, 0, 95], [0, -2.0, 0, 95], [0, 0, 0, 1]])


def painted(seed: int = 1) -> np.ndarray:
    """A textured picture (96, 96) of which no part looks like another."""
    rng = np.random.default_rng(seed)
    fine, coarse = (ndimage.gaussian_filter(rng.standard_normal((96, 96)), s) for s in (1.5, 6))
    return (300 + 60 * fine / fine.std() + 60 * coarse / coarse.std()).clip(1, None)


class Rig:
    """A gated room with a clock in hand; lanes answer after `LANE_NS`, by real work or with given facts."""

    def __init__(self, procedure: str = "mrlinac_gating", reference_frames: int = 3, works: bool = True) -> None:
        room, plan, limits = load_room(config_file("procedures", procedure))
        values = room.model_dump(mode="json")
        values["motion"]["reference_frames"] = reference_frames
        self.settings = parse_settings(values, "test")
        self.core = Core(self.settings, plan, limits)
        self.bench = Workbench(self.settings, plan) if works else None
        self.now_ns = 1_000_000_000_000
        self.sends: list[tuple[int, Send]] = []
        self.shown: list[Job] = []
        self.permits: list[tuple[int, bool]] = []
        self.obeys = True
        self.numbers = 0
        for link in ("mr", "therapy", "console"):
            self.give(LinkChange(now_ns=self.now_ns, link=link, up=True))

    def give(self, event) -> list[Job]:
        effects = self.core.accept(event)
        jobs = [e for e in effects if isinstance(e, Job)]
        self.shown += [job for job in jobs if job.kind == "cine_frame"]
        for send in (e for e in effects if isinstance(e, Send)):
            self.sends.append((self.now_ns, send))
            command = send.message
            if send.link != "therapy" or not isinstance(command, Command):
                continue
            if command.verb == "PERMIT":
                self.permits.append((self.now_ns, command.values["permit"] > 0))
            elif self.obeys:
                answer = Acknowledgement(name=command.name, command_id=command.command_id, verb=command.verb, done=True)
                jobs += self.give(Arrival(now_ns=self.now_ns, link="therapy", message=answer))
        return jobs

    def wait(self, until_ns: int) -> None:
        """Ticks every 20 ms and a healthy therapy device, up to and including `until_ns`."""
        while self.now_ns + TICK_NS <= until_ns:
            self.now_ns += TICK_NS
            reading = Reading(name="Therapy", device_time_ns=self.now_ns, values={"power_w": 0.0, "state": 1.0})
            self.give(Arrival(now_ns=self.now_ns, link="therapy", message=reading))
            self.give(Tick(now_ns=self.now_ns, wall_ns=self.now_ns))

    def frame(self, pixels=None, facts=None, geometry=SAGITTAL, **changes) -> None:
        """One frame and the lane's answer to it, then time up to the next frame."""
        start_ns = self.now_ns
        self.numbers += 1
        image = Image(
            name="Cine",
            pixels=np.zeros((1, 4, 4), np.uint16)
            if pixels is None
            else np.asarray(pixels, np.complex64 if np.iscomplexobj(pixels) else np.uint16)[None],
            frame="RAS",
            frame_from_image_mm=geometry,
            device_time_ns=self.now_ns,
            receive_time_ns=self.now_ns,
            number=self.numbers,
        )
        image = msgspec.structs.replace(image, **changes)
        for job in (j for j in self.give(Arrival(now_ns=self.now_ns, link="mr", message=image)) if j.kind == "cine"):
            if facts is None:
                assert self.bench is not None
                done = self.bench.run(job, self.now_ns)
            else:
                done = JobDone(now_ns=0, job=job.number, lane="guard", kind="cine", facts=facts, started_ns=self.now_ns)
            self.now_ns += LANE_NS
            self.give(msgspec.structs.replace(done, now_ns=self.now_ns))
        self.wait(start_ns + PERIOD_NS)
        self.now_ns = start_ns + PERIOD_NS

    def act(self, verb: str) -> None:
        values = self.core.treatment.shown() if verb == "START" else {}
        self.give(Act(now_ns=self.now_ns, verb=verb, actor="operator", values=values))
        assert self.core.last_verdict.done, (verb, self.core.last_verdict.reasons)

    def begin(self) -> None:
        for verb in ("RESET", "ARM", "START"):
            self.act(verb)

    @property
    def permitted(self) -> bool:
        return self.core.treatment.phase is Phase.TREATING


def place(x_mm: float = 0.0, y_mm: float = 0.0, share: float = 0.0, **more):
    return {"state": "ok", "usable": True, "quality": 0.9, "share_outside": share, "x_mm": x_mm, "y_mm": y_mm} | more


@pytest.fixture
def rig() -> Rig:
    """A room whose reference is taken and whose gate is open, in treatment."""
    made = Rig()
    for _ in range(6):
        made.frame(painted())
    made.begin()
    made.frame(painted())
    assert made.permitted
    return made


def test_the_beam_waits_for_a_reference_and_two_good_frames():
    rig = Rig()
    for count in range(5):  # three for the reference, one to learn the interval, one good
        rig.frame(painted())
        assert not rig.core.motion.gate.beam_on, count
    rig.frame(painted())
    assert rig.core.motion.gate.beam_on


def test_a_target_that_leaves_takes_the_permit_with_it_and_gets_it_back_after_two_good_frames(rig):
    left_ns = rig.now_ns
    rig.frame(np.roll(painted(), 4, axis=0))  # 8 mm
    off = [at for at, permit in rig.permits if at > left_ns and not permit]
    assert off and off[0] == left_ns + LANE_NS
    assert not rig.permitted
    for _ in range(2):  # the way back was sudden; then the first good one
        rig.frame(painted())
        assert not rig.permitted
    rig.frame(painted())
    assert rig.permitted
    verbs = [s.message.verb for _, s in rig.sends if s.link == "therapy" and s.message.verb != "PERMIT"]
    assert verbs[-2:] == ["HOLD", "RESUME"]


def test_latency_is_counted_from_acquisition_to_the_acknowledged_change(rig):
    rig.frame(np.roll(painted(), 4, axis=0))
    rig.frame(painted())
    rig.frame(painted())
    summary = rig.core.motion.summary()
    assert summary["acquisition_to_beam_off_ms"]["n"] == 1
    assert summary["acquisition_to_beam_off_ms"]["max"] == pytest.approx(LAG_MS + LANE_NS / 1e6)
    assert rig.core.motion.horizon_s() == pytest.approx(LAG_MS / 1e3 + LANE_NS / 1e9)


def test_a_device_that_does_not_answer_gives_no_latency(rig):
    rig.obeys = False
    rig.frame(np.roll(painted(), 4, axis=0))
    assert rig.core.motion.summary()["acquisition_to_beam_off_ms"] == {"n": 0}


@pytest.mark.parametrize("phase_ms", [0, 3, 11, 19])
def test_no_beam_later_than_two_intervals_after_the_last_frame(rig, phase_ms):
    last_ns = rig.now_ns - PERIOD_NS + LANE_NS
    rig.now_ns += ms(phase_ms)
    rig.wait(rig.now_ns + 4 * PERIOD_NS)
    off = next(at for at, permit in rig.permits if at > last_ns and not permit)
    assert off <= last_ns + 2 * PERIOD_NS + TICK_NS
    assert not rig.permitted
    rig.frame(painted())
    assert not rig.permitted
    rig.frame(painted())
    assert rig.permitted


def test_bad_frames_hold_the_beam_are_named_and_move_nothing(rig):
    bad = {
        "blank": np.full((96, 96), 5),
        "unlike": painted(seed=9),
        "turned": np.rot90(painted()),
        "jump": np.roll(painted(), 40, axis=0),
    }
    for count, (name, picture) in enumerate(bad.items(), start=1):
        rig.frame(picture)
        assert not rig.permitted, name
        assert sum(rig.core.motion.flagged.values()) == count, name
        assert rig.shown[-1].inputs["usable"] is False
        for _ in range(3):
            rig.frame(painted())
        assert not rig.permitted, "a bad estimate ends by an operator's act only"
        for verb in ("ACKNOWLEDGE", "RESET", "RESUME"):
            rig.act(verb)
        assert rig.permitted


def test_a_changed_plane_or_size_is_not_the_target(rig):
    moved = SAGITTAL.copy()
    moved[0, 3] += 3.0
    rig.frame(painted(), geometry=moved)
    assert rig.core.motion.flagged == {"geometry_changed": 1}
    assert not rig.permitted
    rig.frame(painted()[:80])
    assert rig.core.motion.flagged == {"geometry_changed": 2}


def test_frames_that_are_not_younger_are_no_evidence(rig):
    before = rig.core.motion.summary()["frames"]
    rig.frame(painted(), device_time_ns=rig.now_ns - PERIOD_NS, number=1)
    assert rig.core.motion.summary()["frames"] == before
    assert rig.core.streams["Cine"].rejected == 1


def test_a_job_that_never_ran_says_nothing(rig):
    image = Image(
        name="Cine", pixels=np.asarray(painted(), np.uint16)[None], frame="RAS", frame_from_image_mm=SAGITTAL,
        device_time_ns=rig.now_ns, receive_time_ns=rig.now_ns, number=99,
    )  # fmt: skip
    (job,) = rig.give(Arrival(now_ns=rig.now_ns, link="mr", message=image))
    rig.give(JobDone(now_ns=rig.now_ns, job=job.number, lane="guard", kind="cine", facts={}, failed="replaced"))
    assert rig.permitted and not rig.core.motion.flagged


def test_work_that_failed_closes_the_gate(rig):
    rig.frame(painted().astype(np.complex64))
    assert not rig.permitted


def test_a_target_about_to_leave_closes_the_gate():
    rig = Rig(works=False)
    for _ in range(3):
        rig.frame(facts=place())
    rig.begin()
    rig.frame(facts=place())
    assert rig.permitted
    ahead = {"ahead.state": "ok", "ahead.s": 0.1, "ahead.share_outside": 0.3, "ahead.x_mm": 0.0, "ahead.y_mm": 6.0}
    rig.frame(facts=place(**ahead))
    assert not rig.permitted and rig.core.motion.gate.reason.value == "leaving"
    assert rig.core.motion.summary()["residual_max_mm"] == 0.0


def test_a_plane_that_is_left_holds_the_beam_until_a_person_has_looked():
    rig = Rig(works=False)
    for _ in range(3):
        rig.frame(facts=place())
    rig.begin()
    rig.frame(facts=place(through_plane=True, unlike_frames=2))
    assert not rig.permitted
    assert rig.core.motion.events == {"through_plane": 1}
    assert rig.core.treatment.phase is Phase.HOLD
    for _ in range(4):
        rig.frame(facts=place())
    assert not rig.permitted


@pytest.mark.parametrize(("facts", "row"), [({"sudden_motion": 9.0}, "M3"), ({"drift_mm": 3.4}, "M4")])
def test_what_breathing_does_not_do_is_told(facts, row):
    rig = Rig(works=False)
    for _ in range(3):
        rig.frame(facts=place())
    rig.begin()
    rig.frame(facts=place(**facts))
    told = [s.message for _, s in rig.sends if isinstance(s.message, Alert) and s.message.name.startswith(f"{row}.")]
    assert told and told[0].state == "active" and "tumour" in told[0].text


def test_metrics_and_picture_name_the_frame_that_they_come_from(rig):
    metrics = [s.message for _, s in rig.sends if isinstance(s.message, Metrics)][-1]
    assert metrics.name == "motion-Cine" and "Cine.device_ns" in metrics.evidence
    assert metrics.values["beam_on"] == 1.0
    done = rig.bench.run(rig.shown[-1], rig.now_ns)
    assert not done.failed
    assert done.arrays["frame"].shape[0] >= 480
    rig.give(done)
    overlay = [s.message for _, s in rig.sends if isinstance(s.message, Overlay)][-1]
    corner = overlay.ras_from_image_mm @ [-0.5, -0.5, 0, 1]
    assert np.allclose(corner, SAGITTAL @ [-0.5, -0.5, 0, 1])


SIGHTS = st.one_of(
    st.none(),  # a lost frame
    st.builds(lambda x, y: (x, y), st.floats(-9, 9), st.floats(-9, 9)),
    st.just("bad"),
)


@settings(max_examples=25, deadline=None)
@given(st.lists(SIGHTS, min_size=4, max_size=20))
def test_energy_is_permitted_only_on_lately_seen_targets(sights):
    rig = Rig(works=False)
    for _ in range(3):
        rig.frame(facts=place())
    rig.begin()
    seen: list[tuple[int, bool]] = []
    for sight in sights:
        if sight is None:
            rig.wait(rig.now_ns + PERIOD_NS)
            continue
        good = sight != "bad" and float(np.hypot(*sight)) <= 4.0
        seen.append((rig.now_ns + LANE_NS, good))
        rig.frame(facts=place(*sight) if sight != "bad" else {"state": "unlike", "usable": False, "quality": 0.0})
    start_ns = seen[0][0] if seen else rig.now_ns
    spans = [(a, b) for (a, on), (b, _) in pairwise([*rig.permits, (rig.now_ns, False)]) if on and b > start_ns]
    for begin_ns, end_ns in spans:
        known = [(at, good) for at, good in seen if at <= begin_ns] or [(begin_ns, True)]
        assert known[-1][1], "permitted though the newest frame was not good"
        after = [at for at, good in seen if begin_ns < at < end_ns and not good]
        assert not after, "permitted on after a frame that was not good"
        assert begin_ns - known[-1][0] <= 2 * PERIOD_NS + TICK_NS


def test_a_sudden_return_into_the_gate_is_not_believed_at_once():
    rig = Rig(works=False)
    for _ in range(3):
        rig.frame(facts=place())
    rig.begin()
    rig.frame(facts=place(y_mm=14.0, share=1.0))
    rig.frame(facts=place(sudden_motion=14.0))
    assert not rig.permitted and rig.core.motion.gate.reason.value == "sudden_motion"
    rig.frame(facts=place())
    assert not rig.permitted
    rig.frame(facts=place())
    assert rig.permitted and rig.core.motion.events == {"sudden_motion": 1}
