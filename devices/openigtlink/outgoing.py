"""From the room's messages to wire messages.

| message | version 1 | version 2 adds |
|---|---|---|
| Pose | TRANSFORM of the same name | TransformStatus, Number, Moving / Fixed where the name does not say them |
| GuidedPose | TRANSFORM `<tool>ToRAS` | Kind, Name, TransformStatus, Values and Evidence as JSON |
| Image | IMAGE, complex as 2 components | Status, Frame, Number, the image's tags |
| Overlay | IMAGE of 4 components named like the view | Kind, Name, Status, Evidence as JSON |
| Points | POINT | Frame |
| Paths | TRAJ | Frame |
| Outlines | POLYDATA, lines | Frame |
| Status | STATUS | |
| Text | STRING | |
| Reading, Metrics | STRING with JSON, `type` = reading, metrics | |
| Alert | STATUS (code, error name = priority or CLEARED, subcode = sequence), STRING `Alert` of JSON | Kind |
| Command, Acknowledgement | COMMAND, RTS_COMMAND | Status (acknowledgements) |
| Unknown | its own type and body | |

Version 1 has no place for quality: there a pose, image or overlay that is not OK is withheld
(`Withheld`, counted by the link), so a plain viewer sees it stop and never takes it for live.
A name over 20 bytes needs version 2 too: cut short, two tools could become one.
"""

from collections.abc import Callable
from math import isfinite
from typing import Any

import msgspec
import numpy as np
from fastcrc import crc64

from devices.errors import LocalProtocolError
from devices.messages import (
    Acknowledgement,
    Alert,
    AnyMessage,
    Command,
    GuidedPose,
    Image,
    Matrix,
    Message,
    Metrics,
    Outlines,
    Overlay,
    Paths,
    Points,
    Pose,
    Priority,
    Reading,
    Status,
    Text,
    Unknown,
)
from devices.openigtlink import bodies as b
from devices.openigtlink.commands import write_acknowledgement, write_command
from devices.openigtlink.geometry import columns_of
from devices.openigtlink.header import metadata_from, timestamp_from_ns, write_header
from devices.openigtlink.naming import (
    EVIDENCE,
    FIXED,
    FRAME,
    KIND,
    LONG_NAME,
    MOVING,
    NAME,
    NUMBER,
    RESERVED,
    STATUS,
    TRANSFORM_STATUS,
    VALUES,
    split_transform_name,
)
from devices.openigtlink.text import encode_text
from devices.quality import Quality

ALERT_NAME = "Alert"
_NAME_BYTES = 20
_PARTS = {np.dtype("c8"): np.dtype("f4"), np.dtype("c16"): np.dtype("f8")}
# igtlStatusMessage.h: 1 OK, 2 error without a code of its own, 3 panic mode (emergency).
_ALERT_CODE = {Priority.HIGH: 3, Priority.MEDIUM: 2, Priority.LOW: 2}


class Withheld(LocalProtocolError):
    """The message is sound, but this header version cannot say what it must say with it."""


def to_wire(message: AnyMessage, header_version: int) -> list[b.Wire]:
    """The wire messages that carry `message`; LocalProtocolError where it must not or cannot be sent so."""
    return _TRANSLATE[type(message)](message, header_version)


def _common(name: str, message: Message, version: int, tags: dict[str, str]) -> dict[str, Any]:
    if version == 1:
        _need_short(name)
    elif len(name) > _NAME_BYTES:
        tags = {LONG_NAME: name, **tags}
    return {
        "device_name": name[:_NAME_BYTES],
        "timestamp": timestamp_from_ns(message.device_time_ns),
        "header_version": version,
        "metadata": metadata_from(tags) if version == 2 else None,
    }


def _need_short(name: str) -> None:
    if len(name) > _NAME_BYTES:
        raise Withheld(f"the name {name!r} is over {_NAME_BYTES} bytes and needs header version 2")


def _need_usable(quality: Quality, version: int, what: str) -> None:
    if version == 1 and quality is not Quality.OK:
        raise Withheld(f"{what} is {quality}: withheld, header version 1 cannot say so")


def _pose(message: Pose, version: int) -> list[b.Wire]:
    _need_usable(message.quality, version, message.name)
    columns = b.columns_from(message.fixed_from_moving)
    if version == 1:
        return [b.Transform(columns=columns, **_common(message.name, message, 1, {}))]
    tags = {TRANSFORM_STATUS: message.quality.upper()}
    if message.number >= 0:
        tags[NUMBER] = str(message.number)
    if split_transform_name(message.name, "") != (message.moving, message.fixed):
        tags |= {MOVING: message.moving, FIXED: message.fixed}
    return [b.Transform(columns=columns, **_common(message.name, message, version, tags))]


def pose_bytes(message: Pose) -> bytes:
    """What `encode(*to_wire(message, 1))` gives, without the steps between: most of what a room says is poses."""
    name = message.name
    if message.quality is not Quality.OK:
        _need_usable(message.quality, 1, name)
    if len(name) > _NAME_BYTES:
        _need_short(name)
    body = b.pack_matrix(message.fixed_from_moving)
    timestamp = timestamp_from_ns(message.device_time_ns) if message.device_time_ns else 0
    return write_header(1, "TRANSFORM", name, timestamp, b.TRANSFORM_SIZE, crc64.ecma_182(body)) + body


def _guided_pose(message: GuidedPose, version: int) -> list[b.Wire]:
    _need_usable(message.quality, version, message.tool)
    tags = {
        KIND: "guided_pose",
        NAME: message.name,
        MOVING: message.tool,
        TRANSFORM_STATUS: message.quality.upper(),
        VALUES: _json(finite(message.values)),
        EVIDENCE: _json(message.evidence),
    }
    columns = b.columns_from(message.ras_from_tool)
    return [b.Transform(columns=columns, **_common(f"{message.tool}ToRAS", message, version, tags))]


