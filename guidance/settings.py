"""The room's configuration: one TOML file, checked whole, every fault reported at once with its path.

A configuration names links (how bytes come and go), streams (what each message means), tools,
space (static transforms), the plan, thermometry, limits and outputs. The simulator reads its own
scenario file; the two meet only in link ids and message names.
"""

import reprlib
import tomllib
from pathlib import Path
from typing import Any, Literal

import pydantic
from pydantic import AwareDatetime, Field, model_validator

from guidance.errors import SettingsError
from guidance.lesion_settings import Cryo, Laser, Release
from guidance.navigation_settings import Navigation
from guidance.setting_types import Identifier, Matrix44, Strict, Vector3


class Link(Strict):
    """One way in or out. `role` says what hangs on it, which decides what its loss means.

    `clock` names the clock of the device behind it; links that name the same one are aligned
    together (devices that share a time server, or one program that serves tracker and images).
    """

    id: Identifier
    kind: Literal["openigtlink", "zeromq", "mqtt"]
    mode: Literal["connect", "listen"] = "connect"
    address: str = Field(default="127.0.0.1:0", pattern=r"^[^\s:]+:\d{1,5}$")
    role: Literal["tracker", "imaging", "therapy", "robot", "xray", "console", "viewer", "alerts"] = "viewer"
    clock: Identifier | None = None
    reconnect: bool = True
    default_frame: str = "Tracker"
    options: dict[str, str | int | float | bool] = {}


IMAGES = frozenset({"ultrasound", "thermometry", "cine", "xray"})  # kinds of streams that are pictures of the patient


class Stream(Strict):
    """One kind of message on one link. `source` is the message name at the device (default: `name`)."""

    name: Identifier
    link: Identifier
    kind: Literal["pose", "ultrasound", "thermometry", "cine", "respiration", "xray", "video", "reading", "status"]
    source: str = ""
    period_ms: float = Field(gt=0)
    stale_after_ms: float | None = Field(default=None, gt=0)
    required: bool = False
    lag_ms: float = Field(default=0.0, ge=-1000, le=1000)  # its stamps are this much later than the event (calibrated)
    result: str | None = None  # file of its temporal calibration, which gives the lag
    free_tool: bool = True  # pose streams: a free optical or EM tool never repeats its pose bit by bit

    @property
    def message_name(self) -> str:
        """The name that the device gives it."""
        return self.source or self.name

    @property
    def limit_ms(self) -> float:
        """Age above which a sample is not live: 3 periods, at least 100 ms, unless set."""
        return self.stale_after_ms if self.stale_after_ms is not None else max(3 * self.period_ms, 100.0)


class Tool(Strict):
    """A tracked thing: the pose stream that carries it and its geometry in its own frame."""

    name: Identifier
    stream: Identifier
    role: Literal["tool", "probe", "reference", "device"] = "tool"  # only a `tool` is aimed; the others are placed
    tip_mm: Vector3 = (0.0, 0.0, 0.0)
    axis: Vector3 = (0.0, 0.0, -1.0)  # from the tip along the shaft towards the hand
    length_mm: float = Field(default=120.0, gt=0)
    tip_sigma_mm: float = Field(default=0.5, ge=0)
    result: str | None = None  # file of its pivot calibration, which gives the tip and its sigma


class StaticTransform(Strict):
    """A fixed link of the frame graph, e.g. a probe calibration or a registration, with its source.

    Its matrix stands here or in the result file `result`; with neither it is unknown until it is measured
    live, and nothing is guided over it. `sigma_mm` is per axis, where the work is done.
    """

    moving: Identifier
    fixed: Identifier
    fixed_from_moving: Matrix44 | None = None
    result: str | None = None
    source: str = "configuration"
    sigma_mm: float = Field(default=0.0, ge=0)
    fre_mm: float | None = Field(default=None, ge=0)  # residual of the registration, where it is one
    bound_mm: float = Field(default=0.0, ge=0)  # 95 % of its errors are smaller; 0: taken from `sigma_mm`
    conditions: dict[str, float] = {}  # what must hold at use, e.g. pixel_mm of the picture that was calibrated
    made_ns: int = 0  # wall time; 0: does not grow old
    valid_s: float = Field(default=0.0, ge=0)


class Space(Strict):
    """Frames. `RAS` is the plan's patient space; the graph must join it to every tool and image."""

    static: tuple[StaticTransform, ...] = ()
    moving_reference: Identifier | None = None  # tool whose frame is fixed to the patient
    second_reference: Identifier | None = None  # another one; against it the first must not move


