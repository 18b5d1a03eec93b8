"""From wire messages to the room's messages.

| wire | message |
|---|---|
| TRANSFORM; POSITION, QTRANS with orientation; each tool of TDATA, QTDATA | Pose |
| POSITION without orientation; TDATA, QTDATA tools of type 3 (tip only) | Points of one point |
| IMAGE | Image, 2 components of float as complex; the sub-volume alone, at its own place |
| POINT; TRAJ (`<name>.entry`, `<name>.target`) | Points |
| STATUS | Status |
| STRING; STRING with JSON `{"type": "reading" | "metrics" | "alert", ...}` | Text; Reading, Metrics, Alert |
| SENSOR, names in metadata `Names` (comma-separated), else value_0, value_1 ... | Reading |
| COMMAND; RTS_COMMAND | Command; Acknowledgement |
| TRANSFORM, IMAGE with metadata `Kind` = guided_pose, overlay | GuidedPose, Overlay |
| BIND | the messages of its children |
| answers to queries, "no data" | nothing |
| any other type | Unknown |

A pose without numbers (NaN, infinite: what some trackers send of a tool that is out of view) is a Pose of
quality MISSING whose matrix is the identity, also among the children of a BIND. To close the peer would take
its other tools away as well, in a loop of reconnections; to leave the message out would hide the loss until
the pose is stale.
"""

from collections.abc import Callable
from math import isfinite, sqrt
from typing import Any

import msgspec
import numpy as np

from devices.errors import RemoteProtocolError
from devices.messages import (
    Alert,
    AnyMessage,
    GuidedPose,
    Image,
    Matrix,
    Metrics,
    Overlay,
    Points,
    Pose,
    Reading,
    Status,
    Text,
    Unknown,
)
from devices.openigtlink import bodies as b
from devices.openigtlink.commands import read_acknowledgement, read_command
from devices.openigtlink.framer import read_content
from devices.openigtlink.geometry import frame_from_image
from devices.openigtlink.header import ns_from_timestamp
from devices.openigtlink.naming import (
    EVIDENCE,
    FIXED,
    FRAME,
    KIND,
    LONG_NAME,
    MOVING,
    NAME,
    RESERVED,
    STATUS,
    TRANSFORM_STATUS,
    TRANSFORM_VALID,
    VALUES,
    Naming,
    image_frame,
    number_of,
    quality_of,
    split_transform_name,
)
from devices.quality import Quality

Tags = dict[str, str]
_EMPTY: Tags = {}
_COMPLEX: dict[np.dtype[Any], np.dtype[Any]] = {np.dtype("f4"): np.dtype("c8"), np.dtype("f8"): np.dtype("c16")}
_STRUCTURED: dict[str, type[Reading | Metrics | Alert]] = {"reading": Reading, "metrics": Metrics, "alert": Alert}


def to_domain(wire: b.Wire, receive_time_ns: int, naming: Naming) -> list[AnyMessage]:
    """The messages that `wire` carries; RemoteProtocolError where its words make no sense."""
    translate = _TRANSLATE.get(type(wire))
    tags = wire.tags if wire.metadata else _EMPTY
    if translate is None:
        content = b"".join(bytes(part) for part in wire.pack())
        return [Unknown(type_name=wire.type_name, body=content, **_times(wire, tags, receive_time_ns))]
    messages = translate(wire, tags, receive_time_ns, naming)
    for message in messages:  # names also come from metadata and JSON; the header's were checked when it was read
        if not message.name.isprintable():
            raise RemoteProtocolError(f"{wire.type_name}: name {message.name!r} has characters that cannot be printed")
    return messages


def _times(wire: b.Wire, tags: Tags, receive_time_ns: int) -> dict[str, Any]:
    return {
        "name": tags.get(LONG_NAME, wire.device_name),
        "device_time_ns": wire.device_time_ns,
        "receive_time_ns": receive_time_ns,
    }


