"""Navigation end to end in virtual time: rooms, their truth, and the faults that must be noticed."""

from typing import Any

import pytest

from devices.messages import Alert, AnyMessage, Command, GuidedPose, Metrics, Outlines, Overlay, Paths, Points, Text
from devices.quality import Quality
from guidance.core import Core
from guidance.events import Send
from guidance.load import config_file, load_room
from guidance.settings import read_toml
from guidance.space import read_result
from guidance.trial import EPOCH_NS
from guidance.virtual import VirtualRoom
from sim.scenario import build


class Run:
    """A procedure over some seconds, its scenario changed by `change`."""

    def __init__(self, procedure: str, seconds: float, change: Any = None, seed: int = 1) -> None:
        settings, plan, limits = load_room(config_file("procedures", procedure))
        values = read_toml(config_file("scenarios", procedure))
        if change is not None:
            change(values)
        simulated = build(values, seed=seed, start_ns=EPOCH_NS)
        self.core = Core(settings, plan, limits)
        self.outputs: list[tuple[int, AnyMessage]] = []
        room = VirtualRoom(self.core, simulated.peers, EPOCH_NS, on_sent=simulated.sends.note)
        room.watchers.append(
            lambda event, effects: self.outputs.extend(
                (event.now_ns, e.message) for e in effects if isinstance(e, Send)
            )
        )
        room.run_until(EPOCH_NS + round(seconds * 1e9))
        self.score = simulated.score(self.outputs)["placements"]
        self.console = simulated.truth.consoles[0].operator

    def of(self, kind: type, name: str = "") -> list[Any]:
        return [m for _, m in self.outputs if isinstance(m, kind) and m.name.startswith(name)]

    def alarms(self) -> set[str]:
        return {m.name for m in self.of(Alert) if m.state == "active"}


def tool(values: dict[str, Any], name: str) -> dict[str, Any]:
    rows = [row for peer in values["peers"] for row in peer.get("with", {}).get("tools", ()) if row["name"] == name]
    found: dict[str, Any] = rows[0]
    return found


@pytest.fixture(scope="module")
def brain() -> Run:
    return Run("stereotactic_brain", 29.5)


def test_nothing_is_guided_before_the_registration_and_everything_after(brain: Run) -> None:
    registered_ns = next(ns for ns, m in brain.outputs if isinstance(m, Metrics) and m.name == "points-Reference-RAS")
    poses = [(ns, m) for ns, m in brain.outputs if isinstance(m, GuidedPose)]
    assert poses
    assert min(ns for ns, _ in poses) >= registered_ns
    assert not brain.console.refused


def test_the_registration_is_a_sealed_file_with_its_errors(brain: Run) -> None:
    (text,) = {m.text for m in brain.of(Text, "result-points")}
    found = read_result(text.encode(), "told")
    assert found.kind == "points"
    assert (found.moving, found.fixed) == ("Reference", "RAS")
    assert found.errors["fre_mm"] <= found.limits["fre_mm"]
    assert not found.faults(EPOCH_NS + 60_000_000_000)
    assert found.faults(EPOCH_NS + 10**15)


def test_a_core_is_recorded_where_it_was_within_its_bound(brain: Run) -> None:
    row = brain.score["rows"]["core-1"]
    assert row["error_mm"] <= row["bound_mm"] < 1.5
    assert row["lesion.told"] == 2.0
    assert row["lesion.true_depth_mm"] > 0


def test_consoles_get_the_plan_as_geometry(brain: Run) -> None:
    assert {m.name for m in brain.of(Paths)} >= {"Trajectories", "Cores"}
    assert brain.of(Points, "Plan")[0].labels[0] == "lesion"
    outline = brain.of(Outlines, "lesion")[0]
    assert outline.counts.sum() == len(outline.points_mm) > 50


def test_moving_landmarks_make_a_registration_that_is_refused() -> None:
    def shake(values: dict[str, Any]) -> None:
        tool(values, "Stylus")["error_mm"] = 6.0

    run = Run("stereotactic_brain", 20.0, shake)
    assert run.of(Metrics, "points-")[-1].values["used"] == 0.0
    assert any("refused" in m.text and "fre_mm" in m.text for m in run.of(Text, "calibration"))
    assert not run.of(GuidedPose)


