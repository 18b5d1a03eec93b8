"""Answers to queries from what was sent last: GET_, and which types, images, tools and devices there are."""

from collections.abc import Callable, Iterable
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from devices.errors import LocalProtocolError
from devices.messages import AnyMessage, GuidedPose, Image, Matrix, Overlay, Pose
from devices.openigtlink import bodies as b
from devices.openigtlink.bodies.images import SCALAR_NUMBER
from devices.openigtlink.header import metadata_from, timestamp_from_ns
from devices.openigtlink.outgoing import to_wire
from devices.openigtlink.text import encode_text
from devices.quality import Quality

Latest = dict[tuple[str, str], AnyMessage]
_LIVE = ("TRANSFORM", "IMAGE", "STATUS")  # of these another device's is never an answer; clients ask for the rest
#   under their own name (the C++ examples write "Client")
_UNDERSTOOD = tuple(sorted(name for name in b.BODIES if len(name) <= 12))


def answer(query: b.Query, latest: Latest, version: int) -> list[b.Wire]:
    """The messages that answer a GET_; "no data" where there is none."""
    special = _SPECIAL.get(query.subject)
    if special is not None:
        return [special(query, latest, version)]
    any_name = query.device_name == "" or (
        query.subject not in _LIVE and (query.subject, query.device_name) not in latest
    )
    for (subject, name), message in reversed(latest.items()):
        if subject == query.subject and (any_name or query.device_name == name):
            try:
                return [wire for wire in to_wire(message, version) if wire.type_name == query.subject]
            except LocalProtocolError:
                continue  # this one cannot be said in the peer's header version; an older one may
    return [_no_data(query, version)]


def _no_data(query: b.Query, version: int) -> b.Wire:
    if query.subject == "TRANSFORM":  # its content is 48 bytes, always
        text = f"no TRANSFORM {query.device_name!r}"
        return b.StatusData(code=4, error_name="NOT_FOUND", text=text, **_common(query, version))
    return b.NoData(name_of_type=query.subject, **_common(query, version))


def _common(query: b.Query, version: int) -> dict[str, Any]:
    return {"device_name": query.device_name, "header_version": version, "metadata": () if version == 2 else None}


def _capability(query: b.Query, latest: Latest, version: int) -> b.Wire:
    return b.Capability(types=_UNDERSTOOD, **_common(query, version))


def _image_list(query: b.Query, latest: Latest, version: int) -> b.Wire:
    """IMGMETA of the image stream named, of every one where there is none of that name: clients write their own there.

    A name over 20 bytes stands there cut, as in its IMAGE header.
    """
    known = ("IMAGE", query.device_name) in latest
    elements = []
    for (subject, name), message in latest.items():
        pixels = _pixels(message)
        if subject != "IMAGE" or pixels is None or (known and query.device_name != name):
            continue
        k, j, i = pixels.shape[:3]
        part = np.dtype(f"f{pixels.dtype.itemsize // 2}") if pixels.dtype.kind == "c" else pixels.dtype
        scalar = SCALAR_NUMBER.get(part)
        if scalar is not None:
            scan_time = timestamp_from_ns(message.device_time_ns)
            elements.append(b.ImageMetaElement(name, name[:20], (i, j, k), scalar, timestamp=scan_time))
    return b.ImageMeta(elements=tuple(elements), **_common(query, version))


def _pixels(message: AnyMessage) -> NDArray[Any] | None:
    if isinstance(message, Image):
        return message.pixels
    return message.rgba[np.newaxis] if isinstance(message, Overlay) else None


def _tools(query: b.Query, latest: Latest, version: int) -> b.Wire:
    poses = [m for (subject, _), m in latest.items() if subject == "TRANSFORM" and isinstance(m, Pose | GuidedPose)]
    return bundle(query.subject, query.device_name or "Tools", poses, version)