def plain_pose(wire: b.Transform, now: int, naming: Naming) -> Pose:
    """What `to_domain` gives of a TRANSFORM without metadata: most messages of a room."""
    name = wire.device_name
    moving, fixed = split_transform_name(name, naming.pose_frame)
    return Pose(
        name=name,
        device_time_ns=ns_from_timestamp(wire.timestamp),
        receive_time_ns=now,
        moving=moving,
        fixed=fixed,
        fixed_from_moving=b.matrix_from(wire.columns),
        quality=Quality.MISSING if wire.lost else Quality.OK,
    )


def _transform(wire: b.Transform, tags: Tags, now: int, naming: Naming) -> list[AnyMessage]:
    if not tags:
        return [plain_pose(wire, now, naming)]
    times = _times(wire, tags, now)
    quality = _quality(wire, 0, tags, TRANSFORM_STATUS, STATUS, f"{times['name']}TransformStatus", TRANSFORM_VALID)
    if tags.get(KIND) == "guided_pose":
        times["name"] = tags.get(NAME, times["name"])
        return [
            GuidedPose(
                tool=tags.get(MOVING, times["name"]),
                ras_from_tool=wire.matrix,
                quality=quality,
                values=_json(tags, VALUES, dict[str, float]),
                evidence=_json(tags, EVIDENCE, dict[str, int]),
                **times,
            )
        ]
    moving, fixed = split_transform_name(times["name"], naming.pose_frame)
    return [
        Pose(
            moving=tags.get(MOVING, moving),
            fixed=tags.get(FIXED, fixed),
            fixed_from_moving=wire.matrix,
            quality=quality,
            number=number_of(tags),
            **times,
        )
    ]


def _quality(wire: b.PoseWire, index: int, tags: Tags, *keys: str) -> Quality:
    """MISSING where the pose has no numbers, else what the tags say."""
    return Quality.MISSING if index in wire.lost else quality_of(tags, *keys)


def _json(tags: Tags, key: str, kind: Any) -> Any:
    try:
        return msgspec.json.decode(tags.get(key, "{}"), type=kind)
    except (msgspec.MsgspecError, RecursionError) as fault:
        raise RemoteProtocolError(f"metadata {key!r}: {fault}") from fault


def matrix_from_quaternion(position_mm: tuple[float, ...], quaternion: tuple[float, ...], what: str) -> Matrix:
    """(4, 4) of a point and a quaternion (x, y, z[, w]), brought to unit length as igtl::QuaternionToMatrix does."""
    if len(quaternion) == 3:
        real = 1.0 - sum(q * q for q in quaternion)
        if real < -1e-6:
            raise RemoteProtocolError(f"{what}: a quaternion with imaginary part {quaternion} has no real part")
        quaternion = (*quaternion, sqrt(max(real, 0.0)))
    length = sqrt(sum(q * q for q in quaternion))
    if not 0.5 <= length <= 2.0:
        raise RemoteProtocolError(f"{what}: a quaternion of length {length:.3g} is no rotation")
    x, y, z, w = (q / length for q in quaternion)
    matrix = np.eye(4)
    matrix[:3, :3] = (
        (1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)),
        (2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)),
        (2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)),
    )
    matrix[:3, 3] = position_mm
    return matrix


def _position(wire: b.Position, tags: Tags, now: int, naming: Naming) -> list[AnyMessage]:
    times = _times(wire, tags, now)
    moving, fixed = split_transform_name(times["name"], naming.pose_frame)
    if not wire.quaternion and not wire.lost:
        return [_one_point(times, moving, tags.get(FRAME, fixed), wire.position_mm)]
    quaternion = wire.quaternion or (0.0, 0.0, 0.0)
    matrix = matrix_from_quaternion(wire.position_mm, quaternion, f"{wire.type_name} {times['name']!r}")
    quality = _quality(wire, 0, tags, TRANSFORM_STATUS, STATUS)
    number = number_of(tags)
    return [Pose(moving=moving, fixed=fixed, fixed_from_moving=matrix, quality=quality, number=number, **times)]


