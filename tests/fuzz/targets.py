"""What is fuzzed: bytes in, and what must hold of everything that is accepted.

A target returns None for what was refused in the one way that is allowed, and asserts for the rest.
"""

import math
import os
import struct
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from fastcrc import crc64

from devices.errors import LocalProtocolError, RemoteProtocolError
from devices.messages import Alert, AnyMessage, GuidedPose, Image, Overlay, Pose, Reading
from devices.mqtt import alerts
from devices.openigtlink import Budget, Decoder, Naming, encode, to_domain
from devices.openigtlink.bodies import BODIES
from devices.openigtlink.header import HEADER_SIZE
from devices.zeromq.framing import from_parts, to_parts
from guidance.errors import PlanError, SettingsError
from guidance.plan import Plan, load_plan
from guidance.settings import load_settings

ROOT = Path(__file__).resolve().parents[2]
CORPUS = Path(__file__).parent / "corpus"
TYPES = sorted(BODIES)
SCRATCH = Path(tempfile.mkdtemp(prefix="guidance-fuzz-", dir="/dev/shm" if os.path.isdir("/dev/shm") else None))


def stream(data: bytes) -> None:
    """The OpenIGTLink decoder on any bytes, whole and in pieces: the same messages, nothing left in the budget."""
    budget = Budget()
    whole = _decoded(Decoder(budget=budget), [data])
    assert budget.used <= Decoder()._limits.image + 200_000
    size = max(1 + (data[0] if data else 0), len(data) // 64)
    pieces = _decoded(Decoder(budget=budget), [data[at : at + size] for at in range(0, len(data), size)])
    assert len(whole) == len(pieces)
    assert [row.type_name for row in whole] == [row.type_name for row in pieces]


def _decoded(decoder: Decoder, pieces: list[bytes]) -> list[object]:
    found: list[object] = []
    try:
        for piece in pieces:
            found += decoder.feed(piece)
    except RemoteProtocolError:
        assert decoder.fault is not None, "a fault that was raised is the decoder's last word"
    decoder.close()
    return found


def bodies(data: bytes) -> None:
    """Every body with a right header and checksum: what comes out is sound, and comes out again."""
    if len(data) < 2:
        return
    type_name, version = TYPES[data[0] % len(TYPES)], 1 + data[1] % 2
    body = data[2:]
    head = struct.pack(">H12s20sQQQ", version, type_name.encode(), b"Fuzz", 1 << 32, len(body), crc64.ecma_182(body))
    try:
        wires = Decoder().feed(head + body)
    except RemoteProtocolError:
        return
    for wire in wires:
        try:
            again = b"".join(bytes(part) for part in encode(wire))
        except LocalProtocolError:
            continue  # taken from others, never sent by us
        assert len(again) >= HEADER_SIZE
        assert [row.type_name for row in Decoder().feed(again)] == [wire.type_name], "what we send we take"
        try:
            messages = to_domain(wire, 1, Naming("Tracker", "RAS", "RAS"))
        except RemoteProtocolError:
            continue
        for message in messages:
            sound(message)


def sound(message: AnyMessage) -> None:
    """What every accepted message keeps: finite numbers where it says so, shapes, sizes, printable names."""
    assert message.name.isprintable(), message.name
    if isinstance(message, Pose):
        assert message.fixed_from_moving.shape == (4, 4)
        if message.quality.usable:
            assert np.all(np.isfinite(message.fixed_from_moving))
    elif isinstance(message, Image):
        assert message.pixels.ndim in (3, 4)
        assert message.pixels.size > 0
        assert message.pixels.dtype.isnative or message.pixels.dtype.byteorder in "<>"
        assert np.all(np.isfinite(message.frame_from_image_mm))
    elif isinstance(message, GuidedPose):
        assert message.ras_from_tool.shape == (4, 4)
    elif isinstance(message, Overlay):
        assert message.rgba.ndim == 3
        assert message.rgba.shape[2] == 4
    elif isinstance(message, Reading):
        assert all(math.isfinite(value) for value in message.values.values())
    elif isinstance(message, Alert):
        assert message.sequence >= 0


def zeromq(data: bytes) -> None:
    """Multipart framing: parts split by 2-byte lengths; what is accepted is packed and accepted again."""
    parts = list(_parts(data))
    try:
        header = from_parts("or-1", parts)
    except RemoteProtocolError:
        return
    assert header.number >= 0
    again = to_parts(bytes(parts[0]).decode(), header.source, header.number, header.message)
    assert from_parts("or-1", again).number == header.number


def _parts(data: bytes) -> Iterator[bytes]:
    at = 0
    while at + 2 <= len(data):
        size = int.from_bytes(data[at : at + 2], "big")
        yield data[at + 2 : at + 2 + size]
        at += 2 + size


def mqtt(data: bytes) -> None:
    """Payloads of the alert feed."""
    for decode in (alerts.decode_alert, alerts.decode_ask, lambda payload: alerts.decode_status("or-1", payload)):
        try:
            decode(data)
        except RemoteProtocolError:
            continue


def settings(data: bytes) -> None:
    """A room's file: settings, or a SettingsError that lists faults."""
    path = SCRATCH / "room.toml"
    path.write_bytes(data)
    try:
        room = load_settings(path)
    except SettingsError as fault:
        assert fault.faults
        return
    assert room.links
    assert room.streams


def plan(data: bytes) -> None:
    """A plan: sound, or a PlanError that lists faults."""
    path = SCRATCH / "plan.toml"
    path.write_bytes(data)
    try:
        loaded = load_plan(path)
    except PlanError as fault:
        assert fault.faults
        return
    assert isinstance(loaded, Plan)
    for structure in loaded.structures:
        assert np.isfinite(structure.signed_distance_mm(np.zeros((1, 3)))).all()


TARGETS: dict[str, Callable[[bytes], None]] = {
    "stream": stream,
    "bodies": bodies,
    "zeromq": zeromq,
    "mqtt": mqtt,
    "settings": settings,
    "plan": plan,
}


def seeds(target: str) -> list[bytes]:
    """The kept corpus of a target, and for files of the configuration those that are there."""
    files = sorted((CORPUS / target).glob("*")) if (CORPUS / target).is_dir() else []
    if target == "settings":
        files += sorted((ROOT / "config" / "procedures").glob("*.toml"))
    elif target == "plan":
        files += sorted((ROOT / "config" / "plans").glob("*/plan.toml"))
    return [file.read_bytes() for file in files]