def _bound(query: b.Query, latest: Latest, version: int) -> b.Wire:
    wanted = query.entries or tuple(latest)
    children = []
    for subject, name in wanted:
        message = latest.get((subject, name))
        if message is None:
            continue
        try:
            wires = to_wire(message, 1)
        except LocalProtocolError:
            continue  # what cannot be said in a BIND's children (they have no metadata) is not in it
        children += [
            b.Child(w.type_name, w.device_name, b"".join(bytes(part) for part in w.pack()))
            for w in wires
            if w.type_name == subject
        ]
    return b.Bind(children=tuple(children), **_common(query, version))


_SPECIAL: dict[str, Callable[[b.Query, Latest, int], b.Wire]] = {
    "CAPABILITY": _capability,
    "IMGMETA": _image_list,
    "TDATA": _tools,
    "QTDATA": _tools,
    "BIND": _bound,
}


def bundle(subject: str, name: str, poses: Iterable[Pose | GuidedPose], version: int) -> b.Wire:
    """TDATA or QTDATA of several poses. Version 1 leaves out those that are not OK or whose names are too long.

    Version 2 says every tool's status, and whole names, in the metadata that PLUS writes and reads.
    """
    tags: dict[str, str] = {}
    elements: list[b.TrackingElement] = []
    newest_ns = 0
    for pose in poses:
        tool = f"{pose.tool}ToRAS" if isinstance(pose, GuidedPose) else pose.name
        if version == 1 and (pose.quality is not Quality.OK or len(tool) > 20):
            continue
        matrix = pose.ras_from_tool if isinstance(pose, GuidedPose) else pose.fixed_from_moving
        newest_ns = max(newest_ns, pose.device_time_ns)
        tags |= {f"{tool}Status": pose.quality.upper(), f"{tool}Index": str(len(elements))}
        elements.append(b.TrackingElement(tool[:20], b.columns_from(matrix)))
    common: dict[str, Any] = {
        "device_name": name,
        "timestamp": timestamp_from_ns(newest_ns),
        "header_version": version,
        "metadata": metadata_from(tags) if version == 2 else None,
    }
    if subject == "TDATA":
        return b.TrackingData(elements=tuple(elements), **common)
    return b.QuaternionTrackingData(elements=tuple(_with_quaternion(e) for e in elements), **common)


def _with_quaternion(element: b.TrackingElement) -> b.QuaternionElement:
    matrix = b.matrix_from(element.columns)
    position = (float(matrix[0, 3]), float(matrix[1, 3]), float(matrix[2, 3]))
    return b.QuaternionElement(element.name, position, quaternion_from_matrix(matrix), element.kind)


def quaternion_from_matrix(matrix: Matrix) -> tuple[float, float, float, float]:
    """(x, y, z, w) of a rotation, by the largest of the four (Shepperd 1978); stable for every angle."""
    r = matrix[:3, :3]
    trace = float(np.trace(r))
    squares = np.array([2 * r[0, 0] - trace, 2 * r[1, 1] - trace, 2 * r[2, 2] - trace, trace]) + 1.0
    largest = int(np.argmax(squares))
    q = np.empty(4)
    q[largest] = squares[largest]
    if largest == 3:
        q[:3] = r[2, 1] - r[1, 2], r[0, 2] - r[2, 0], r[1, 0] - r[0, 1]
    else:
        i, j, k = largest, (largest + 1) % 3, (largest + 2) % 3
        q[j], q[k], q[3] = r[j, i] + r[i, j], r[k, i] + r[i, k], r[k, j] - r[j, k]
    x, y, z, w = (q / np.linalg.norm(q)).tolist()
    return x, y, z, w


def device_list(command_id: int, latest: Latest, version: int) -> b.Wire:
    """The answer to COMMAND `DEVICES`: every stream by type and name, as JSON in `text`."""
    devices = [{"type": subject, "name": name} for subject, name in latest]
    content = {"done": True, "text": msgspec.json.encode(devices).decode()}
    encoding, data = encode_text(msgspec.json.encode(content).decode())
    metadata = metadata_from({"Status": "SUCCESS"}) if version == 2 else None
    return b.CommandData(
        command_id=command_id,
        name="DEVICES",
        data=data,
        encoding=encoding,
        name_of_type="RTS_COMMAND",
        header_version=version,
        metadata=metadata,
    )