class Thermometry(Strict):
    """PRF thermometry of one image stream. Sources of the defaults: docs/thermometry.md."""

    stream: Identifier
    echo_time_s: float = Field(gt=0, lt=0.2)
    more_echo_times_s: tuple[float, ...] = ()  # further echoes of one message, their slices after those of the first
    field_t: float = Field(gt=0, lt=15)
    alpha_ppm: float = Field(default=-0.01, lt=0, gt=-0.05)
    phase_sign: Literal[1, -1] = 1
    baseline: str = "mean"
    reference_dynamics: int = Field(default=4, ge=1, le=64)
    drift_order: int = Field(default=0, ge=-1, le=2)
    t0_c: float | None = Field(default=None, gt=0, lt=60)
    t0_sigma_c: float = Field(default=0.3, ge=0)
    t0_measured: AwareDatetime | None = None  # when; must be said, and be of this half day, unless it is a training
    heated_reach_mm: float = Field(default=12.0, ge=0)  # beyond a target's margin: breathing carries it, heat spreads
    # unseen tissue: at most so fast while energy may flow, and while it may not (heat that spreads), up to here
    unseen_heat_c_per_s: float = Field(default=5.0, gt=0, le=100)
    unseen_rest_c_per_s: float = Field(default=0.5, ge=0, le=100)
    unseen_ceiling_c: float = Field(default=100.0, gt=43, le=200)
    cools: bool = False  # cold is meant (ice, cooled tips): tissue below T0 is no sign of a wrong phase
    follow_frames: int = Field(default=0, ge=0, le=200)  # above 0: maps follow the tissue; frames to choose a reference
    options: dict[str, str | int | float | bool] = {}

    @model_validator(mode="after")
    def _one_is_followed(self) -> "Thermometry":
        if self.follow_frames and self.more_echo_times_s:
            raise ValueError("follow_frames brings one echo to the reference position: no more_echo_times_s with it")
        return self


class Guard(Strict):
    """A region whose temperature or dose is limited; the region is a structure of the plan."""

    structure: Identifier
    limit_c: float | None = None
    limit_cem43_min: float | None = Field(default=None, gt=0)
    role: Literal["organ_at_risk", "target", "unheated", "near_field"] = "organ_at_risk"


class Motion(Strict):
    """Motion of one structure of the plan, seen in one cine stream. Sources of the defaults: docs/motion.md.

    The reference is the most frequented position among the first `reference_frames`; the plan's target belongs to it.
    """

    stream: Identifier
    target: Identifier
    reference_frames: int = Field(default=60, ge=1, le=200)
    predict: bool = True


class Gating(Strict):
    """When the beam may be on. The shares and ways allowed are limits: target_outside_share, target_centroid_mm."""

    boundary_mm: float = Field(default=3.0, ge=0, le=20)
    good_frames: int = Field(default=2, ge=1, le=10)
    stale_intervals: float = Field(default=2.0, gt=1, le=5)
    most_age_ms: float = Field(default=500.0, gt=0, le=2000)


class Therapy(Strict):
    """The energy device: the link that takes its commands, the nominal power and what it must report.

    `modality` names its safe state (guidance/safety/safe_states.py); `stop_links` are further
    channels that reach it; `interlocks` are readings without which nothing is armed.
    """

    link: Identifier
    device: str = "Therapy"
    modality: Literal["ultrasound", "laser", "microwave", "radiofrequency", "cryo", "electroporation", "linac"] = (
        "ultrasound"
    )
    power_w: float = Field(default=0.0, ge=0)
    stop_links: tuple[Identifier, ...] = ()
    interlocks: tuple[Literal["coolant_ok", "coupling_ok", "cavitation", "r_wave_sync"], ...] = ()
    options: dict[str, str | int | float | bool] = {}


class Robot(Strict):
    """The motion device. `tool` is what it carries; with a `trajectory` of the plan it is kept in a corridor."""

    link: Identifier
    device: str = "Robot"
    modality: Literal["robot_outside", "robot_in_moving_organ"] = "robot_outside"
    stop_links: tuple[Identifier, ...] = ()
    tool: Identifier | None = None
    trajectory: Identifier | None = None
    inner_mm: float = Field(default=1.0, gt=0)
    outer_mm: float = Field(default=3.0, gt=0)


