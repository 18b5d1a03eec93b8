"""The C++ library's own example programs as devices and as consoles."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from devices.messages import (
    Alert,
    AlertKind,
    GuidedPose,
    Image,
    Points,
    Pose,
    Priority,
    Status,
    Text,
    Unknown,
)
from devices.openigtlink.bodies import PolyData
from devices.quality import Quality

pytestmark = pytest.mark.peers


def of(messages: list[Any], kind: type) -> list[Any]:
    return [message for message in messages if isinstance(message, kind)]


def pictures(cpp_peer: Any) -> Path:
    return Path(cpp_peer.path("ImagerClient")).parents[2] / "src" / "Imager" / "img"


def rigid(matrix: np.ndarray) -> bool:
    r = matrix[:3, :3]
    return bool(np.allclose(r @ r.T, np.eye(3), atol=1e-3) and np.linalg.det(r) > 0.99)


@pytest.mark.parametrize("name", ["TrackerClient", "TrackerClient2", "TrackerClient3"])
async def test_trackers(room: Any, cpp_peer: Any, name: str) -> None:
    link = await room.open("listen", port=0)
    await room.run(cpp_peer.path(name), "127.0.0.1", link.address[1], 200)
    await room.until(lambda: len(of(room.messages, Pose)) >= 40, "40 poses")
    poses = of(room.messages, Pose)
    assert {pose.fixed for pose in poses} == {"Tracker"}
    assert all(rigid(pose.fixed_from_moving) for pose in poses)
    assert np.ptp([pose.fixed_from_moving[0, 3] for pose in poses]) > 10.0
    times = [pose.receive_time_ns for pose in poses]
    assert times == sorted(times)
    assert not room.losses


@pytest.mark.parametrize("name", ["ImagerClient", "ImagerClient2"])
async def test_imagers(room: Any, cpp_peer: Any, name: str) -> None:
    link = await room.open("listen", port=0)
    await room.run(cpp_peer.path(name), "127.0.0.1", link.address[1], 50, pictures(cpp_peer))
    await room.until(lambda: len(of(room.messages, Image)) >= 10, "10 images")
    image = of(room.messages, Image)[0]
    assert image.pixels.shape == (1, 256, 256)
    assert image.pixels.dtype == np.uint8
    centre = image.frame_from_image_mm @ [127.5, 127.5, 0.0, 1.0]
    assert centre[:3] == pytest.approx([0.0, 0.0, 0.0], abs=1e-3)
    assert image.frame_from_image_mm[:3, :3] == pytest.approx(np.diag([1.0, -1.0, 5.0]))


EXPECTED: list[tuple[str, tuple[object, ...], type, Callable[[Any], bool]]] = [
    ("StringClient", (200,), Text, lambda m: m.name == "StringMessage" and bool(m.text)),
    (
        "PointClient",
        (),
        Points,
        lambda m: m.labels == ("POINT_0", "POINT_1", "POINT_2") and m.positions_mm[2].tolist() == [70.0, 80.0, 90.0],
    ),
    (
        "TrajectoryClient",
        (),
        Points,
        lambda m: m.labels == tuple(f"TRAJECTORY_{i}.target" for i in range(3)),  # it declares "target only"
    ),
    ("StatusClient", (), Status, lambda m: m.code == 1 or bool(m.error_name)),
    ("CapabilityClient", (), Unknown, lambda m: m.type_name == "CAPABILITY"),
    ("BindClient", (200,), Pose, lambda m: rigid(m.fixed_from_moving)),
]


@pytest.mark.parametrize(("name", "arguments", "kind", "check"), EXPECTED, ids=[row[0] for row in EXPECTED])
async def test_words_and_points(
    room: Any, cpp_peer: Any, name: str, arguments: tuple[object, ...], kind: type, check: Callable[[Any], bool]
) -> None:
    link = await room.open("listen", port=0)
    child = await room.run(cpp_peer.path(name), "127.0.0.1", link.address[1], *arguments)
    await room.until(lambda: of(room.messages, kind) or child.process.returncode, f"a message of {name}")
    assert of(room.messages, kind), child.said
    assert check(of(room.messages, kind)[0])
    assert link.counters.rejected == 0


async def test_a_flood_of_strings_is_counted_whole(room: Any, cpp_peer: Any) -> None:
    link = await room.open("listen", port=0)
    await room.run(cpp_peer.path("StringClient"), "127.0.0.1", link.address[1], 100_000)
    await room.until(lambda: len(room.messages) >= 20_000, "20,000 strings")
    assert link.counters.received >= 20_000
    assert not room.losses


async def test_a_c_plus_plus_console_subscribes_to_tracking_data(room: Any, cpp_peer: Any) -> None:
    link = await room.open("listen", port=0)
    child = await room.run(cpp_peer.path("TrackingDataClient"), "127.0.0.1", link.address[1], 100)
    await room.until(lambda: room.changes, "the client")

    def say_and_look() -> bool:
        for name in ("StylusToTracker", "ProbeToTracker"):
            link.send(Pose(name=name, moving=name[:-9], fixed="Tracker", fixed_from_moving=np.eye(4)))
        return "Sending STP_TDATA" in child.said

    await room.until(say_and_look, "ten bundles and a stop")
    assert "Name       : StylusToTracker" in child.said
    assert "Name       : ProbeToTracker" in child.said
    assert link.counters.rejected == 0


async def test_receive_client_as_a_console(room: Any, cpp_peer: Any) -> None:
    link = await room.open("listen", port=0)
    alert = Alert(
        name="T1.rib-4", room="or-1", priority=Priority.HIGH, kind=AlertKind.PHYSIOLOGICAL, state="active",
        text="Rib 4 too hot 45.3 C (limit 45.0)", reaction="STOP", advice="acknowledge", first_ns=1, sequence=3,
    )  # fmt: skip
    link.send(alert, urgent=True)  # before anyone is there: a late peer must still get it
    child = await room.run(cpp_peer.path("ReceiveClient"), "127.0.0.1", link.address[1])
    await room.until(lambda: room.changes, "the client")
    matrix = np.eye(4)
    matrix[:3, 3] = 11.0, 22.0, 33.0
    lost = Pose(name="LostToTracker", moving="Lost", fixed="Tracker", fixed_from_moving=matrix, quality=Quality.MISSING)
    link.send(
        GuidedPose(
            name="tip", tool="Stylus", ras_from_tool=matrix, quality=Quality.OK, values={"error_mm": 1.5}, evidence={}
        )
    )
    link.send(lost)
    link.send(Text(name="hint", text="said at the end"))
    await room.until(lambda: "said at the end" in child.said, "the console's text")
    for said in ("STATUS", "Rib 4 too hot", "11", "22", "33"):
        assert said in child.said, child.said
    assert child.said.count("Receiving TRANSFORM") == 1, "a tool that is lost must not reach a plain viewer"
    assert link.counters.withheld == 1


@pytest.mark.parametrize(
    ("name", "arguments", "kind"), [("TrackerServer", (100,), Pose), ("ImagerServer", (50,), Image)]
)
async def test_servers_as_devices(
    room: Any, cpp_peer: Any, free_port: int, name: str, arguments: tuple[object, ...], kind: type
) -> None:
    folder = (pictures(cpp_peer),) if kind is Image else ()
    await room.run(cpp_peer.path(name), free_port, *arguments, *folder)
    link = await room.open("connect", port=free_port)
    await room.until(lambda: len(of(room.messages, kind)) >= 20, f"20 messages of {name}")
    assert link.counters.rejected == 0


async def test_tracking_data_server(room: Any, cpp_peer: Any, free_port: int) -> None:
    """A server that speaks only when it is asked to start."""
    await room.run(cpp_peer.path("TrackingDataServer"), free_port)
    await room.open("connect", port=free_port, ask=("STT_TDATA",))
    await room.until(lambda: len(of(room.messages, Pose)) >= 30, "30 poses")
    assert {pose.name for pose in of(room.messages, Pose)} == {"Channel 0", "Channel 1", "Channel 2"}


async def test_image_meta_server(room: Any, cpp_peer: Any, free_port: int) -> None:
    await room.run(cpp_peer.path("ImageMetaServer"), free_port)
    await room.open("connect", port=free_port, ask=("GET_IMGMETA",))
    await room.until(lambda: of(room.messages, Unknown), "the list of images")
    (listed,) = of(room.messages, Unknown)
    assert listed.type_name == "IMGMETA"
    assert len(listed.body) == 3 * 260


async def test_a_c_plus_plus_client_asks_for_a_surface(room: Any, cpp_peer: Any) -> None:
    link = await room.open("listen", port=0)
    triangle = PolyData(
        points_mm=np.array([[0, 0, 0], [7.5, 0, 0], [0, 9.25, 0]], np.float32),
        vertices=np.empty(0, np.uint32),
        lines=np.empty(0, np.uint32),
        polygons=np.array([3, 0, 1, 2], np.uint32),
        triangle_strips=np.empty(0, np.uint32),
    )
    body = b"".join(bytes(part) for part in triangle.pack())
    link.send(Unknown(name="liver", type_name="POLYDATA", body=body))
    child = await room.run(cpp_peer.path("PolyDataClient"), "127.0.0.1", link.address[1])
    await room.until(lambda: "9.25" in child.said and "0, 1, 2)" in child.said, "our triangle in its list")
    assert link.counters.rejected == 0


async def test_a_c_plus_plus_client_lists_our_images(room: Any, cpp_peer: Any) -> None:
    link = await room.open("listen", port=0)
    pixels = np.zeros((3, 40, 50), np.uint16)
    link.send(Image(name="mr", pixels=pixels, frame="RAS", frame_from_image_mm=np.eye(4)))
    child = await room.run(cpp_peer.path("ImageMetaClient"), "127.0.0.1", link.address[1])
    await room.until(lambda: "DeviceName : mr" in child.said, "our image in its list")
    assert "( 50, 40, 3)" in child.said
