"""The examples that people start from do what they say."""

import asyncio
import sys
from pathlib import Path

import numpy as np
import pytest

from devices.clock import SystemClock
from devices.messages import Alert, AlertKind, GuidedPose, Image, Priority
from devices.mqtt import MemoryOutbox, MqttLink, MqttSettings
from devices.mqtt.broker import EmbeddedBroker
from devices.quality import Quality
from devices.zeromq import ZeroMQLink, ZeroMQSettings

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
CALLBACKS = {
    "clock": SystemClock(),
    "on_message": lambda message: None,
    "on_change": lambda *change: None,
    "on_loss": lambda *loss: None,
}


@pytest.fixture
async def example():
    """`await example(name, *arguments)` runs it; it is killed at the end."""
    running = []

    async def start(name, *arguments):
        command = [sys.executable, str(EXAMPLES / name), *map(str, arguments)]
        running.append(await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE))
        return running[-1]

    yield start
    for process in running:
        process.kill()
        await process.communicate()


async def read_until(process, *wanted) -> str:
    """What it prints, up to the moment where all of `wanted` stand there."""
    said = ""
    async with asyncio.timeout(60):
        while not all(word in said for word in wanted):
            line = await process.stdout.readline()
            assert line, f"it ended after {said!r}"
            said += line.decode()
    return said


@pytest.fixture
async def zeromq_link():
    link = ZeroMQLink(ZeroMQSettings(room="or-1", publish="tcp://127.0.0.1:*"), **CALLBACKS)
    await link.start()
    yield link
    await link.stop()


@pytest.fixture
async def mqtt_link():
    broker = EmbeddedBroker()
    await broker.start()
    link = MqttLink(MqttSettings(room="or-1", port=broker.port), outbox=MemoryOutbox(), **CALLBACKS)
    await link.start()
    yield link
    await link.stop()
    await broker.stop()


async def test_the_zeromq_subscriber_prints_poses_and_images(example, zeromq_link):
    process = await example("zeromq_subscriber.py", zeromq_link.address, "or-1")
    pose = GuidedPose(
        name="stylus",
        tool="stylus",
        ras_from_tool=np.eye(4),
        quality=Quality.OK,
        values={"target_distance_mm": 12.5},
        evidence={"tracker": 1},
    )
    image = Image(name="us", pixels=np.full((1, 64, 64), 9, "u1"), frame="p", frame_from_image_mm=np.eye(4))
    reading = asyncio.create_task(
        read_until(
            process,
            "room/or-1/guided_pose/stylus",
            "'target_distance_mm': 12.5",
            "array([[1., 0., 0., 0.],",
            "room/or-1/image/us",
            "[9, 9, 9, ..., 9, 9, 9]",
        )
    )
    while not reading.done():
        zeromq_link.send(pose)
        zeromq_link.send(image)
        await asyncio.wait({reading}, timeout=0.02)
    await reading


async def test_the_mqtt_listener_prints_alarms_and_state(example, mqtt_link):
    mqtt_link.send(
        Alert(
            name="T1.rib-4",
            room="or-1",
            priority=Priority.HIGH,
            kind=AlertKind.TECHNICAL,
            state="active",
            text="tracker stale",
            reaction="stop",
            advice="look at the camera",
            first_ns=1,
            sequence=1,
        )
    )
    process = await example("mqtt_alerts.py", *mqtt_link.address.removeprefix("mqtt://").split(":"))
    await read_until(
        process, "guidance/or-1/state live\n", "guidance/or-1/alerts/T1.rib-4 high active: tracker stale\n"
    )
    await mqtt_link.stop()
    await read_until(process, "guidance/or-1/state stopped\n")