def test_a_distorted_field_hides_what_is_guided_and_stops() -> None:
    def distort(values: dict[str, Any]) -> None:
        values["faults"] = [
            {"link": "tracker", "kind": "shift", "message": "Reference2", "start_s": 24.0, "amount": 4.0}
        ]

    run = Run("stereotactic_brain", 26.0, distort)
    assert any(name.startswith("K4.") for name in run.alarms())
    late = [m for ns, m in run.outputs if isinstance(m, GuidedPose) and ns > EPOCH_NS + 24_300_000_000]
    assert late
    assert all(m.quality is not Quality.OK and not m.values for m in late if m.tool == "Needle")


def test_a_bent_needle_is_noticed() -> None:
    def bend(values: dict[str, Any]) -> None:
        tool(values, "NeedleTip")["bend_mm"] = 4.0

    assert "K7.Needle" in Run("brachy_prostate", 5.0, bend).alarms()
    assert "K7.Needle" not in Run("brachy_prostate", 5.0).alarms()


def test_a_changed_depth_voids_the_probe_calibration() -> None:
    def turn(values: dict[str, Any]) -> None:
        (row,) = (row for row in values["peers"] if row["peer"].endswith("Ultrasound"))
        row["with"]["depth_change"] = [3.0, 90.0]

    run = Run("fusion_biopsy_prostate", 4.0, turn)
    assert "K5.Image-Probe" in run.alarms()
    frames = [m for ns, m in run.outputs if isinstance(m, Overlay) and m.view == "frame"]
    assert frames[10].quality is Quality.OK
    assert frames[-1].quality is Quality.MISSING


def test_a_needle_beside_its_way_is_told() -> None:
    def miss(values: dict[str, Any]) -> None:
        tool(values, "Needle").update(error_mm=12.0, dwell_s=9.0)

    assert "G2.Needle" in Run("fusion_biopsy_prostate", 13.0, miss).alarms()


def test_electrodes_out_of_spacing_cannot_be_armed() -> None:
    def move(values: dict[str, Any]) -> None:
        tool(values, "Electrode2")["miss_mm"] = [0.0, -8.0, 0.0]

    run = Run("ire_pancreas", 18.0, move)
    assert any("G3" in reason for reason in run.console.refused)
    assert not [m for m in run.of(Command) if m.verb == "START"]


def test_electrodes_in_their_limits_are_armed_and_verified() -> None:
    run = Run("ire_pancreas", 20.0)
    assert "START" in {verb for _, verb in run.console.done}
    assert run.score["recorded"] == 3 == run.score["within_bound"]
    assert run.score["coverage"]["coverage-tumour"]["covered_0mm"] > 0.99


def test_a_robot_that_drifts_is_slowed_then_held_inside_its_outer_margin() -> None:
    def drift(values: dict[str, Any]) -> None:
        (row,) = (row for row in values["peers"] if row["peer"].endswith("Robot"))
        row["with"]["faults"] = {"drift_mm_per_mm": 0.3}

    run = Run("robot_needle", 20.0, drift)
    shares = [m.values["share"] for m in run.of(Command) if m.verb == "SPEED"]
    assert min(shares) < 0.8
    assert "G2.Robot" in run.alarms()  # its sigma counts too, so this comes before R1
    assert [m for m in run.of(Command) if m.verb == "HOLD"]
    lateral = [m.values["lateral_mm"] for m in run.of(GuidedPose)]
    assert 1.0 < max(lateral) < 3.0


def test_a_robot_that_sticks_is_held() -> None:
    def stick(values: dict[str, Any]) -> None:
        (row,) = (row for row in values["peers"] if row["peer"].endswith("Robot"))
        row["with"]["faults"] = {"stuck_at_mm": 20.0}

    run = Run("robot_needle", 12.0, stick)
    assert "R2.Robot" in run.alarms()
    assert [m for m in run.of(Command) if m.verb == "HOLD"]
