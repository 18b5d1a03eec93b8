"""Hand-eye and surface registration as people walk through them, against the truth of the simulation."""

from typing import Any

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from devices.messages import Metrics, Text
from guidance.core import Core
from guidance.events import Act, Send
from guidance.load import config_file, load_room
from guidance.navigation.zones import Union
from guidance.plan import Capsule, Plan, Sphere, Structure, Target
from guidance.plan.raster import onto_surface
from guidance.safety.limits import load_limits
from guidance.settings import parse_settings, read_toml
from guidance.space import read_result, rotation_angle_deg
from guidance.trial import EPOCH_NS
from guidance.virtual import VirtualRoom
from sim.scenario import build


class Session:
    """A core, its peers and what it said."""

    def __init__(self, core: Core, peers: list[Any]) -> None:
        self.core = core
        self.room = VirtualRoom(core, peers, EPOCH_NS)
        self.said: list[Any] = []
        self.room.watchers.append(
            lambda event, effects: self.said.extend(e.message for e in effects if isinstance(e, Send))
        )

    def until(self, seconds: float) -> None:
        self.room.run_until(EPOCH_NS + round(seconds * 1e9))

    def act(self, verb: str) -> tuple[str, ...]:
        self.room.take(Act(now_ns=self.room.now_ns, verb=verb, actor="test"))
        return self.core.last_verdict.reasons

    def of(self, kind: type, name: str) -> list[Any]:
        return [message for message in self.said if isinstance(message, kind) and message.name.startswith(name)]


def hand_eye(change: Any = None) -> Session:
    settings, plan, limits = load_room(config_file("procedures", "hand_eye_calibration"))
    values = read_toml(config_file("scenarios", "hand_eye_calibration"))
    if change is not None:
        change(values)
    session = Session(Core(settings, plan, limits), build(values, seed=3, start_ns=EPOCH_NS).peers)
    session.until(24.0)
    return session


TRUE = np.array([[0.0, -0.96, 0.28, 30.0], [1.0, 0.0, 0.0, -20.0], [0.0, 0.28, 0.96, 80.0], [0.0, 0.0, 0.0, 1.0]])


def test_a_hand_finds_its_eye_and_uses_it() -> None:
    session = hand_eye()
    (told,) = session.of(Metrics, "hand_eye-Camera-Hand")
    assert told.values["used"] == 1.0
    found = read_result(session.of(Text, "result-hand_eye")[0].text.encode(), "told")
    matrix = np.array(found.fixed_from_moving)
    assert rotation_angle_deg(matrix, TRUE) < 0.1
    assert np.linalg.norm(matrix[:3, 3] - TRUE[:3, 3]) < 0.5
    placed = session.core.scene.tracking.place("Marker", session.room.now_ns)
    assert placed is not None
    assert placed.ras_from_tool[:3, 3] == pytest.approx([30.0, 10.0, -40.0], abs=1.0)


def test_a_hand_that_hardly_turns_is_refused() -> None:
    def stiff(values: dict[str, Any]) -> None:
        for row in values["peers"][0]["with"]["tools"]:
            row["leans"] = [[0.15 * x for x in lean] for lean in row["leans"]]

    session = hand_eye(stiff)
    assert not session.of(Text, "result-hand_eye")
    assert any("span_deg" in message.text for message in session.of(Text, "calibration"))
    assert session.core.scene.tracking.place("Marker", session.room.now_ns) is None


def test_a_hand_that_moves_is_not_collected() -> None:
    settings, plan, limits = load_room(config_file("procedures", "hand_eye_calibration"))
    values = read_toml(config_file("scenarios", "hand_eye_calibration"))
    del values["peers"][2:]
    session = Session(Core(settings, plan, limits), build(values, seed=3, start_ns=EPOCH_NS).peers)
    session.until(0.2)
    assert "not both live" in session.act("HAND_EYE_COLLECT")[0]
    session.until(2.0)  # on its way from the first place to the second
    assert "hold still" in session.act("HAND_EYE_COLLECT")[0]
    assert "8 are needed" in session.act("HAND_EYE")[0]


HEAD = Union([Sphere(np.zeros(3), 80.0), Capsule(np.array([0.0, 70, -20]), np.array([0.0, 98, -35]), 14.0),
              Capsule(np.array([-78.0, -5, -10]), np.array([-92.0, -12, 5]), 12.0)])  # fmt: skip
LINKS = [
    {"id": "tracker", "kind": "openigtlink", "role": "tracker", "clock": "room"},
    {"id": "console", "kind": "openigtlink", "mode": "listen", "role": "console"},
]


