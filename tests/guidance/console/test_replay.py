"""A session that a console drove replays identically: every act of a page is an event of the recording."""

from pathlib import Path
from typing import Any

from guidance.core import Core
from guidance.events import Act
from guidance.load import config_file, load_room, recording_header
from guidance.recording.reader import Recording
from guidance.recording.writer import Recorder
from guidance.replay import check
from guidance.safety.treatment import Phase
from guidance.settings import read_toml
from guidance.trial import EPOCH_NS, build
from guidance.units import NS_PER_S
from guidance.virtual import VirtualRoom

PROCEDURE = "hyperthermia_release"
# when, act, its values, whether the core does it: what it refuses is replayed as well
ROWS: tuple[tuple[float, str, dict[str, Any], bool], ...] = (
    (0.5, "TAKE_CONTROL", {}, True),
    (4.0, "RESET", {}, True),
    (11.5, "PLACE_POINT", {"name": "P1", "limit_c": 45.0}, True),
    (11.6, "SET_POWER", {"power_w": 30.0}, True),
    (11.7, "START", {"power_w": 30.0}, False),
    (11.8, "REMOVE_POINT", {"name": "P1"}, True),
    (11.9, "STOP", {}, True),
    (11.95, "RE_ZERO", {}, True),
)


def quiet(values: dict[str, Any]) -> dict[str, Any]:
    """The scenario without its own operator: the page is the operator."""
    for row in values["peers"]:
        row.get("with", {}).pop("acts", None)
    return values


def test_acts_of_a_console_replay_identically(tmp_path: Path) -> None:
    settings, plan, limits = load_room(config_file("procedures", PROCEDURE))
    assert plan is not None
    core = Core(settings, plan, limits)
    simulated = build(quiet(read_toml(config_file("scenarios", PROCEDURE))), 1, EPOCH_NS)
    room = VirtualRoom(core, simulated.peers, EPOCH_NS, on_sent=simulated.sends.note)
    verdicts: dict[str, tuple[bool, tuple[str, ...]]] = {}
    room.watchers.append(
        lambda event, _: (
            verdicts.update({event.verb: (core.last_verdict.done, core.last_verdict.reasons)})
            if isinstance(event, Act)
            else None
        )
    )
    recorder = Recorder(tmp_path, recording_header(settings, plan, limits), name="acts.mcap", waits=True)
    room.watchers.append(recorder.append)
    page = {"actor": "operator-1", "console": "page-1", "role": "operator"}

    def act(at_s: float, verb: str, **values: Any) -> None:
        now_ns = EPOCH_NS + round(at_s * NS_PER_S)
        room.at(now_ns, Act(now_ns=now_ns, verb=verb, values=values, **page))

    for n in range(23):
        act(0.6 + 0.5 * n, "LEASE")
    center = dict(zip(("r_mm", "a_mm", "s_mm"), map(float, plan.targets[0].center_mm), strict=True))
    for at_s, verb, values, _ in ROWS:
        act(at_s, verb, **values, **(center if verb == "PLACE_POINT" else {}))
    room.run_until(EPOCH_NS + 12 * NS_PER_S)
    recorder.close()
    assert {verb: verdicts[verb][0] for _, verb, _, _ in ROWS} == {verb: done for _, verb, _, done in ROWS}, verdicts
    assert core.treatment.phase is Phase.STOPPED

    report = check(recorder.path)
    assert report.ok and report.computed > 0, report.faults
    recorded = [event for event, _ in Recording(recorder.path).steps() if isinstance(event, Act)]
    assert [(e.verb, e.console) for e in recorded if e.verb != "LEASE"] == [(verb, "page-1") for _, verb, _, _ in ROWS]
