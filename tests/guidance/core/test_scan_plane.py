"""Another scan plane through the whole room: asked at the console, carried out by the scanner, the dose carried on."""

import copy
from typing import Any

import numpy as np
import pytest

from devices.messages import Acknowledgement, Command
from guidance.core import Core
from guidance.events import Arrival, JobDone, Send
from guidance.load import config_file
from guidance.plan import load_plan
from guidance.safety.limits import load_limits
from guidance.settings import parse_settings, read_toml
from guidance.trial import EPOCH_NS, build
from guidance.units import NS_PER_S
from guidance.virtual import VirtualRoom

NAME = "hyperthermia_release"
ELSEWHERE = {"x_mm": 78.0, "y_mm": 2.5, "z_mm": 4.0}
SCANNER = {"shape": [5, 48, 48], "pixel_mm": 4.0, "rate_hz": 5.0}
ACTS = [
    {"verb": "RESET", "after_s": 2.0},
    {"verb": "ARM", "after_s": 9.0},
    {"verb": "START", "after_s": 1.0},
    {"verb": "FINISH", "after_s": 12.0},
    {"verb": "SCAN_PLANE", "after_s": 1.0, "values": ELSEWHERE},
    {"verb": "RE_ZERO", "after_s": 0.6, "values": {"carry": 1.0}},
]


class PlaneRoom:
    """Fast heating with small pictures; answers of thermometry and of the filter are kept."""

    def __init__(self, acts: list[dict[str, Any]]) -> None:
        file = config_file("procedures", NAME)
        values = read_toml(file) | {"tick_ms": 50.0}
        values["thermometry"] |= {"reference_dynamics": 24}
        values["heating"] |= {"grid_mm": 4.0, "target_c": 44.0, "hottest_c": 55.0, "power_max_w": 180.0}
        values["therapy"]["power_w"] = 180.0
        values["heating"]["beam"]["focal_share"] *= 3.0
        values["heating"]["points_mm"] = [[78.0, y, z] for y in (-4.0, 0.0, 4.0) for z in (-4.0, 0.0, 4.0)]
        values["streams"][0] |= {"period_ms": 200.0}
        values["outputs"] = [row for row in values["outputs"] if row["kind"] != "overlay"]
        values["plan"] = str(config_file("plans", str(file.parent / values["plan"])))
        settings = parse_settings(values, NAME)
        scenario = copy.deepcopy(read_toml(config_file("scenarios", NAME)))
        scenario["world"]["heat"] |= {"voxel_mm": 4.0, "efficiency": 0.225}
        for row in scenario["peers"]:
            row["with"] |= SCANNER if row["link"] == "mr" else {"acts": acts} if row["link"] == "console" else {}
        self.simulated = build(scenario, 1, EPOCH_NS)
        self.core = Core(settings, load_plan(values["plan"]), load_limits(config_file("safety", "limits"), {}))
        self.virtual = VirtualRoom(self.core, self.simulated.peers, EPOCH_NS, on_sent=self.simulated.sends.note)
        self.sent: list[tuple[str, Any]] = []
        self.heard: list[Any] = []
        self.states: list[str] = []
        self.filtered: list[JobDone] = []
        self.virtual.watchers.append(self._watch)

    def _watch(self, event: Any, effects: Any) -> None:
        self.sent += [(effect.link, effect.message) for effect in effects if isinstance(effect, Send)]
        if isinstance(event, Arrival) and isinstance(event.message, Acknowledgement):
            self.heard.append(event.message)
        if isinstance(event, JobDone):
            assert not event.failed, event.failed
            if event.kind == "thermometry":
                self.states.append(str(event.facts["state"]))
            elif event.kind == "heating":
                self.filtered.append(event)

    def run(self, seconds: float) -> None:
        self.virtual.run_until(EPOCH_NS + round(seconds * NS_PER_S))

    def planes(self) -> list[Command]:
        return [m for link, m in self.sent if link == "mr" and isinstance(m, Command) and m.verb == "PLANE"]


def test_the_scanner_is_asked_it_answers_and_the_dose_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("guidance.lanes.ahead.SPREAD_C", 20.0)  # nobody waits for the rim: a dose within seconds
    room = PlaneRoom(ACTS)
    scanner, console = room.simulated.peers[0], room.simulated.peers[2]
    before_mm = scanner.geometry.copy()
    room.run(42.0)
    assert [verb for _, verb in console.operator.done] == [row["verb"] for row in ACTS]
    (plane,) = room.planes()
    assert plane.values == ELSEWHERE
    answer = next(message for message in room.heard if message.verb == "PLANE")
    assert (answer.done, answer.command_id) == (True, plane.command_id)
    assert room.core.control.answers["refused"] == 0
    middle = scanner.geometry @ np.array([23.5, 23.5, 2.0, 1.0])
    assert middle[:3] == pytest.approx(list(ELSEWHERE.values()))
    assert scanner.geometry[1, 3] - before_mm[1, 3] == pytest.approx(2.5)

    moved = room.states.index("plane_moved")
    assert set(room.states[24:moved]) == {"ok"}
    again = room.states.index("acquiring_reference", moved)
    assert set(room.states[moved:again]) == {"plane_moved"}
    assert room.states[again + 24 :] == ["ok"] * len(room.states[again + 24 :])
    assert len(room.states[again + 24 :]) > 30

    maps = [answer for answer in room.filtered if answer.arrays]
    known = [answer.facts["state"] == "ok" for answer in room.filtered]
    gap = known.index(False, known.index(True))
    last = max(n for n, answer in enumerate(room.filtered[:gap]) if answer.arrays)
    old, new = room.filtered[last].arrays, maps[-1].arrays
    assert (old["region_ras"] == new["region_ras"]).all(), "the grid belongs to the plan"
    hot = old["region_dose_min"] > 0.25 * old["region_dose_min"].max()
    assert hot.sum() >= 5
    assert old["region_dose_min"].max() > 0.1
    assert (new["region_dose_min"] >= old["region_dose_min"]).all()
    assert maps[-1].facts["unobserved_s"] > 0.0, "and it is told that part of it was not watched"
    still_c = room.simulated.truth.world.tissue.solver.rise_c.max() + 37.0
    assert 40.0 < new["region_temperature_c"].max() == pytest.approx(still_c, abs=2.0), "residual heat is carried"