def slide(shape: Any, pieces: int = 240) -> list[list[float]]:
    """A path over the front and the sides of a head."""
    t = np.linspace(0, 1, pieces)
    azimuth, height = np.pi * (0.5 + 0.62 * np.sin(9.7 * t)), 0.55 * np.sin(31 * t + 1)
    ways = np.column_stack([np.cos(azimuth) * np.cos(height), np.sin(azimuth) * np.cos(height), np.sin(height)])
    points = 95.0 * ways
    for _ in range(8):
        points = onto_surface(shape, points, 0.1)
    rows: list[list[float]] = points.tolist()
    return rows


def surface(shape: Any, off_mm: float = 3.0) -> tuple[Session, np.ndarray]:
    """A room whose registration is wrong by a few mm and degrees, and the true one."""
    ras_from_tracker = np.eye(4)
    ras_from_tracker[:3, 3] = 20.0, -30.0, 400.0
    wrong = np.eye(4)
    wrong[:3, :3] = Rotation.from_rotvec(np.radians([1.5, -1.0, 1.0])).as_matrix()
    wrong[:3, 3] = off_mm * np.array([0.6, -0.6, 0.5])
    settings = {
        "room": "test", "procedure": "test", "links": LINKS,
        "streams": [
            {"name": "Stylus", "source": "StylusToTracker", "link": "tracker", "kind": "pose", "period_ms": 20},
        ],
        "tools": [{"name": "Stylus", "stream": "Stylus", "tip_mm": [0, 0, 120], "tip_sigma_mm": 0.2}],
        "space": {"static": [{
            "moving": "Tracker", "fixed": "RAS", "fixed_from_moving": (wrong @ ras_from_tracker).tolist(),
        }]},
        "navigation": {"surface": {"moving": "Tracker", "pointer": "Stylus", "structure": "head"}},
        "outputs": [{"kind": "metrics", "to": ["console"]}],
    }  # fmt: skip
    structure = Structure("head", "surface", shape)
    plan = Plan("p", "P1", "1.2", "midline", (Target("t", np.array([10.0, 20, 10]), None, 0.0, {}),), (), (structure,))
    core = Core(parse_settings(settings, "test"), plan, load_limits(config_file("safety", "limits")))
    stylus = {
        "name": "Stylus", "motion": "trace", "tip_mm": [0.0, 0.0, 120.0], "towards": [0.0, -1.0, 0.0], "start_s": 1.0,
        "reach_s": 0.08, "visits_mm": slide(shape), "tremor_mm": 0.1, "jitter_mm": 0.15, "follows": 0.0,
    }  # fmt: skip
    still = {"amplitude_mm": 0.0, "hysteresis_mm": 0.0, "drift_mm_per_min": 0.0}
    tracker = {
        "peer": "sim.tracker.Tracker", "link": "tracker",
        "with": {"tools": [stylus], "tracker_from_ras": np.linalg.inv(ras_from_tracker).tolist()},
    }  # fmt: skip
    values = {"world": {"breathing": still}, "peers": [tracker]}
    return Session(core, build(values, seed=2, start_ns=EPOCH_NS).peers), ras_from_tracker


def test_a_surface_refines_the_registration() -> None:
    session, true = surface(HEAD)
    session.until(1.0)
    assert session.act("SURFACE") == ("no surface registration was started",)
    assert not session.act("SURFACE_START")
    session.until(2.0)
    assert "60 are needed" in session.act("SURFACE")[0]
    session.until(21.0)
    assert not session.act("SURFACE")
    session.until(23.0)
    (told,) = session.of(Metrics, "surface-Tracker-RAS")
    assert told.values["used"] == 1.0, session.of(Text, "calibration")
    now = session.core.scene.tracking.graph.matrices["Tracker", "RAS"]
    goal = np.array([10.0, 20.0, 10.0, 1.0])
    error = np.linalg.norm((now @ np.linalg.inv(true) @ goal - goal)[:3])
    assert error <= told.values["bound_mm"] < 1.0
    assert session.of(Text, "result-surface")


def test_a_ball_leaves_the_turn_open_and_is_refused() -> None:
    session, _ = surface(Sphere(np.zeros(3), 80.0))
    session.until(1.0)
    session.act("SURFACE_START")
    session.until(21.0)
    session.act("SURFACE")
    session.until(23.0)
    assert not session.of(Text, "result-surface")
    assert any("tre_mm" in message.text for message in session.of(Text, "calibration"))