def _json(values: Any) -> str:
    return msgspec.json.encode(values).decode()


def finite(values: dict[str, float]) -> dict[str, float]:
    """The values that are numbers: one that is missing is left out, never sent as NaN."""
    return {key: value for key, value in values.items() if isfinite(value)}


def _image(message: Image, version: int) -> list[b.Wire]:
    _need_usable(message.quality, version, message.name)
    tags: dict[str, str] = {}
    if version == 2:
        tags = {STATUS: message.quality.upper(), FRAME: message.frame}
        tags |= {key: value for key, value in message.tags.items() if key not in RESERVED}
        if message.number >= 0:
            tags[NUMBER] = str(message.number)
    return [_pixels(message.pixels, message.frame_from_image_mm, _common(message.name, message, version, tags))]


def _pixels(pixels: Any, frame_from_image_mm: Matrix, common: dict[str, Any]) -> b.ImageData:
    if pixels.dtype in _PARTS:
        pixels = np.ascontiguousarray(pixels)[..., np.newaxis].view(_PARTS[pixels.dtype])
    if not 3 <= pixels.ndim <= 4:
        raise LocalProtocolError(f"pixels of shape {pixels.shape} are not [slice, row, column]")
    size = (pixels.shape[2], pixels.shape[1], pixels.shape[0])
    return b.ImageData(pixels=pixels, columns=columns_of(frame_from_image_mm, size), size=size, **common)


def _overlay(message: Overlay, version: int) -> list[b.Wire]:
    _need_usable(message.quality, version, message.view)
    tags = {
        KIND: "overlay",
        NAME: message.name,
        STATUS: message.quality.upper(),
        EVIDENCE: _json(message.evidence),
    }
    common = _common(message.view, message, version, tags)
    return [_pixels(message.rgba[np.newaxis], message.ras_from_image_mm, common)]


def _points(message: Points, version: int) -> list[b.Wire]:
    elements = tuple(
        b.PointElement(label, (float(x), float(y), float(z)))
        for label, (x, y, z) in zip(message.labels, message.positions_mm, strict=True)
    )
    return [b.Point(elements=elements, **_common(message.name, message, version, {FRAME: message.frame}))]


def _paths(message: Paths, version: int) -> list[b.Wire]:
    elements = tuple(
        b.TrajectoryElement(label, _triple(ends[0]), _triple(ends[1]), radius_mm=radius)
        for label, ends, radius in zip(message.labels, message.ends_mm, message.radii_mm.tolist(), strict=True)
    )
    return [b.Trajectory(elements=elements, **_common(message.name, message, version, {FRAME: message.frame}))]


def _triple(point: Any) -> tuple[float, float, float]:
    x, y, z = point.tolist()
    return x, y, z


def _outlines(message: Outlines, version: int) -> list[b.Wire]:
    runs: list[int] = []
    start = 0
    for count in message.counts.tolist():
        runs += [count, *range(start, start + count)]
        start += count
    none = np.zeros(0, np.uint32)
    return [
        b.PolyData(
            points_mm=message.points_mm.astype(np.float32), vertices=none, lines=np.array(runs, np.uint32),
            polygons=none, triangle_strips=none, **_common(message.name, message, version, {FRAME: message.frame}),
        )
    ]  # fmt: skip


def _status(message: Status, version: int) -> list[b.Wire]:
    common = _common(message.name, message, version, {})
    return [
        b.StatusData(
            code=message.code, subcode=message.subcode, error_name=message.error_name, text=message.text, **common
        )
    ]


def _string(name: str, text: str, message: Message, version: int) -> b.StringData:
    encoding, data = encode_text(text)
    return b.StringData(data=data, encoding=encoding, **_common(name, message, version, {}))


def _text(message: Text, version: int) -> list[b.Wire]:
    return [_string(message.name, message.text, message, version)]


def _numbers(message: Reading | Metrics, version: int) -> list[b.Wire]:
    message = msgspec.structs.replace(message, values=finite(message.values), receive_time_ns=0)
    return [_string(message.name, _json(message), message, version)]


def _alert(message: Alert, version: int) -> list[b.Wire]:
    cleared = message.state == "cleared"
    status = b.StatusData(
        code=1 if cleared else _ALERT_CODE[message.priority],
        subcode=message.sequence,
        error_name="CLEARED" if cleared else message.priority.upper(),
        text=message.text,
        **_common(message.name[:_NAME_BYTES], message, version, {KIND: "alert"}),
    )
    whole = msgspec.structs.replace(message, receive_time_ns=0)
    return [status, _string(ALERT_NAME, _json(whole), message, version)]


def _command(message: Command, version: int) -> list[b.Wire]:
    return [write_command(message, _common(message.name, message, version, {}))]


def _acknowledgement(message: Acknowledgement, version: int) -> list[b.Wire]:
    return [write_acknowledgement(message, _common(message.name, message, version, {}))]


def _unknown(message: Unknown, version: int) -> list[b.Wire]:
    common = _common(message.name, message, version, {})
    return [b.Opaque(name_of_type=message.type_name, body=message.body, **common)]


_TRANSLATE: dict[type[Any], Callable[[Any, int], list[b.Wire]]] = {
    Pose: _pose,
    GuidedPose: _guided_pose,
    Image: _image,
    Overlay: _overlay,
    Points: _points,
    Paths: _paths,
    Outlines: _outlines,
    Status: _status,
    Text: _text,
    Reading: _numbers,
    Metrics: _numbers,
    Alert: _alert,
    Command: _command,
    Acknowledgement: _acknowledgement,
    Unknown: _unknown,
}
