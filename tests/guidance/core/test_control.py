"""The control desk: what it tells the filter of the beam, what it asks of devices, and what it refuses."""

from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from devices.messages import Acknowledgement, Command
from guidance.core.control import ControlDesk
from guidance.core.scene import Scene
from guidance.events import Act, Job, JobDone, Send
from guidance.load import config_file, load_room
from guidance.safety.phases import Phase
from guidance.units import ms

START_NS = 1_000_000_000_000


class Room:
    """The desk of `hifu_liver` with a device and a phase in hand."""

    def __init__(self) -> None:
        settings, plan, limits = load_room(config_file("procedures", "hifu_liver"))
        self.scene = Scene(settings, plan, limits)
        self.devices: Any = SimpleNamespace(readings={})
        self.treatment: Any = SimpleNamespace(phase=Phase.TREATING, shown=lambda: {"power_w": 200.0})
        self.desk = ControlDesk(self.scene, self.devices, self.treatment)
        self.now_ns = START_NS

    def reading(self, power_w: float) -> None:
        self.devices.readings["Therapy"] = {"power_w": power_w}
        list(self.desk.tick(self.now_ns))

    def frame(self, at_ns: int) -> Job | None:
        """A thermometry answer for a frame acquired at `at_ns`; the heating job that it makes."""
        volume = dict.fromkeys(("state", "ras_from_image", "magnitude", "temperature_c", "sigma_c", "valid"), 0)
        self.scene.show_volume(volume, {"MR": at_ns, "MR.device_ns": at_ns})
        return next((e for e in self.desk.tick(self.now_ns) if isinstance(e, Job)), None)

    def planned(self, power_w: float, point: int) -> list[Command]:
        done = JobDone(
            now_ns=self.now_ns, job=1, lane="show", kind="power",
            facts={"power_w": power_w, "point": point, "done": False},
        )  # fmt: skip
        return [e.message for e in self.desk.done(done, {}) if isinstance(e, Send) and isinstance(e.message, Command)]

    def acknowledge(self, command: Command, done: bool = True) -> None:
        answer = Acknowledgement(name=command.name, command_id=command.command_id, verb=command.verb, done=done)
        self.desk.heard(answer, self.now_ns)

    def act(self, verb: str, **values: float) -> tuple[tuple[str, ...], list[Any]]:
        act = Act(now_ns=self.now_ns, verb=verb, actor="anna", console="desk", role="operator", values=values)
        return self.desk.verbs[verb](act)


@pytest.fixture
def room() -> Room:
    return Room()


def test_focus_and_power_are_asked_for_once_and_again_when_refused(room: Room) -> None:
    focus, power = room.planned(120.0, 7)
    assert focus.verb == "FOCUS"
    assert [focus.values[key] for key in ("x_mm", "y_mm", "z_mm")] == list(room.scene.settings.heating.points_mm[7])
    assert (power.verb, power.values) == ("POWER", {"power_w": 120.0})
    assert room.planned(120.0, 7) == [], "nothing new to say"
    assert room.planned(60.0, 8) == [], "one command of a kind is open at a time"
    room.acknowledge(focus)
    room.acknowledge(power, done=False)
    assert room.desk.answers == {"done": 1, "refused": 1, "repeated": 0}
    assert [command.verb for command in room.planned(120.0, 7)] == ["POWER"], "a refused command is asked again"
    room.now_ns += ms(1100)
    assert [command.verb for command in room.planned(90.0, 7)] == ["POWER"], "so is one without an answer"
    assert room.desk.answers["repeated"] == 1


def test_never_more_than_was_confirmed_and_nothing_without_permission(room: Room) -> None:
    room.treatment.shown = lambda: {"power_w": 80.0}
    assert room.planned(150.0, 0)[-1].values == {"power_w": 80.0}
    room.treatment.phase = Phase.HOLD
    room.now_ns += ms(2000)
    room.treatment.phase = Phase.IDLE
    assert room.planned(100.0, 0) == []