def _one_point(times: dict[str, Any], label: str, frame: str, position_mm: tuple[float, ...]) -> Points:
    return Points(frame=frame, labels=(label,), positions_mm=np.array([position_mm], dtype=np.float64), **times)


def _tracking(
    wire: b.TrackingData | b.QuaternionTrackingData, tags: Tags, now: int, naming: Naming
) -> list[AnyMessage]:
    found: list[AnyMessage] = []
    elements: tuple[b.TrackingElement | b.QuaternionElement, ...] = wire.elements
    for index, element in enumerate(elements):
        name = _tool_name(element.name, index, tags)
        times = {**_times(wire, tags, now), "name": name}
        moving, fixed = split_transform_name(name, naming.pose_frame)
        if isinstance(element, b.QuaternionElement):
            matrix = matrix_from_quaternion(element.position_mm, element.quaternion, f"QTDATA tool {name!r}")
        else:
            matrix = b.matrix_from(element.columns)
        if element.kind == 3 and index not in wire.lost:
            found.append(_one_point(times, moving, fixed, tuple(matrix[:3, 3])))
            continue
        quality = _quality(wire, index, tags, f"{name}Status", f"{name}TransformStatus", TRANSFORM_STATUS)
        number = number_of(tags)
        found.append(
            Pose(moving=moving, fixed=fixed, fixed_from_moving=matrix, quality=quality, number=number, **times)
        )
    return found


def _tool_name(name: str, index: int, tags: Tags) -> str:
    """PLUS cuts tool names to 20 bytes and writes the whole ones as `<name>Index` = position in the list."""
    if len(name) == 20:
        for key, value in tags.items():
            if key.endswith("Index") and value == str(index) and key.startswith(name):
                return key.removesuffix("Index")
    return name


def _image(wire: b.ImageData, tags: Tags, now: int, naming: Naming) -> list[AnyMessage]:
    pixels = wire.pixels
    if pixels.ndim == 4 and pixels.shape[3] == 2 and pixels.dtype in _COMPLEX:
        pixels = pixels.view(_COMPLEX[pixels.dtype])[..., 0]
    times = _times(wire, tags, now)
    if not tags:
        frame = image_frame(wire.device_name, naming.image_frame)
        return [Image(pixels=pixels, frame=frame, frame_from_image_mm=frame_from_image(wire), **times)]
    if tags.get(KIND) == "overlay" and pixels.shape[0] == 1 and pixels.shape[3:] == (4,) and pixels.dtype == np.uint8:
        return [_overlay(wire, tags, times)]
    return [
        Image(
            pixels=pixels,
            frame=tags.get(FRAME) or image_frame(times["name"], naming.image_frame),
            frame_from_image_mm=frame_from_image(wire),
            quality=quality_of(tags, STATUS),
            number=number_of(tags),
            tags={key: value for key, value in tags.items() if key not in RESERVED},
            **times,
        )
    ]


def _overlay(wire: b.ImageData, tags: Tags, times: dict[str, Any]) -> Overlay:
    view = times["name"]
    return Overlay(
        view=view,
        rgba=wire.pixels[0],
        ras_from_image_mm=frame_from_image(wire),
        quality=quality_of(tags, STATUS),
        evidence=_json(tags, EVIDENCE, dict[str, int]),
        **(times | {"name": tags.get(NAME, view)}),
    )


def _points(wire: b.Point, tags: Tags, now: int, naming: Naming) -> list[AnyMessage]:
    positions = np.array([e.position_mm for e in wire.elements], dtype=np.float64).reshape(-1, 3)
    labels = tuple(e.name for e in wire.elements)
    frame = tags.get(FRAME, naming.point_frame)
    return [Points(frame=frame, labels=labels, positions_mm=positions, **_times(wire, tags, now))]


