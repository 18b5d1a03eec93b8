"""The rooms of campaign A as rows: which procedure, what is added to it, and where in the treatment faults begin."""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from guidance.load import config_file, load_room
from guidance.plan import Plan
from guidance.safety.limits import Limit
from guidance.settings import RoomSettings, parse_settings, read_toml
from guidance.trial import EPOCH_NS, build

Place = tuple[str, float, float]  # phase, seconds after its begin, how often
TREATED: tuple[Place, ...] = (("IDLE", 0.5, 0.3), ("TREATING", 1.0, 0.7))
CAMPAIGN = "campaign"
LANDMARKS = "landmarks too coarse"
CONSOLE = "console"  # at which the campaign's operator acts


class RoomRow(msgspec.Struct, frozen=True):
    """`settings` and `peers` are added to the procedure's; `hand`: what the operator's console keeps saying."""

    name: str
    procedure: str
    places: tuple[Place, ...] = TREATED
    bases: int = 1  # patients: how the room is seeded
    settings: dict[str, Any] = {}
    peers: tuple[dict[str, Any], ...] = ()
    acts: bool = False  # the scenario's own operator acts
    hand: frozenset[str] = frozenset()


_XRAY = {
    "links": [{"id": "xray", "kind": "openigtlink", "role": "xray"}],
    "streams": [{"name": "XRay", "link": "xray", "kind": "reading", "period_ms": 1000.0}],
}
_CHEST = {  # a marker on the chest, seen by a camera in the room
    "links": [{"id": "camera", "kind": "openigtlink", "clock": "room"}],
    "streams": [
        {"name": "Chest", "source": "ChestToTracker", "link": "camera", "kind": "respiration", "period_ms": 50.0}
    ],
}
_CAMERA = {
    "peer": "sim.tracker.Tracker", "link": "camera",
    "with": {
        "rate_hz": 20.0,
        "tools": [{"name": "Chest", "at_mm": [20.0, 140.0, 40.0], "follows": 0.4, "tremor_mm": 0.0}],
    },
}  # fmt: skip
_GUARDS = [
    {"structure": "vessel", "role": "unheated", "limit_c": 60.0, "limit_cem43_min": 1e12},
    {"structure": "liver", "role": "near_field", "limit_c": 90.0, "limit_cem43_min": 1e12},
    {"structure": "tumour", "role": "target", "limit_c": 99.0, "limit_cem43_min": 1e12},
]
_GOLDEN = [{"name": "floor", "frame": "Tracker", "at_mm": [0, 0, 0], "ras_mm": [-50, -100, 1200]}]
_TRACKER = {"moving": "Tracker", "fixed": "RAS", "source": "simulated room, exact", "sigma_mm": 0.5}


def _placed(matrix: Sequence[Sequence[float]], **more: float) -> dict[str, Any]:
    return {"space": {"static": [{**_TRACKER, "fixed_from_moving": matrix, **more}]}, "golden": _GOLDEN}


