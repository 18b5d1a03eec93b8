"""`guidance trial`: a procedure in virtual time, over many seeds, scored against the simulator's truth.

The simulator is found by the dotted path that the scenario itself names, so nothing here imports it.
"""

import importlib
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from rich.console import Console

from devices.messages import AnyMessage
from guidance.core import Core
from guidance.errors import SettingsError
from guidance.events import Send
from guidance.load import config_file, load_room, recording_header
from guidance.recording.writer import Recorder
from guidance.settings import read_toml
from guidance.units import NS_PER_S
from guidance.virtual import VirtualRoom

EPOCH_NS = 1_700_000_000 * NS_PER_S  # virtual sessions begin here, so that the same seed gives the same bytes


def build_peers(scenario: str, seed: int, start_ns: int) -> Any:
    """The scenario's room of peers: `.peers`, `.sends`, `.score(outputs)`."""
    return build(read_toml(config_file("scenarios", scenario)), seed, start_ns, scenario)


def build(values: dict[str, Any], seed: int, start_ns: int, scenario: str = "scenario") -> Any:
    """A room of peers from a scenario's plain values, by the function that they name."""
    module, _, name = str(values.get("build", "")).rpartition(".")
    if not module:
        raise SettingsError(scenario, ["build: the scenario must name the function that builds its peers"])
    try:
        builder = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as fault:
        raise SettingsError(scenario, [f"build: {module}.{name} cannot be imported: {fault}"]) from fault
    return builder(values, seed=seed, start_ns=start_ns)


def run_trial(procedure: str, seed: int, duration_s: float, record: Path | None) -> dict[str, Any]:
    """One seed: the score, and whether the session made sense at all."""
    settings, plan, limits = load_room(config_file("procedures", procedure))
    simulated = build_peers(procedure, seed, EPOCH_NS)
    core = Core(settings, plan, limits)
    room = VirtualRoom(core, simulated.peers, EPOCH_NS, on_sent=simulated.sends.note)
    outputs: list[tuple[int, AnyMessage]] = []
    room.watchers.append(
        lambda event, effects: outputs.extend((event.now_ns, e.message) for e in effects if isinstance(e, Send))
    )
    recorder = None
    if record is not None:
        record.mkdir(parents=True, exist_ok=True)
        header = recording_header(settings, plan, limits)
        recorder = Recorder(record, header, name=f"{procedure}-{seed}.mcap", waits=True)
        room.watchers.append(recorder.append)
    began = time.perf_counter()
    try:
        room.run_until(EPOCH_NS + round(duration_s * NS_PER_S))
    finally:
        health = recorder.close() if recorder is not None else None
    score = simulated.score(outputs)
    received = {name: state.received for name, state in core.streams.items()}
    row = {
        "procedure": procedure,
        "seed": seed,
        "duration_s": duration_s,
        "wall_s": round(time.perf_counter() - began, 2),
        "received": received,
        "phase": core.treatment.phase.value,
        "score": score,
        "ok": all(received.values()) and bool(score.get("ok", True)) and not (health and health.lost),
    }
    return row | ({"recording": str(recorder.path)} if recorder is not None else {})


def run_trials(
    procedure: str, seeds: Iterable[int], duration_s: float, record: Path | None, out: Console
) -> list[dict[str, Any]]:
    """Every seed in turn, each told as it ends."""
    rows = []
    for seed in seeds:
        row = run_trial(procedure, seed, duration_s, record)
        rows.append(row)
        out.print(f"seed {seed}: {'ok' if row['ok'] else 'NOT OK'}, {row['wall_s']} s, {row['score']}", highlight=False)
    return rows