def _trajectories(wire: b.Trajectory, tags: Tags, now: int, naming: Naming) -> list[AnyMessage]:
    ends = {1: ("entry",), 2: ("target",), 3: ("entry", "target")}
    labels: list[str] = []
    positions: list[tuple[float, float, float]] = []
    for element in wire.elements:
        for end in ends[element.kind]:
            labels.append(f"{element.name}.{end}")
            positions.append(element.entry_mm if end == "entry" else element.target_mm)
    array = np.array(positions, dtype=np.float64).reshape(-1, 3)
    frame = tags.get(FRAME, naming.point_frame)
    return [Points(frame=frame, labels=tuple(labels), positions_mm=array, **_times(wire, tags, now))]


def _status(wire: b.StatusData, tags: Tags, now: int, naming: Naming) -> list[AnyMessage]:
    if tags.get(KIND) == "alert":
        return []  # the STRING beside it carries the whole alert
    times = _times(wire, tags, now)
    return [Status(code=wire.code, subcode=wire.subcode, error_name=wire.error_name, text=wire.text, **times)]


def _string(wire: b.StringData, tags: Tags, now: int, naming: Naming) -> list[AnyMessage]:
    text = wire.text
    times = _times(wire, tags, now)
    if text.startswith("{"):
        structured = _structured(text, times)
        if structured is not None:
            return [structured]
    return [Text(text=text, **times)]


def _structured(text: str, times: dict[str, Any]) -> Reading | Metrics | Alert | None:
    try:
        fields = msgspec.json.decode(text)
    except msgspec.DecodeError:
        return None  # braces alone do not make it one of ours
    except RecursionError as fault:
        raise RemoteProtocolError(f"STRING {times['name']!r}: JSON nested too deep") from fault
    kind = _STRUCTURED.get(str(fields.get("type")))
    if kind is None:
        return None
    fields.setdefault("name", times["name"])
    fields["receive_time_ns"] = times["receive_time_ns"]
    fields["device_time_ns"] = times["device_time_ns"]
    try:
        return msgspec.convert(fields, kind)
    except msgspec.ValidationError as fault:
        raise RemoteProtocolError(f"STRING {times['name']!r} as {kind.__name__}: {fault}") from fault


def _sensor(wire: b.SensorData, tags: Tags, now: int, naming: Naming) -> list[AnyMessage]:
    names = [part.strip() for part in tags["Names"].split(",")] if "Names" in tags else []
    if names and (len(names) != len(wire.values) or len(set(names)) != len(names)):
        raise RemoteProtocolError(f"SENSOR {wire.device_name!r}: {len(names)} names for {len(wire.values)} values")
    names = names or [f"value_{index}" for index in range(len(wire.values))]
    values = {name: value for name, value in zip(names, wire.values, strict=True) if isfinite(value)}
    return [Reading(values=values, **_times(wire, tags, now))]


def _command(wire: b.CommandData, tags: Tags, now: int, naming: Naming) -> list[AnyMessage]:
    times = _times(wire, tags, now)
    if wire.name_of_type == "COMMAND":
        return [read_command(wire, times)]
    return [read_acknowledgement(wire, tags, times)]


def _bind(wire: b.Bind, tags: Tags, now: int, naming: Naming) -> list[AnyMessage]:
    found: list[AnyMessage] = []
    for child in wire.children:
        if child.type_name == "BIND":
            raise RemoteProtocolError("a BIND within a BIND is not accepted")
        common = {"device_name": child.name or wire.device_name, "timestamp": wire.timestamp}
        content = read_content(child.type_name, memoryview(child.body), common, allow_lost=True)
        found += to_domain(content, now, naming)
    return found


def _nothing(wire: b.Wire, tags: Tags, now: int, naming: Naming) -> list[AnyMessage]:
    return []


_TRANSLATE: dict[type[b.Wire], Callable[..., list[AnyMessage]]] = {
    b.Transform: _transform,
    b.Position: _position,
    b.TrackingData: _tracking,
    b.QuaternionTrackingData: _tracking,
    b.ImageData: _image,
    b.Point: _points,
    b.Trajectory: _trajectories,
    b.StatusData: _status,
    b.StringData: _string,
    b.SensorData: _sensor,
    b.CommandData: _command,
    b.Bind: _bind,
    b.Query: _nothing,
    b.Answer: _nothing,
    b.NoData: _nothing,
}
