"""An external marker and a navigator in a running core: learnt, told, predicted, and missed when they go astray."""

import numpy as np
import pytest
from msgspec.structs import replace

from devices.messages import Alert, Image, Metrics, Pose
from devices.quality import Quality
from guidance.core import Core
from guidance.events import Arrival, Job, LinkChange, Send, Tick
from guidance.lanes import Workbench
from guidance.load import config_file, load_room
from guidance.settings import parse_settings
from guidance.units import ms

STEP_NS = ms(50)
ALONG = np.array([0.1, 0.9, 0.4]) / np.linalg.norm([0.1, 0.9, 0.4])


class Room:
    """The gating room with a respiratory stream beside its cine."""

    def __init__(self) -> None:
        room, plan, limits = load_room(config_file("procedures", "mrlinac_gating"))
        values = room.model_dump(mode="json")
        values["links"].append({"id": "camera", "kind": "openigtlink", "address": "127.0.0.1:18944"})
        values["streams"].append({"name": "Chest", "link": "camera", "kind": "respiration", "period_ms": 50.0})
        self.settings = parse_settings(values, "test")
        self.core, self.bench = Core(self.settings, plan, limits), Workbench(self.settings, plan)
        self.now_ns = 1_000_000_000_000
        self.told: list = []
        self.give(LinkChange(now_ns=self.now_ns, link="camera", up=True))

    def give(self, event) -> None:
        for effect in self.core.accept(event):
            if isinstance(effect, Job):
                self.give(self.bench.run(effect, self.now_ns))
            elif isinstance(effect, Send):
                self.told.append(effect.message)

    def sample(self, message) -> None:
        self.give(Arrival(now_ns=self.now_ns, link="camera", message=message))
        self.now_ns += STEP_NS

    @property
    def values(self) -> dict:
        return [m for m in self.told if isinstance(m, Metrics) and m.name == "respiration-Chest"][-1].values


def lift_mm(t_s: float) -> float:
    return 5.0 * np.cos(2 * np.pi * t_s / 4.0)


def marker(now_ns: int, place_mm) -> Pose:
    matrix = np.eye(4)
    matrix[:3, 3] = place_mm
    return Pose(
        name="Chest", device_time_ns=now_ns, receive_time_ns=now_ns, moving="Chest", fixed="Tracker",
        fixed_from_moving=matrix,
    )  # fmt: skip


def test_a_marker_becomes_a_breath_and_a_lost_marker_is_told():
    room, value = Room(), []
    start_ns = room.now_ns
    while (t_s := (room.now_ns - start_ns) / 1e9) < 60.0:
        room.sample(marker(room.now_ns, np.array([10.0, 20.0, 30.0]) + lift_mm(t_s) * ALONG))
        if t_s > 12:
            value.append((room.values["value_mm"], lift_mm(t_s)))
    seen, true = np.array(value).T
    assert np.corrcoef(seen, true)[0, 1] > 0.999
    assert np.ptp(seen) == pytest.approx(10.0, abs=0.2)
    assert room.values["quality"] > 0.9 and room.core.respiration.facts["Chest"]["ahead.state"] == "ok"
    assert not [m for m in room.told if isinstance(m, Alert)]
    room.sample(marker(room.now_ns, (500.0, 0.0, 0.0)))
    assert room.values["usable"] == 0.0
    fact = room.core.scene.facts.get("surrogate_lost", "Chest")
    assert fact is not None and fact.value == 1.0


@pytest.mark.parametrize("how", ["invalid", "the same again", "silent"])
def test_a_marker_that_is_not_seen_for_long_is_lost_and_found_again(how):
    room, start_ns = Room(), 1_000_000_000_000

    def breathe(seconds: float, said=lambda pose: pose) -> float:
        until_ns = room.now_ns + ms(1000 * seconds)
        while room.now_ns < until_ns:
            place = np.array([10.0, 20.0, 30.0]) + lift_mm((room.now_ns - start_ns) / 1e9) * ALONG
            pose = said(marker(room.now_ns, place))
            if pose is not None:
                room.give(Arrival(now_ns=room.now_ns, link="camera", message=pose))
            room.give(Tick(now_ns=room.now_ns, wall_ns=room.now_ns))
            room.now_ns += STEP_NS
        return room.core.scene.facts.get("surrogate_lost", "Chest").value

    assert breathe(15.0) == 0.0
    kept = marker(room.now_ns, (10.0, 20.0, 31.0))
    hidden = {
        "invalid": lambda pose: replace(pose, quality=Quality.INVALID),
        "the same again": lambda pose: replace(pose, fixed_from_moving=kept.fixed_from_moving),
        "silent": lambda pose: None,
    }[how]
    assert breathe(1.9, hidden) == 0.0  # a hand before the camera
    assert breathe(0.3, hidden) == 1.0
    assert breathe(0.1) == 0.0


def test_a_navigator_is_measured_in_mm():
    room = Room()
    x, rng = np.arange(96.0), np.random.default_rng(1)
    tissue = np.interp(np.arange(-20, 120, 0.5), np.arange(-20, 120, 4), rng.uniform(100, 300, 35))
    for k in range(40):
        shift_mm = 3.0 * np.sin(k / 6)
        at = x - shift_mm / 1.5
        profile = np.interp(at, np.arange(-20, 120, 0.5), tissue) * (0.1 + 1 / (1 + np.exp(-(at - 40) / 2)))
        image = Image(
            name="Chest", pixels=profile[None, None].astype(np.float32), frame="RAS",
            frame_from_image_mm=np.diag([1.5, 1.5, 1.5, 1.0]), device_time_ns=room.now_ns, receive_time_ns=room.now_ns,
        )  # fmt: skip
        room.sample(image)
        assert room.values["value_mm"] == pytest.approx(shift_mm, abs=0.5)