_RIGHT = [[0, -1, 0, -50], [1, 0, 0, -100], [0, 0, 1, 1200], [0, 0, 0, 1]]
_SET_UP: dict[str, tuple[str, dict[str, Any]]] = {  # what was wrong before anybody armed
    "other patient": ("robot_needle", {"patient": {"patient_id": "SIM-9999"}}),
    "left for right": ("robot_needle", {"patient": {"laterality": "left"}}),
    "another plan": ("robot_needle", {"patient": {"content_sha256": "0" * 64}}),
    "LPS for RAS": ("campaign", _placed([[0, 1, 0, 50], [-1, 0, 0, 100], [0, 0, 1, 1200], [0, 0, 0, 1]])),
    "mm for m": ("campaign", _placed([[0, -1, 0, -0.05], [1, 0, 0, -0.1], [0, 0, 1, 1.2], [0, 0, 0, 1]])),
    "transposed": ("campaign", _placed([[0, 1, 0, 100], [-1, 0, 0, -50], [0, 0, 1, -1200], [0, 0, 0, 1]])),
    "coarse registration": ("campaign", _placed(_RIGHT, fre_mm=2.6)),
    "calibration of yesterday": ("campaign", _placed(_RIGHT, made_ns=EPOCH_NS - 86_400 * 10**9, valid_s=43_200.0)),
    "body too cold": ("campaign", {"thermometry": {"t0_c": 31.0}}),
    "body too hot": ("campaign", {"thermometry": {"t0_c": 41.6}}),
    "guard on bone": ("campaign", {"guards": [{"structure": "rib-upper", "limit_c": 45.0, "limit_cem43_min": 17.0}]}),
}
ROOMS: tuple[RoomRow, ...] = (
    RoomRow(
        CAMPAIGN, "campaign", (("READY", 0.3, 0.15), ("TREATING", 0.5, 0.35), ("TREATING", 4.0, 0.5)), 4,
    ),
    RoomRow(
        "thermal", "campaign", (("IDLE", 3.0, 0.2), ("TREATING", 1.0, 0.8)),  # from 2 s on there is a baseline
        settings={
            "guards": _GUARDS,
            "streams": [{"name": "TherapyStatus", "link": "therapy", "kind": "status", "period_ms": 1000.0}],
            "therapy": {"interlocks": []},
            "outputs": [{"kind": "overlay", "to": ["bus"], "views": ["coronal"]}],
        },
    ),
    RoomRow(
        "robot", "robot_needle", settings={"control": {"consoles": 1, "held": "browser"}, **_XRAY},
        peers=({"peer": "sim.xray.XRay", "link": "xray"},), hand=frozenset({"BEAT", "LEASE", "HELD"}),
    ),
    RoomRow("motion", "mrlinac_gating", (("TREATING", 6.0, 1.0),), settings=_CHEST, peers=(_CAMERA,)),
    RoomRow("needles", "ire_pancreas", (("IDLE", 11.0, 0.2), ("TREATING", 1.0, 0.8))),  # all three stand
    RoomRow("brain", "stereotactic_brain", (("IDLE", 20.0, 1.0),), acts=True),
    RoomRow("picture", "microwave_liver_us", (("IDLE", 0.5, 1.0),)),
    RoomRow("seeds", "brachy_prostate", (("IDLE", 0.5, 1.0),), acts=True),
    RoomRow("cryo", "cryo_kidney", (("TREATING", 1.0, 1.0),)),
    RoomRow("laser", "laser_brain", (("TREATING", 1.0, 1.0),)),
    RoomRow("drug", "hyperthermia_release", (("TREATING", 1.0, 1.0),)),
    RoomRow(
        LANDMARKS, "stereotactic_brain", (("STOPPED", 16.0, 1.0),), acts=True,  # before the operator registers
        settings={"navigation": {"registration": {"tre_mm": 0.1}}},  # better than any landmarks
    ),
    *(RoomRow(name, procedure, (("STOPPED", 1.0, 1.0),), settings=more) for name, (procedure, more) in _SET_UP.items()),
)  # fmt: skip
SET_UP = (LANDMARKS, *_SET_UP)
BY_NAME = {row.name: row for row in ROOMS}


def load(row: RoomRow, base: int) -> tuple[RoomSettings, Plan | None, dict[str, Limit], Any]:
    """Settings, plan, limits and the simulated room of one patient."""
    settings, plan, limits = load_room(config_file("procedures", row.procedure))
    if row.settings:
        settings = parse_settings(_merged(settings.model_dump(), row.settings), row.name)
    values = read_toml(config_file("scenarios", row.procedure))
    if not row.acts:
        for peer in values["peers"]:
            peer.get("with", {}).pop("acts", None)
    values["links"] += [{"id": peer["link"], "kind": "openigtlink"} for peer in row.peers]
    values["peers"] += row.peers
    return settings, plan, limits, build(values, 1 + base, EPOCH_NS, row.name)


def _merged(values: Mapping[str, Any], more: Mapping[str, Any]) -> dict[str, Any]:
    """`values` with `more`: rows that have another's name take its place, others are added."""
    out = dict(values)
    for key, new in more.items():
        old = out.get(key)
        if isinstance(old, dict) and isinstance(new, dict):
            out[key] = _merged(old, new)
        elif isinstance(old, (list, tuple)) and new and isinstance(new[0], dict):
            taken = {_name(row) for row in new}
            out[key] = [*(row for row in old if _name(row) not in taken or _name(row) is None), *new]
        else:
            out[key] = new
    return out


def _name(row: Mapping[str, Any]) -> Any:
    return row.get("name") or row.get("structure") or row.get("moving")
