"""Several echoes of one message, from the simulated scanner through the room: temperature by all of them."""

import copy
from typing import Any

import numpy as np
import pytest

from guidance.core import Core
from guidance.errors import SettingsError
from guidance.events import JobDone
from guidance.load import config_file
from guidance.plan import load_plan
from guidance.safety.limits import load_limits
from guidance.settings import parse_settings, read_toml
from guidance.trial import EPOCH_NS, build
from guidance.units import NS_PER_S
from guidance.virtual import VirtualRoom

NAME = "hyperthermia_release"
ECHOES = (0.008, 0.012, 0.016)


def settings_of(**thermometry: Any) -> Any:
    values = read_toml(config_file("procedures", NAME)) | {"tick_ms": 50.0}
    values["outputs"] = [row for row in values["outputs"] if row["kind"] != "overlay"]
    values["plan"] = str(config_file("plans", str(config_file("procedures", NAME).parent / values["plan"])))
    values["thermometry"] |= {"reference_dynamics": 12, "baseline": "mean"} | thermometry
    return parse_settings(values, NAME)


def answers(seconds: float, thermometry: dict[str, Any], scanner: dict[str, Any]) -> list[JobDone]:
    """What thermometry said of a still, unheated patient with small pictures."""
    scenario = copy.deepcopy(read_toml(config_file("scenarios", NAME)))
    scenario["world"]["breathing"]["amplitude_mm"] = 0.0
    for row in scenario["peers"]:
        row["with"] |= {"shape": [3, 48, 48], "pixel_mm": 5.0, "rate_hz": 5.0} | scanner if row["link"] == "mr" else {}
    simulated = build(scenario, 1, EPOCH_NS)
    settings = settings_of(**thermometry)
    core = Core(settings, load_plan(settings.plan), load_limits(config_file("safety", "limits"), {}))
    room = VirtualRoom(core, simulated.peers, EPOCH_NS, on_sent=simulated.sends.note)
    found: list[JobDone] = []
    room.watchers.append(
        lambda event, _: found.append(event) if isinstance(event, JobDone) and event.kind == "thermometry" else None
    )
    room.run_until(EPOCH_NS + round(seconds * NS_PER_S))
    return found


def spread_c(found: list[JobDone]) -> float:
    """RMS of what is read beside 37 degC, in degC; each error is held against its own sigma."""
    good = [answer for answer in found if answer.facts["state"] == "ok"]
    assert len(good) >= 8
    valid = good[0].arrays["valid"]
    assert valid.shape == (3, 48, 48)
    error = np.concatenate([(answer.arrays["temperature_c"] - 37.0)[valid & answer.arrays["valid"]] for answer in good])
    sigma = np.concatenate([answer.arrays["sigma_c"][valid & answer.arrays["valid"]] for answer in good])
    assert np.sqrt(np.mean((error / sigma) ** 2)) == pytest.approx(1.05, abs=0.1)
    return float(np.sqrt(np.mean(error**2)))


def test_three_echoes_of_a_message_are_better_than_the_first_alone() -> None:
    one = {"sequence": {"echo_time_s": 0.008, "breathing_hz": 0.0, "drift_hz_per_min": 0.0}}
    three = one | {"more_echo_times_s": ECHOES[1:]}
    alone = spread_c(answers(5.0, {"echo_time_s": 0.008}, one))
    all_of_them = spread_c(answers(5.0, {"echo_time_s": 0.008, "more_echo_times_s": ECHOES[1:]}, three))
    best = np.sqrt(sum((te / ECHOES[0]) ** 2 for te in ECHOES))  # weights TE^2 |S|^2
    assert alone / all_of_them == pytest.approx(best, rel=0.1)


def test_an_echo_that_is_lost_is_named_and_has_no_temperature() -> None:
    row = {"echo_time_s": 0.008, "more_echo_times_s": ECHOES[1:]}
    scanner = {
        "sequence": {"echo_time_s": 0.008, "field_t": 3.0}, "more_echo_times_s": ECHOES[1:], "lost_echoes": [16],
    }  # fmt: skip
    found = answers(5.0, row, scanner)
    states = [answer.facts["state"] for answer in found]
    assert states[:12] == ["acquiring_reference"] * 12
    assert [n for n, state in enumerate(states[12:], start=12) if state != "ok"] == [16]
    lost = found[16]
    assert lost.facts["state"] == "echo_time_changed"
    assert "8, 12 ms, the plan says 8, 12, 16 ms" in str(lost.facts["reason"])
    assert not lost.arrays["valid"].any()


def test_one_echo_for_a_room_of_three_is_named_from_the_start() -> None:
    found = answers(2.0, {"echo_time_s": 0.008, "more_echo_times_s": ECHOES[1:]}, {"sequence": {"echo_time_s": 0.008}})
    assert {answer.facts["state"] for answer in found} == {"echo_time_changed"}


def test_following_brings_one_echo_only() -> None:
    with pytest.raises(SettingsError, match="follow_frames"):
        settings_of(more_echo_times_s=list(ECHOES[1:]), follow_frames=20)
