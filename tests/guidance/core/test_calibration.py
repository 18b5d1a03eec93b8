"""Guided calibrations in virtual time: a pivot of a simulated stylus, the lag of the real water-tank recording."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from devices.messages import Metrics, Text
from devices.recorded import SequencePeer, read_sequence
from guidance.core import Core
from guidance.events import Act, Send
from guidance.load import config_file
from guidance.safety.limits import load_limits
from guidance.settings import parse_settings
from guidance.trial import EPOCH_NS
from guidance.virtual import VirtualRoom
from sim.scenario import build

LINKS = [
    {"id": "tracker", "kind": "openigtlink", "role": "tracker", "clock": "room"},
    {"id": "ultrasound", "kind": "openigtlink", "role": "imaging", "clock": "room"},
    {"id": "console", "kind": "openigtlink", "mode": "listen", "role": "console"},
]


def room(name: str, peers: list[Any], static: list[Any]) -> tuple[VirtualRoom, list[Any]]:
    settings = {
        "room": "test", "procedure": "test", "links": LINKS,
        "streams": [
            {"name": name, "source": f"{name}ToTracker", "link": "tracker", "kind": "pose", "period_ms": 20},
            {"name": "Ultrasound", "source": "Image", "link": "ultrasound", "kind": "ultrasound", "period_ms": 50},
        ],
        "tools": [{"name": name, "stream": name}],
        "space": {"static": static},
        "outputs": [{"kind": "metrics", "to": ["console"]}],
    }  # fmt: skip
    core = Core(parse_settings(settings, "test"), None, load_limits(config_file("safety", "limits")))
    virtual = VirtualRoom(core, peers, EPOCH_NS)
    said: list[Any] = []
    virtual.watchers.append(lambda event, effects: said.extend(e.message for e in effects if type(e) is Send))
    return virtual, said


def act(virtual: VirtualRoom, verb: str, name: str = "") -> tuple[str, ...]:
    virtual.take(Act(now_ns=virtual.now_ns, verb=verb, actor="test", values={"name": name}))
    return virtual.core.last_verdict.reasons


STATIC = [{"moving": "Tracker", "fixed": "RAS", "fixed_from_moving": np.eye(4).tolist()}]
PIVOT = {"name": "Stylus", "motion": "pivot", "tip_mm": [3.0, -2.0, 120.0], "sweep_period_s": 3.0, "tremor_mm": 0.0}


def pivot_room(tilt_deg: float) -> tuple[VirtualRoom, list[Any]]:
    tracker = {"peer": "sim.tracker.Tracker", "link": "tracker", "with": {"tools": [{**PIVOT, "tilt_deg": tilt_deg}]}}
    return room("Stylus", build({"peers": [tracker]}, seed=1, start_ns=EPOCH_NS).peers, STATIC)


def test_a_pivot_finds_the_tip_and_uses_it() -> None:
    virtual, said = pivot_room(45.0)
    virtual.run_until(EPOCH_NS + 10**9)
    assert act(virtual, "PIVOT") == ("no pivot calibration was started",)
    assert not act(virtual, "PIVOT_START", "Stylus")
    virtual.run_until(EPOCH_NS + 12 * 10**9)
    assert not act(virtual, "PIVOT")
    virtual.run_until(EPOCH_NS + 13 * 10**9)
    assert virtual.core.scene.tracking.tools["Stylus"].tip_mm == pytest.approx((3.0, -2.0, 120.0), abs=0.1)
    assert any(isinstance(m, Text) and m.name == "result-pivot-StylusTip-Stylus" for m in said)


def test_a_pivot_that_hardly_tilts_is_refused() -> None:
    virtual, said = pivot_room(10.0)
    virtual.run_until(EPOCH_NS + 10**9)
    act(virtual, "PIVOT_START", "Stylus")
    virtual.run_until(EPOCH_NS + 8 * 10**9)
    act(virtual, "PIVOT")
    virtual.run_until(EPOCH_NS + 9 * 10**9)
    assert virtual.core.scene.tracking.tools["Stylus"].tip_mm == (0.0, 0.0, 0.0)
    assert any(isinstance(m, Text) and "60 are needed" in m.text for m in said)


@pytest.mark.data
def test_the_lag_of_the_water_tank_recording(data_dir: Path) -> None:
    folder = data_dir / "tracked_ultrasound"
    files = {
        "tracker": folder / "WaterTankBottomTranslationTrackerBuffer.igs.mha",
        "ultrasound": folder / "WaterTankBottomTranslationVideoBuffer.igs.mha",
    }
    begins_s = {name: read_sequence(file).frames[0].time_s for name, file in files.items()}
    first_s = min(begins_s.values())  # both files count from the same moment
    peers = [
        SequencePeer(str(file), name=name, emit=name, start_ns=EPOCH_NS + round((begins_s[name] - first_s) * 1e9))
        for name, file in files.items()
    ]
    virtual, said = room("Probe", peers, STATIC)
    virtual.run_until(EPOCH_NS + 60 * 10**9)
    assert not act(virtual, "LAG_START", "Probe")
    virtual.run_until(EPOCH_NS + 82 * 10**9)
    assert not act(virtual, "LAG")
    virtual.run_until(EPOCH_NS + 84 * 10**9)
    told = [m for m in said if isinstance(m, Metrics) and m.name == "temporal-Ultrasound-Probe"]
    assert told, [m.text for m in said if isinstance(m, Text)]
    assert told[0].values["lag_s"] == pytest.approx(0.0648266, abs=0.005)
    assert virtual.core.scene.tracking.lags_ns["Ultrasound"] == pytest.approx(64.8e6, abs=5e6)
