"""What devices say, in the field's words.

Every protocol (OpenIGTLink, ZeroMQ, MQTT, recordings) speaks these types; nothing above the
device floor ever sees a wire format. All are frozen. Times are integer nanoseconds:
`device_time_ns` is the device's own absolute time (0 = the device sent none) and
`receive_time_ns` is service time at arrival of the last byte. Matrices are float64 (4, 4),
column vectors, millimetres.
"""

from enum import StrEnum
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from devices.quality import Quality

Matrix = NDArray[np.float64]


class Message(msgspec.Struct, frozen=True, kw_only=True, tag=True, eq=False):
    """What every message carries: its name at the device and its two times."""

    name: str
    device_time_ns: int = 0
    receive_time_ns: int = 0


class Pose(Message, frozen=True, kw_only=True, tag="pose", eq=False):
    """Pose of a tracked tool: `fixed_from_moving` (4, 4) in mm, `moving` and `fixed` are frame names."""

    moving: str
    fixed: str
    fixed_from_moving: Matrix
    quality: Quality = Quality.OK
    number: int = -1  # the device's own sample counter; -1 = none


class Image(Message, frozen=True, kw_only=True, tag="image", eq=False):
    """One image or volume.

    `pixels` is native-endian, read-only, indexed [slice, row, column] (+ [component] for colour);
    complex images have a complex dtype. `frame_from_image_mm` (4, 4) maps (i, j, k) = (column,
    row, slice) to mm in the frame named `frame`. `tags` are the device's own key-value pairs
    (EchoTime_s, ImagingFrequency_MHz, Component = magnitude | phase | complex, ...).
    """

    pixels: NDArray[Any]
    frame: str
    frame_from_image_mm: Matrix
    quality: Quality = Quality.OK
    number: int = -1  # acquisition number; -1 = none
    tags: dict[str, str] = {}


class Points(Message, frozen=True, kw_only=True, tag="points", eq=False):
    """Named points: `positions_mm` (N, 3) in `frame`, `labels` of the same length."""

    frame: str
    labels: tuple[str, ...]
    positions_mm: NDArray[np.float64]


class Paths(Message, frozen=True, kw_only=True, tag="paths", eq=False):
    """Named straight paths: `ends_mm` (N, 2, 3) entry and target in `frame`, `radii_mm` (N,) of their corridors."""

    frame: str
    labels: tuple[str, ...]
    ends_mm: NDArray[np.float64]
    radii_mm: NDArray[np.float64]


class Outlines(Message, frozen=True, kw_only=True, tag="outlines", eq=False):
    """Polylines of one thing: `points_mm` (N, 3) in `frame`, of which each line takes the next of `counts` (M,)."""

    frame: str
    points_mm: NDArray[np.float64]
    counts: NDArray[np.int32]


class Status(Message, frozen=True, kw_only=True, tag="status", eq=False):
    """A device's status. `code` follows OpenIGTLink (1 = OK, 13 = not ready ...)."""

    code: int
    subcode: int = 0
    error_name: str = ""
    text: str = ""


class Text(Message, frozen=True, kw_only=True, tag="text", eq=False):
    """A line of text or a structured JSON payload by agreement of both sides."""

    text: str


class Reading(Message, frozen=True, kw_only=True, tag="reading", eq=False):
    """Named scalar measurements of a device (power_w, kerma_mgy, impedance_ohm, beam_on ...)."""

    values: dict[str, float]


class Command(Message, frozen=True, kw_only=True, tag="command", eq=False):
    """A request to a device. `verb` is upper case (STOP, HOLD, RESUME, PERMIT, POWER, FOCUS ...)."""

    command_id: int
    verb: str
    values: dict[str, float] = {}
    reason: str = ""


class Acknowledgement(Message, frozen=True, kw_only=True, tag="acknowledgement", eq=False):
    """A device's answer to a command: `done` is True only when the device is in the asked state."""

    command_id: int
    verb: str
    done: bool
    text: str = ""


class Priority(StrEnum):
    """Alarm priority in the usage of IEC 60601-1-8."""

    HIGH = "high"
    MEDIUM = "medium"
    LOW = "low"


class AlertKind(StrEnum):
    """Physiological: the patient; technical: the equipment."""

    PHYSIOLOGICAL = "physiological"
    TECHNICAL = "technical"


class Alert(Message, frozen=True, kw_only=True, tag="alert", eq=False):
    """Current state of one alarm condition, whole: a late subscriber needs nothing else.

    `name` is the alarm's identity within the room (rule id and subject, e.g. `T1.rib-4`).
    `state` is one of active | acknowledged | latched | cleared.
    """

    room: str
    priority: Priority
    kind: AlertKind
    state: str
    text: str
    reaction: str
    advice: str
    first_ns: int
    value: float | None = None
    limit: float | None = None
    unit: str = ""
    sequence: int = 0  # rises by one with every change of any alert of the room
    evidence: dict[str, int] = {}  # input stream -> receive time (ns) that this was made from


class Metrics(Message, frozen=True, kw_only=True, tag="metrics", eq=False):
    """Numbers made by the service from the inputs named in `evidence`, e.g. tip errors in mm."""

    values: dict[str, float]
    quality: Quality = Quality.OK
    evidence: dict[str, int] = {}


class GuidedPose(Message, frozen=True, kw_only=True, tag="guided_pose", eq=False):
    """A tool in the plan's space: `ras_from_tool` (4, 4) mm, with the numbers of guidance beside it."""

    tool: str
    ras_from_tool: Matrix
    quality: Quality
    values: dict[str, float]
    evidence: dict[str, int]


class Overlay(Message, frozen=True, kw_only=True, tag="overlay", eq=False):
    """A picture to show: `rgba` (row, column, 4) uint8 and where it lies in the plan's space."""

    view: str
    rgba: NDArray[np.uint8]
    ras_from_image_mm: Matrix
    quality: Quality
    evidence: dict[str, int]


class Unknown(Message, frozen=True, kw_only=True, tag="unknown", eq=False):
    """A well-formed message of a type that this protocol layer does not interpret."""

    type_name: str
    body: bytes


AnyMessage = (
    Pose
    | Image
    | Points
    | Paths
    | Outlines
    | Status
    | Text
    | Reading
    | Command
    | Acknowledgement
    | Alert
    | Metrics
    | GuidedPose
    | Overlay
    | Unknown
)
