"""A tool that is out of view and sent as NaN: a named state for that tool, no harm to its neighbours."""

import struct
from typing import Any

import numpy as np
import pytest
from fastcrc import crc64

from devices.errors import RemoteProtocolError
from devices.messages import Points
from devices.openigtlink import Decoder, Naming, encode, to_domain
from devices.openigtlink import bodies as b
from devices.openigtlink.header import metadata_from
from devices.quality import Quality

IDENTITY = (1.0, 0, 0, 0, 1.0, 0, 0, 0, 1.0, 0, 0, 0)
NAN = float("nan")


def wire_bytes(type_name: str, content: bytes, name: str = "StylusToTracker", version: int = 1) -> bytes:
    wire = b.Opaque(name_of_type=type_name, body=content, device_name=name)
    if version == 1:
        return b"".join(bytes(part) for part in encode(wire))
    tags = metadata_from({"StylusToTrackerTransformStatus": "OK"})
    return b"".join(bytes(part) for part in encode(wire.__class__(
        name_of_type=type_name, body=content, device_name=name, header_version=2, metadata=tags)))  # fmt: skip


def tool(name: str, *numbers: float, kind: int = 2) -> bytes:
    return struct.pack(f">20sBB{len(numbers)}f", name.encode(), kind, 0, *numbers)


LOST = {
    "transform": wire_bytes("TRANSFORM", struct.pack(">12f", *IDENTITY[:9], NAN, 0, 0)),
    "transform, infinite": wire_bytes("TRANSFORM", struct.pack(">12f", *[float("inf")] * 12)),
    "transform whose metadata says OK": wire_bytes("TRANSFORM", struct.pack(">12f", *[NAN] * 12), version=2),
    "position without orientation": wire_bytes("POSITION", struct.pack(">3f", NAN, 0, 0)),
    "position of 24 bytes": wire_bytes("QTRANS", struct.pack(">6f", NAN, 0, 0, 0, 0, 0)),
    "position": wire_bytes("POSITION", struct.pack(">7f", 0, 0, 0, NAN, NAN, NAN, NAN)),
    "tip only": wire_bytes("TDATA", tool("StylusToTracker", *[NAN] * 12, kind=3)),
}


@pytest.mark.parametrize("name", LOST)
def test_a_pose_without_numbers_is_missing(name: str) -> None:
    (wire,) = Decoder(allow_lost=True).feed(LOST[name])
    (pose,) = to_domain(wire, 7, Naming())
    assert pose.quality is Quality.MISSING  # type: ignore[union-attr]
    assert np.array_equal(pose.fixed_from_moving, np.eye(4))  # type: ignore[union-attr]
    assert (pose.moving, pose.fixed) == ("Stylus", "Tracker")  # type: ignore[union-attr]


@pytest.mark.parametrize("name", LOST)
def test_a_decoder_that_was_not_told_refuses_it(name: str) -> None:
    with pytest.raises(RemoteProtocolError, match="NaN or infinite"):
        Decoder().feed(LOST[name])


@pytest.mark.parametrize(("type_name", "numbers"), [("TDATA", IDENTITY), ("QTDATA", (1.0, 2.0, 3.0, 0, 0, 0, 1.0))])
def test_only_the_lost_tool_of_several_is_missing(type_name: str, numbers: tuple[float, ...]) -> None:
    content = tool("A", *numbers) + tool("B", *[NAN] * len(numbers)) + tool("C", *numbers)
    (wire,) = Decoder(allow_lost=True).feed(wire_bytes(type_name, content))
    poses = to_domain(wire, 7, Naming())
    assert [(pose.name, pose.quality) for pose in poses] == [  # type: ignore[union-attr]
        ("A", Quality.OK), ("B", Quality.MISSING), ("C", Quality.OK),
    ]  # fmt: skip


def test_what_else_is_wrong_is_still_refused() -> None:
    bad = {
        "a tool of no type": wire_bytes("TDATA", tool("A", *[NAN] * 12, kind=9)),
        "an image nowhere": wire_bytes("IMAGE", struct.pack(">HBBBB3H12f3H3H", 1, 1, 3, 2, 1, 1, 1, 1, *[NAN] * 12,
                                                            0, 0, 0, 1, 1, 1) + b"x"),
        "a point nowhere": wire_bytes("POINT", bytes(100) + struct.pack(">4f20s", NAN, 0, 0, 1, b"")),
    }  # fmt: skip
    for what, data in bad.items():
        with pytest.raises(RemoteProtocolError):
            pytest.fail(f"{what} was taken: {Decoder(allow_lost=True).feed(data)}")


async def test_a_tracker_that_says_nan_keeps_its_connection(open_link: Any, until: Any, dial: Any) -> None:
    server = await open_link()
    peer = await dial(server.port)
    body = struct.pack(">12f", *[NAN] * 12)
    good = struct.pack(">12f", *IDENTITY)
    for index in range(50):
        content = body if index % 2 else good
        assert crc64.ecma_182(content)
        peer.say(wire_bytes("TRANSFORM", content, "NeedleToTracker"))
        peer.say(wire_bytes("TRANSFORM", good, "ProbeToTracker"))
    await until(lambda: len(server.messages) == 100, "all poses")
    assert not server.losses
    assert server.link.counters.rejected == 0
    (counters,) = server.link.counters.peers.values()
    assert counters.streams["NeedleToTracker"].unusable == 25
    assert counters.streams["ProbeToTracker"].unusable == 0
    assert not any(isinstance(message, Points) for message in server.messages)


def test_the_short_way_of_a_pose_says_the_same_as_the_long_one(pose: Any) -> None:
    from devices.errors import LocalProtocolError
    from devices.openigtlink.outgoing import pose_bytes, to_wire

    turned = np.eye(4)
    turned[:3, :3] = [[0, -1, 0], [1, 0, 0], [0, 0, 1]]
    for message in (pose(), pose(fixed_from_moving=turned, device_time_ns=1_700_000_000_123_456_789, number=3)):
        assert pose_bytes(message) == b"".join(encode(*to_wire(message, 1)))
    far = np.eye(4)
    far[0, 3] = 1e300
    nowhere = np.full((4, 4), NAN)
    faults = (
        {"quality": Quality.INVALID}, {"name": "x" * 21}, {"name": "ü"}, {"fixed_from_moving": far},
        {"fixed_from_moving": nowhere}, {"device_time_ns": -1},
    )  # fmt: skip
    for fault in faults:
        kinds = []
        for way in (pose_bytes, lambda message: encode(*to_wire(message, 1))):
            with pytest.raises(LocalProtocolError) as caught:
                way(pose(**fault))
            kinds.append(caught.type)
        assert kinds[0] is kinds[1], fault


def test_a_lost_tool_in_a_bind_leaves_its_neighbours_alone() -> None:
    children = (
        b.Child("TRANSFORM", "StylusToTracker", struct.pack(">12f", *[NAN] * 12)),
        b.Child("TRANSFORM", "ProbeToTracker", struct.pack(">12f", *IDENTITY)),
    )
    data = b"".join(bytes(part) for part in encode(b.Bind(device_name="all", children=children)))
    (wire,) = Decoder(allow_lost=True).feed(data)
    stylus, probe = to_domain(wire, 7, Naming())
    assert (stylus.name, stylus.quality) == ("StylusToTracker", Quality.MISSING)  # type: ignore[union-attr]
    assert (probe.name, probe.quality) == ("ProbeToTracker", Quality.OK)  # type: ignore[union-attr]
