"""Laser and freezing rooms in virtual time against their simulated patients, with small pictures."""

import copy
from typing import Any

import pytest

from devices.messages import Alert, Command, Metrics, Outlines
from guidance.core import Core
from guidance.events import Send
from guidance.load import config_file
from guidance.plan import load_plan
from guidance.safety.limits import load_limits
from guidance.safety.phases import Phase
from guidance.settings import parse_settings, read_toml
from guidance.trial import EPOCH_NS, build
from guidance.units import NS_PER_S
from guidance.virtual import VirtualRoom


class LesionRoom:
    """A room of config/ with changes to its file and its scenario; everything that was sent is kept."""

    def __init__(self, name: str, room: dict[str, Any], scanner: dict[str, Any], world: dict[str, Any],
                 device: dict[str, Any] | None = None) -> None:  # fmt: skip
        values = read_toml(config_file("procedures", name)) | {"tick_ms": 50.0} | room
        values["outputs"] = [row for row in values["outputs"] if row["kind"] != "overlay"]
        values["plan"] = str(config_file("plans", str(config_file("procedures", name).parent / values["plan"])))
        settings = parse_settings(values, name)
        scenario = copy.deepcopy(read_toml(config_file("scenarios", name)))
        for row in scenario["peers"]:
            row["with"] |= scanner if row["link"] == "mr" else (device or {}) if row["link"] == "therapy" else {}
        for key, row in world.items():
            scenario["world"][key] = scenario["world"].get(key, {}) | row
        self.simulated = build(scenario, 1, EPOCH_NS)
        limits = load_limits(config_file("safety", "limits"), settings.limits)
        self.core = Core(settings, load_plan(values["plan"]), limits)
        self.virtual = VirtualRoom(self.core, self.simulated.peers, EPOCH_NS, on_sent=self.simulated.sends.note)
        self.sent: list[tuple[int, Any]] = []
        self.virtual.watchers.append(
            lambda event, effects: self.sent.extend((event.now_ns, e.message) for e in effects if isinstance(e, Send))
        )

    def run(self, seconds: float) -> None:
        self.virtual.run_until(EPOCH_NS + round(seconds * NS_PER_S))

    def told(self, kind: type, name: str = "") -> list[Any]:
        return [message for _, message in self.sent if isinstance(message, kind) and message.name.startswith(name)]

    def verbs(self) -> list[str]:
        return [command.verb for command in self.told(Command, "Therapy") if command.verb != "PERMIT"]

    @property
    def device(self) -> Any:
        return self.simulated.truth.therapies[0]


LASER = {"shape": [3, 64, 64], "pixel_mm": 1.5}
HEAD = {"head": {"voxel_mm": 2.0}, "laser": {"voxel_mm": 1.25, "reach_mm": 20.0}}
CRYO = {"shape": [9, 64, 64], "pixel_mm": 2.0, "slice_mm": 5.0}
FLANK = {"flank": {"voxel_mm": 4.0}, "cryo": {"voxel_mm": 2.0, "reach_mm": 30.0}}
CYCLES = [{"freeze_s": 130.0, "thaw_s": 15.0}]


def cryo_row(**changed: Any) -> dict[str, Any]:
    return {"cryo": read_toml(config_file("procedures", "cryo_kidney"))["cryo"] | {"cycles": CYCLES} | changed}


def test_the_light_burns_the_tumour_and_goes_off_by_itself() -> None:
    room = LesionRoom("laser_brain", {}, LASER, HEAD)
    room.run(170.0)
    assert room.core.treatment.phase is Phase.IDLE  # the damage was reached: nobody said FINISH
    score = room.simulated.score(room.sent)["lesion"]
    assert score["covered"] > 0.95
    assert score["contour_mm"]["mean"] < 0.8
    assert score["tract_dead"] == 0.0
    assert score["forecast_contour_mm"]["mean"] <= score["unforecast_contour_mm"]["mean"]
    assert any(alert.name.startswith("T4w") for alert in room.told(Alert))
    assert {"Damage", "DamageForecast"} <= {lines.name for lines in room.told(Outlines)}
    assert not any(alert.reaction == "STOP sent" for alert in room.told(Alert))


def test_a_safety_point_stops_the_laser() -> None:
    guards = [{"structure": "tip", "role": "target", "limit_c": 52.0, "limit_cem43_min": 1e12}]
    control = read_toml(config_file("procedures", "laser_brain"))["laser"] | {"guard_reserve_c": 0.0}
    room = LesionRoom("laser_brain", {"guards": guards, "laser": control}, LASER, HEAD)
    room.run(90.0)
    stops = [alert for alert in room.told(Alert) if alert.name.endswith(".tip") and alert.reaction == "STOP sent"]
    assert stops
    assert room.core.treatment.phase is Phase.STOPPED
    assert str(room.device.state) == "stopped"


def test_without_coolant_there_is_no_light() -> None:
    room = LesionRoom("laser_brain", {}, LASER, HEAD, {"faults": {"coolant_lost_s": 45.0}})
    room.run(60.0)
    lost_ns = EPOCH_NS + 45 * NS_PER_S
    assert str(room.device.state) == "stopped"
    assert room.device.stopped_at_ns[-1] - lost_ns < 0.2 * NS_PER_S


def test_the_ice_grows_through_its_cycle_and_thaws_as_planned() -> None:
    room = LesionRoom("cryo_kidney", cryo_row(active_thaw_s=15.0), CRYO, FLANK)
    room.run(220.0)
    assert room.core.treatment.phase is Phase.IDLE
    needles = [command for command in room.told(Command, "Therapy") if command.verb == "NEEDLES"]
    assert [command.reason for command in needles] == ["freeze", "passive thaw", "active thaw"]
    score = room.simulated.score(room.sent)["lesion"]
    assert score["contour_mm"]["mean"] < 1.2
    assert score["lethal_outside_mm"] <= 1.0
    assert score["told_cm3"] == pytest.approx(score["frozen_cm3"], rel=0.25)
    grown = [message.values["ice_cm3"] for message in room.told(Metrics, "cryo") if message.values.get("known")]
    assert grown[0] == 0.0 and max(grown) > 4.0


def test_ice_that_comes_near_an_organ_slows_the_needle_then_stops_without_thaw() -> None:
    limits = {"ice_gap_warn_mm": 13.0, "ice_gap_stop_mm": 10.0}
    room = LesionRoom("cryo_kidney", cryo_row(slow_gap_mm=15.0) | {"limits": limits}, CRYO, FLANK)
    room.run(160.0)
    slowed = [command.values for command in room.told(Command, "Therapy") if command.verb == "NEEDLES"]
    assert {"needle_1": 0.4, "needle_2": 1.0, "needle_3": 1.0} in slowed  # the one beside the colon
    assert any(alert.name == "T1g.colon" for alert in room.told(Alert))
    stopped = [alert for alert in room.told(Alert) if alert.name == "T1gs.colon"]
    assert stopped and stopped[0].reaction == "STOP sent"
    assert str(room.device.state) == "stopped"
    stop = next(command for command in room.told(Command, "Therapy") if command.verb == "STOP" and command.values)
    assert stop.values == {"freeze": 0.0, "thaw": 0.0}


def test_frames_without_an_image_hold_the_needles() -> None:
    room = LesionRoom("cryo_kidney", cryo_row(), CRYO | {"pauses_s": [[60.0, 90.0]]}, FLANK)
    room.run(88.0)
    assert room.core.treatment.phase in (Phase.HOLD, Phase.STOPPED)
    assert str(room.device.state) in ("held", "stopped")
