"""A scenario file becomes a room: one patient, its devices, the truth, and a score against it.

seed = 1                       # unless another is given
build = "sim.scenario.build"   # how other programs find this module
[[links]]                      # the devices' side of the room's links
id = "tracker"
kind = "openigtlink"
mode = "listen"
address = "127.0.0.1:18944"
[world.breathing]              # see sim/phantom
[[peers]]
peer = "sim.tracker.Tracker"
link = "tracker"
[peers.with]                   # keyword parameters of that class
rate_hz = 100.0
[[faults]]                     # see sim/faults.py
link = "tracker"
kind = "drop"
"""

import importlib
import inspect
import os
import tomllib
from collections.abc import Iterable
from importlib import resources
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from devices.messages import AnyMessage
from devices.peer import Peer
from sim.errors import ScenarioError
from sim.faults import Fault, Faulty
from sim.implant import ImplantRow
from sim.latency import SendLog
from sim.phantom.world import World, WorldSettings
from sim.placements import TargetRow
from sim.truth import Truth

_DATA = "${GUIDANCE_DATA}"


class LinkRow(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The devices' side of one link."""

    id: str
    kind: str
    mode: str = "listen"
    address: str = "127.0.0.1:0"
    options: dict[str, Any] = {}


class PeerRow(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename={"parameters": "with"}):
    """One device: its class by dotted path, the link that it speaks on, its parameters."""

    peer: str
    link: str
    parameters: dict[str, Any] = {}


class Scenario(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A whole scenario file."""

    peers: tuple[PeerRow, ...]
    links: tuple[LinkRow, ...] = ()
    world: WorldSettings | None = None
    faults: tuple[Fault, ...] = ()
    targets: tuple[TargetRow, ...] = ()
    tips: dict[str, str] = {}  # tool -> the tool whose tip is its true one (a needle that bends)
    implant: ImplantRow | None = None  # seeds that needles leave
    seed: int = 1
    title: str = ""
    build: str = "sim.scenario.build"
    schema_version: int = 1


class Room:
    """Peers to drive, what is true about them, and how well outputs agree with it."""

    def __init__(self, scenario: Scenario, peers: list[Peer], truth: Truth, sends: SendLog) -> None:
        self.scenario = scenario
        self.peers = peers
        self.truth = truth
        self.sends = sends  # the driver notes here when it delivers what a device says

    def score(self, outputs: Iterable[tuple[int, AnyMessage]]) -> dict[str, Any]:
        """Outputs as (service time, message) against the truth; see `sim.truth.Truth.score`."""
        return self.truth.score(outputs)


def parse(values: dict[str, Any], where: str = "scenario") -> Scenario:
    """Checked scenario; ScenarioError says where and what."""
    try:
        scenario = msgspec.convert(values, Scenario)
    except msgspec.ValidationError as fault:
        raise ScenarioError(f"{where}: {fault}") from fault
    links = {row.id for row in scenario.links}
    for row in scenario.peers:
        if links and row.link not in links:
            raise ScenarioError(f"{where}: {row.peer} speaks on link {row.link!r}, which is not among {sorted(links)}")
    for fault_row in scenario.faults:
        if fault_row.link not in {row.link for row in scenario.peers}:
            raise ScenarioError(f"{where}: a fault names link {fault_row.link!r}, on which no peer speaks")
    return scenario


def build(values: dict[str, Any], *, seed: int | None, start_ns: int) -> Room:
    """A room from a scenario's plain values. The same values and seed give the same room."""
    scenario = parse(values)
    seed = scenario.seed if seed is None else seed
    world = World(scenario.world or WorldSettings(), seed=seed, start_ns=start_ns)
    sends = SendLog()
    truth = Truth(world, scenario.targets, scenario.tips, scenario.implant)
    peers: list[Peer] = []
    for index, row in enumerate(scenario.peers):
        rng = np.random.default_rng([seed, 100 + index])
        offered = {"name": row.link, "link": row.link, "world": world, "rng": rng, "seed": seed, "start_ns": start_ns}
        offered |= {"sends": sends, "tracked": truth.tools}
        peer = _construct(row, offered)
        truth.watch(peer)
        faults = [fault for fault in scenario.faults if fault.link == row.link]
        peers.append(Faulty(peer, faults, np.random.default_rng([seed, 200 + index]), start_ns) if faults else peer)
    return Room(scenario, peers, truth, sends)


def _construct(row: PeerRow, offered: dict[str, Any]) -> Peer:
    module, _, name = row.peer.rpartition(".")
    try:
        kind = getattr(importlib.import_module(module), name)
        wanted = inspect.signature(kind).parameters
    except (ImportError, AttributeError, ValueError) as fault:
        raise ScenarioError(f"peer {row.peer!r} is not a class that can be imported: {fault}") from fault
    given = {key: value for key, value in offered.items() if key in wanted} | _expand(row.parameters)
    try:
        peer: Peer = kind(**given)
    except (TypeError, ValueError, OSError, msgspec.ValidationError) as fault:
        raise ScenarioError(f"peer {row.peer} on link {row.link}: {fault}") from fault
    return peer


def _expand(value: Any) -> Any:
    """`${GUIDANCE_DATA}` in texts: the folder of recordings."""
    if isinstance(value, dict):
        return {key: _expand(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_expand(inner) for inner in value]
    if not isinstance(value, str) or _DATA not in value:
        return value
    return value.replace(_DATA, str(_data_folder()))


def _data_folder() -> Path:
    """`$GUIDANCE_DATA`, else `../shared/data` beside the project or the working folder."""
    if given := os.environ.get("GUIDANCE_DATA"):
        return Path(given)
    beside = [root.parent / "shared" / "data" for root in (Path(__file__).resolve().parents[1], Path.cwd())]
    for folder in beside:
        if folder.is_dir():
            return folder
    raise ScenarioError(f"recordings are not at {beside[0]}: set GUIDANCE_DATA to their folder")


def load(name_or_path: str) -> dict[str, Any]:
    """Plain values of a scenario: a file, or a name in `config/scenarios` of the installed package."""
    path = Path(name_or_path)
    packaged = resources.files("config") / "scenarios" / f"{name_or_path}.toml"
    if path.suffix != ".toml" and packaged.is_file():
        text = packaged.read_text(encoding="utf-8")
    elif path.is_file():
        text = path.read_text(encoding="utf-8")
    else:
        rows = (resources.files("config") / "scenarios").iterdir()
        have = sorted(row.name.removesuffix(".toml") for row in rows if row.name.endswith(".toml"))
        raise ScenarioError(f"no scenario {name_or_path!r}: neither a file nor one of {have}")
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as fault:
        raise ScenarioError(f"{name_or_path}: not TOML: {fault}") from fault