class Control(Strict):
    """People at consoles: how many must show alarms, and whether energy needs a control that is held on."""

    consoles: int = Field(default=0, ge=0, le=16)
    held: Literal["none", "pedal", "browser"] = "none"
    arm_expires_s: float = Field(default=10.0, gt=0, le=60)


class FocusedBeam(Strict):
    """What is known beforehand of a focused beam; what the tissue makes of it is learned from the first heat on."""

    direction: Vector3  # from the transducer to the focus, RAS
    sigma_along_mm: float = Field(gt=0, le=50)
    sigma_across_mm: float = Field(gt=0, le=50)
    focal_share: float = Field(gt=0, le=1)  # of the nominal power that becomes heat at the focus, about
    near_share: float = Field(default=0.0, ge=0, le=1)  # and before it, about
    half_angle_deg: float = Field(default=20.0, gt=0, lt=80)
    path_mm: float = Field(default=90.0, gt=0)  # through the body, before the focus


class Heating(Strict):
    """Control of heating: what is asked of the target, how, and with which power. Sources: docs/thermometry.md.

    `ablation` visits `points_mm` (RAS at rest; none = the target's centre) until each has its dose or is forecast to
    have it; `hold` keeps the target's median at `target_c`, both by PID; `binary` switches each point by its cell;
    `predictive` plans the power of all points ahead within what target, surroundings and guards may bear, until all
    of the treated volume has its dose (`goal` dose) or as long as energy is permitted (`goal` temperature).
    `over_treated_cm3` is how much beyond the margin may reach the dose.
    """

    target: Identifier
    mode: Literal["ablation", "hold", "binary", "predictive"] = "ablation"
    goal: Literal["dose", "temperature"] = "dose"
    points_mm: tuple[Vector3, ...] = ()
    beam: FocusedBeam | None = None  # without it every voxel must learn its heating alone
    motion_direction: Vector3 | None = None  # of the organ, RAS: what its shift in the plane means across the slices
    grid_mm: float = Field(default=2.5, gt=0.3, le=10)  # of the maps in tissue coordinates
    target_c: float = Field(default=57.0, gt=37, lt=95)
    hottest_c: float = Field(default=80.0, gt=37, lt=100)
    cem43_min: float = Field(default=240.0, gt=0)
    done_share: float = Field(default=0.97, gt=0, le=1)
    longest_s: float = Field(default=60.0, gt=0)  # at one point; then the next, and it comes again
    proportional: float = Field(default=4.0, ge=0)
    integral: float = Field(default=0.4, ge=0)
    derivative: float = Field(default=4.0, ge=0)
    power_max_w: float = Field(default=100.0, gt=0)
    reach_mm: float = Field(default=24.0, gt=5, le=100)
    over_treated_cm3: float = Field(default=5.0, gt=0)
    release: Release | None = None  # a drug that the heat sets free

    @model_validator(mode="after")
    def _known_beam(self) -> "Heating":
        if self.mode == "predictive" and self.beam is None:
            raise ValueError("mode predictive needs [heating.beam]: what cannot be predicted cannot be planned")
        return self


class Patient(Strict):
    """Who lies in this room, which side and which plan: what the loaded plan must fit. Absent = not compared."""

    patient_id: str | None = None
    laterality: str | None = None
    frame_of_reference_uid: str | None = None
    content_sha256: str | None = None


class GoldenPoint(Strict):
    """A point that a source gives in its own `frame` (mm) and that must lie at `ras_mm`."""

    name: Identifier
    frame: Identifier
    at_mm: Vector3
    ras_mm: Vector3


class Output(Strict):
    """One thing that the service says, and the links that carry it."""

    kind: Literal["guided_pose", "metrics", "overlay", "alert", "command", "map", "geometry"]
    to: tuple[Identifier, ...]
    views: tuple[str, ...] = ()


class Recording(Strict):
    """Where recordings go; names are generated, never taken from outside."""

    folder: str = "recordings"
    enabled: bool = True


