"""The running service among programs that are not ours: the C++ examples, pyigtl, mosquitto."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from guidance.replay import check
from tests.guidance.service.conftest import pose_stream
from tests.programs import free_port

PYIGTL = """
import sys, time
import numpy as np, pyigtl
client = pyigtl.OpenIGTLinkClient("127.0.0.1", int(sys.argv[1]))
console = pyigtl.OpenIGTLinkClient("127.0.0.1", int(sys.argv[2]))
for number in range(10_000):
    matrix = np.eye(4)
    matrix[:3, 3] = number * 0.01, 20, 30
    client.send_message(pyigtl.TransformMessage(matrix, device_name="StylusToTracker", timestamp=time.time()))
    got = console.wait_for_message("StylusToRAS", timeout=0.05)
    if got is not None:
        print("GOT", got.matrix[:3, 3].tolist(), flush=True)
"""


@pytest.mark.peers
async def test_cpp_devices_and_a_cpp_console(service: Any, cpp_peer: Any) -> None:
    ultrasound = {"name": "Images", "source": "ImagerClient", "link": "devices", "kind": "ultrasound", "period_ms": 200}
    session = await service.open(streams=[pose_stream("Tracker"), ultrasound])
    pictures = Path(cpp_peer.path("ImagerClient")).parents[2] / "src" / "Imager" / "img"
    console = await service.run(cpp_peer.path("ReceiveClient"), "127.0.0.1", service.ports["console"])
    await service.run(cpp_peer.path("TrackerClient"), "127.0.0.1", service.ports["devices"], 50)
    await service.run(cpp_peer.path("ImagerClient"), "127.0.0.1", service.ports["devices"], 5, pictures)
    streams = session.core.streams
    await service.until(lambda: streams["Tracker"].received > 50 and streams["Images"].received > 3, "poses and images")
    await service.until(lambda: "Receiving TRANSFORM" in console.said, "a guided pose at the C++ console")
    await service.until(lambda: "Receiving IMAGE" in console.said, "an overlay at the C++ console")
    assert streams["Tracker"].rejected == 0
    await service.close()
    report = check(service.folder / "session.mcap")
    assert report.ok, report.faults


@pytest.mark.peers
async def test_pyigtl_sends_a_pose_and_gets_it_guided(service: Any) -> None:
    shifted = [[1, 0, 0, 100], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]
    session = await service.open(
        streams=[pose_stream("StylusToTracker")],
        tools=[{"name": "Stylus", "stream": "StylusToTracker"}],
        space={"static": [{"moving": "Tracker", "fixed": "RAS", "fixed_from_moving": shifted}]},
    )
    client = await service.run(sys.executable, "-c", PYIGTL, service.ports["devices"], service.ports["console"])
    await service.until(lambda: client.said.count("GOT") >= 3, "guided poses at pyigtl")
    x, y, z = json.loads(client.said.split("GOT ")[1].splitlines()[0])
    assert x >= 100.0
    assert (y, z) == (20.0, 30.0)
    assert session.core.streams["StylusToTracker"].received > 0


@pytest.mark.peers
async def test_mosquitto_carries_the_alerts(service: Any, mosquitto: Path, cpp_peer: Any) -> None:
    port = free_port()
    service.folder.joinpath("broker.conf").write_text(f"listener {port} 127.0.0.1\nallow_anonymous true\n")
    await service.run(mosquitto, "-c", service.folder / "broker.conf")
    listener = await service.run("mosquitto_sub", "-h", "127.0.0.1", "-p", port, "-t", "guidance/test/alerts/+", "-v")
    alerts = {"id": "alerts", "kind": "mqtt", "address": f"127.0.0.1:{port}", "role": "alerts"}
    session = await service.open(more_links=[alerts], outputs=[{"kind": "alert", "to": ["alerts"]}])
    tracker = await service.run(cpp_peer.path("TrackerClient"), "127.0.0.1", service.ports["devices"], 50)
    await service.until(lambda: session.core.streams["Tracker"].received > 10, "poses")
    await tracker.end()
    await service.until(lambda: "K1.Tracker" in listener.said, "the alert that the tracker is stale, through mosquitto")
    assert '"state": "active"' in listener.said or '"state":"active"' in listener.said
