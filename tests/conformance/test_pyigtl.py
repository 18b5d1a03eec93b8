"""pyigtl both ways: as a client of our link and as a device that our link connects to. It runs in its own process."""

import sys
from pathlib import Path
from typing import Any

import numpy as np

from devices.messages import GuidedPose, Image, Points, Pose, Text
from devices.quality import Quality

CLIENT = """
import sys, time
import numpy as np, pyigtl
client = pyigtl.OpenIGTLinkClient("127.0.0.1", int(sys.argv[1]))
while not client.is_connected():
    time.sleep(0.01)
matrix = np.eye(4); matrix[:3, 3] = 1, 2, 3
for version in (1, 2):
    message = pyigtl.TransformMessage(matrix, device_name="ProbeToTracker", timestamp=1000.25)
    message.header_version = version
    message.metadata = {"TransformStatus": "OK" if version == 1 else "OUT_OF_VIEW"}
    client.send_message(message)
image = np.arange(2 * 3 * 4, dtype=np.int16).reshape(2, 3, 4)
for system in ("ras", "lps"):
    client.send_message(pyigtl.ImageMessage(image, ijk_to_world_matrix=matrix, world_coordinate_system=system,
                                            device_name="Image_" + system.capitalize()))
client.send_message(pyigtl.StringMessage("Hello", device_name="Words"))
client.send_message(pyigtl.PointMessage([[1, 2, 3], [4, 5, 6]], names=["a", "b"], device_name="Fiducials"))
while True:
    got = client.wait_for_message("StylusToRAS", timeout=60)
    print("GOT", got.matrix[0, 3], client.wait_for_message("overlay", timeout=60).image.shape, flush=True)
"""

SERVER = """
import sys, time
import numpy as np, pyigtl
server = pyigtl.OpenIGTLinkServer(port=int(sys.argv[1]))
matrix = np.eye(4); matrix[:3, 3] = 4, 5, 6
while True:
    if server.is_connected():
        server.send_message(pyigtl.TransformMessage(matrix, device_name="StylusToTracker"))
        for message in server.get_latest_messages():
            print("GOT", message.device_name, getattr(message, "string", ""), flush=True)
    time.sleep(0.01)
"""


def of(messages: list[Any], kind: type) -> list[Any]:
    return [message for message in messages if isinstance(message, kind)]


async def test_pyigtl_client(room: Any) -> None:
    link = await room.open("listen", port=0)
    child = await room.run(Path(sys.executable), "-c", CLIENT, link.address[1])
    await room.until(lambda: of(room.messages, Points), "the last of its messages", 90)
    first, second = of(room.messages, Pose)
    assert (first.moving, first.fixed, first.quality) == ("Probe", "Tracker", Quality.OK)
    assert first.device_time_ns == 1_000_250_000_000
    assert second.quality is Quality.MISSING
    assert second.fixed_from_moving[:3, 3].tolist() == [1.0, 2.0, 3.0]
    ras, lps = of(room.messages, Image)
    assert ras.frame_from_image_mm[:3, 3].tolist() == [1.0, 2.0, 3.0]
    assert lps.frame_from_image_mm[:3, 3].tolist() == [-1.0, -2.0, 3.0]
    assert lps.frame_from_image_mm[0, 0] == -1.0
    for image in (ras, lps):
        assert image.pixels.dtype.isnative
        assert image.pixels.tolist() == np.arange(24).reshape(2, 3, 4).tolist()
    assert of(room.messages, Text)[0].text == "Hello"
    assert of(room.messages, Points)[0].labels == ("a", "b")

    def send() -> bool:
        matrix = np.eye(4)
        matrix[0, 3] = 7.5
        pixels = np.zeros((1, 5, 6), np.uint8)
        link.send(
            GuidedPose(name="tip", tool="Stylus", ras_from_tool=matrix, quality=Quality.OK, values={}, evidence={})
        )
        link.send(Image(name="overlay", pixels=pixels, frame="RAS", frame_from_image_mm=np.eye(4)))
        return "GOT 7.5 (1, 5, 6)" in child.said

    await room.until(send, "our pose and image at pyigtl")
    assert link.counters.rejected == 0


async def test_pyigtl_server_as_a_device(room: Any, free_port: int) -> None:
    link = await room.open("connect", port=free_port, backoff_most_s=0.3)
    child = await room.run(Path(sys.executable), "-c", SERVER, free_port)
    await room.until(lambda: len(of(room.messages, Pose)) >= 5, "poses", 90)
    assert of(room.messages, Pose)[0].fixed_from_moving[:3, 3].tolist() == [4.0, 5.0, 6.0]
    link.send(Text(name="hello", text="from the room"))
    await room.until(lambda: "GOT hello from the room" in child.said, "our text at pyigtl")