class RoomSettings(Strict):
    """One room: everything the service needs to start."""

    schema_version: Literal[1] = 1
    room: Identifier
    procedure: Identifier
    title: str = ""
    training: bool = True
    plan: str | None = None
    links: tuple[Link, ...] = Field(min_length=1)
    streams: tuple[Stream, ...] = Field(min_length=1)
    tools: tuple[Tool, ...] = ()
    space: Space = Space()
    navigation: Navigation = Navigation()
    thermometry: Thermometry | None = None
    guards: tuple[Guard, ...] = ()
    motion: Motion | None = None
    gating: Gating | None = None
    therapy: Therapy | None = None
    robot: Robot | None = None
    control: Control = Control()
    heating: Heating | None = None
    laser: Laser | None = None
    cryo: Cryo | None = None
    patient: Patient | None = None
    golden: tuple[GoldenPoint, ...] = ()
    outputs: tuple[Output, ...] = ()
    recording: Recording = Recording()
    tick_ms: float = Field(default=20.0, ge=1, le=100)
    limits: dict[str, float] = {}  # overrides of config/safety/limits.toml, by limit id

    @model_validator(mode="after")
    def _names_meet(self) -> "RoomSettings":
        faults: list[str] = []
        links = _unique(faults, "links", [row.id for row in self.links])
        streams = _unique(faults, "streams", [row.name for row in self.streams])
        tools = _unique(faults, "tools", [row.name for row in self.tools])
        uses = [(f"streams.{s.name}.link", s.link, links) for s in self.streams]
        uses += [(f"tools.{t.name}.stream", t.stream, streams) for t in self.tools]
        uses += [(f"outputs.{o.kind}.to", link, links) for o in self.outputs for link in o.to]
        if self.thermometry:
            uses.append(("thermometry.stream", self.thermometry.stream, streams))
        for what, device in (("therapy", self.therapy), ("robot", self.robot)):
            if device is not None:
                uses += [(f"{what}.link", device.link, links)]
                uses += [(f"{what}.stop_links", link, links) for link in device.stop_links]
        named = {"space.moving_reference": self.space.moving_reference}
        named |= {"space.second_reference": self.space.second_reference}
        named |= {"robot.tool": self.robot.tool if self.robot else None}
        uses += [(path, name, tools) for path, name in named.items() if name]
        uses += [(f"navigation.{path}", name, tools) for path, name in self.navigation.named_tools()]
        faults += [
            f"{path}: {name!r} is not defined (have {sorted(have)})" for path, name, have in uses if name not in have
        ]
        for what in ("heating", "laser", "cryo"):
            if getattr(self, what) and not (self.thermometry and self.therapy and self.plan):
                faults.append(f"{what}: needs [thermometry], [therapy] and a plan with its target")
        if self.gating and not self.motion:
            faults.append("gating: needs [motion], which says what is gated on")
        if self.motion and not self.plan:
            faults.append("motion.target: names a structure of the plan, and no plan is given")
        if self.guards and not self.plan:
            faults.append("guards: a guard names a structure of the plan, and no plan is given")
        if faults:
            raise ValueError("; ".join(faults))
        return self


def _unique(faults: list[str], what: str, names: list[str]) -> set[str]:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            faults.append(f"{what}: {name!r} is defined twice")
        seen.add(name)
    return seen


def read_toml(path: Path) -> dict[str, Any]:
    """The parsed file; SettingsError names the file and the line that does not parse."""
    try:
        return tomllib.loads(path.read_bytes().decode("utf-8"))
    except OSError as fault:
        raise SettingsError(str(path), [f"cannot be read: {fault.strerror}"]) from fault
    except (ValueError, RecursionError) as fault:  # ValueError: not TOML, not UTF-8, or a number of 5000 digits
        raise SettingsError(str(path), [f"is not TOML: {fault}"]) from fault


def parse_settings(values: dict[str, Any], where: str) -> RoomSettings:
    """Check `values` whole; SettingsError lists every fault as `path: what`."""
    try:
        return RoomSettings.model_validate(values)
    except pydantic.ValidationError as fault:
        raise SettingsError(where, [describe(error) for error in fault.errors()]) from fault


def describe(error: Any) -> str:
    """One fault of pydantic's as `path: what (got value)`."""
    path = ".".join(str(part) for part in error["loc"]) or "(file)"
    text = str(error["msg"]).removeprefix("Value error, ")
    shown = reprlib.repr(error.get("input"))
    return f"{path}: {text}" + (f" (got {shown})" if len(shown) < 60 and error["loc"] else "")


def load_settings(path: Path) -> RoomSettings:
    """Read and check a room's TOML file; a relative plan path is resolved beside it."""
    values = read_toml(path)
    plan = values.get("plan")
    if isinstance(plan, str) and not Path(plan).is_absolute():
        values["plan"] = str((path.parent / plan).resolve())
    return parse_settings(values, str(path))