def test_the_filter_is_told_what_the_beam_did_between_two_frames(room: Room) -> None:
    room.reading(0.0)
    first = room.frame(START_NS)
    assert first is not None
    assert first.inputs["beam"].shape == (0, 3)
    focus, power = room.planned(100.0, 5)
    room.now_ns += ms(50)
    room.acknowledge(focus)
    room.now_ns += ms(50)
    room.reading(100.0)
    room.acknowledge(power)
    room.now_ns += ms(150)
    job = room.frame(START_NS + ms(200))
    assert job is not None
    told = job.inputs["beam"]
    assert told[:, 0].sum() == pytest.approx(0.2, abs=1e-3)  # the clocks are aligned on the way
    assert (told[:, 0] * told[:, 1]).sum() == pytest.approx(10.0, abs=0.1), "100 W for 0.1 s"
    assert set(told[told[:, 1] > 0.0, 2]) == {5.0}
    room.now_ns += ms(200)
    later = room.frame(START_NS + ms(400))
    assert later is not None
    assert later.inputs["beam"] == pytest.approx(np.array([[0.2, 100.0, 5.0]]), abs=1e-3)


def test_a_target_that_is_not_seen_is_counted_once_it_was_seen(room: Room) -> None:
    def heated(**facts: Any) -> float | None:
        list(room.desk.done(JobDone(now_ns=room.now_ns, job=2, lane="guard", kind="heating", facts=facts), {}))
        fact = room.scene.facts.get("target_unseen_frames", "tumour")
        return None if fact is None else fact.value

    assert heated(state="settling", known=False) is None, "unknown, and so not to be armed"
    assert heated(state="ok", known=True) == 0.0
    assert heated(state="plane_moved", known=False) == 1.0
    assert heated(state="settling", known=False) == 2.0
    assert heated(state="ok", known=True) == 0.0


def test_the_scan_plane_goes_to_the_target_unless_told_otherwise(room: Room) -> None:
    room.treatment.phase = Phase.IDLE
    reasons, effects = room.act("SCAN_PLANE")
    assert reasons == ()
    plane = effects[0].message
    assert (effects[0].link, plane.verb) == ("mr", "PLANE")
    assert plane.values == {"x_mm": 78.0, "y_mm": 0.0, "z_mm": 0.0}
    room.acknowledge(plane)
    assert room.desk.answers["done"] == 1
    _, effects = room.act("SCAN_PLANE", x_mm=70.0, y_mm=2.5, z_mm=-1.0)
    assert effects[0].message.values == {"x_mm": 70.0, "y_mm": 2.5, "z_mm": -1.0}
    reasons, effects = room.act("RE_ZERO", carry=True)
    assert reasons == ()
    assert (effects[0].kind, effects[0].lane, effects[0].inputs) == ("re_zero", "guard", {"carry": True})


@pytest.mark.parametrize(
    ("training", "hours_ago", "proven"),
    [(True, None, True), (False, None, False), (False, 2.0, True), (False, 13.0, False), (True, -1.0, False)],
)
def test_body_temperature_is_dated(
    plain_room: Any, make_bench: Any, training: bool, hours_ago: float | None, proven: bool
) -> None:
    row = dict(plain_room["thermometry"])
    if hours_ago is not None:  # the bench's wall clock begins 1000 s after 1970
        row["t0_measured"] = datetime.fromtimestamp(1000.0 - 3600.0 * hours_ago, UTC).isoformat()
    bench = make_bench(plain_room | {"thermometry": row, "training": training})
    bench.step(50)
    fact = bench.core.scene.facts.get("body_temperature_c", "patient")
    assert (fact.value, fact.proven) == (37.0, proven)


@pytest.mark.parametrize("verb", ["SCAN_PLANE", "RE_ZERO"])
def test_slices_and_reference_stay_while_energy_flows(room: Room, verb: str) -> None:
    reasons, effects = room.act(verb)
    assert reasons
    assert effects == []
