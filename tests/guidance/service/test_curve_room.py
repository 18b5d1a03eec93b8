"""A room file with CURVE keys: its bus serves whoever holds an allowed key, and nobody else."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
import zmq
import zmq.asyncio
import zmq.auth

from devices.openigtlink import bodies as b
from devices.openigtlink import encode
from devices.zeromq.keys import main as make_keys
from guidance.load import load_room
from guidance.service.options import link_faults
from guidance.service.session import Session

ROOM = """
schema_version = 1
room = "or-1"
procedure = "test"
[[links]]
id = "tracker"
kind = "openigtlink"
mode = "listen"
address = "127.0.0.1:0"
role = "tracker"
[[links]]
id = "bus"
kind = "zeromq"
mode = "listen"
address = "0.0.0.0:0"
[links.options]
images = "0.0.0.0:0"
{keys}
[[streams]]
name = "NeedleToTracker"
link = "tracker"
kind = "pose"
period_ms = 20.0
required = true
[[tools]]
name = "Needle"
stream = "NeedleToTracker"
[[space.static]]
moving = "Tracker"
fixed = "RAS"
fixed_from_moving = [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]
[[outputs]]
kind = "guided_pose"
to = ["bus"]
[recording]
enabled = false
"""
IDENTITY = (1.0, 0, 0, 0, 1.0, 0, 0, 0, 1.0, 0, 0, 0)
POSE = b"".join(bytes(part) for part in encode(b.Transform(device_name="NeedleToTracker", columns=IDENTITY)))
KEYS = 'secret_file = "keys/service.key_secret"\nallowed_folder = "allowed"'


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Keys of a service, a reader that it allows, and a stranger."""
    for name in ("service", "reader", "stranger"):
        assert make_keys([str(tmp_path / "keys"), name]) == 0
    (tmp_path / "allowed").mkdir()
    (tmp_path / "allowed" / "reader.key").write_text((tmp_path / "keys" / "reader.key").read_text())
    return tmp_path


def write(folder: Path, keys: str) -> Path:
    file = folder / "room.toml"
    file.write_text(ROOM.format(keys=keys))
    return file


def subscriber(context: Any, folder: Path, port: str, name: str) -> Any:
    """A subscriber to everything of the room; without keys where `name` is empty."""
    socket = context.socket(zmq.SUB)
    socket.linger = 0
    if name:
        socket.curve_publickey, socket.curve_secretkey = zmq.auth.load_certificate(folder / f"keys/{name}.key_secret")
        socket.curve_serverkey, _ = zmq.auth.load_certificate(folder / "keys/service.key")
    socket.subscribe(b"room/or-1/")
    socket.connect(f"tcp://127.0.0.1:{port}")
    return socket


def test_beyond_loopback_a_bus_without_keys_is_refused(folder: Path) -> None:
    settings, _, _ = load_room(write(folder, ""))
    (fault,) = link_faults(settings)
    assert "CURVE" in fault
    assert not link_faults(load_room(write(folder, KEYS))[0])


async def test_an_allowed_key_hears_the_room_and_no_other(folder: Path) -> None:
    settings, plan, limits = load_room(write(folder, KEYS))
    context = zmq.asyncio.Context()
    try:
        async with Session(settings, plan, limits) as session:
            port = str(session.room.describe()["bus"]).rpartition(":")[2]
            outside = [subscriber(context, folder, port, name) for name in ("stranger", "")]
            reader = subscriber(context, folder, port, "reader")
            _, tracker = await asyncio.open_connection(*session.room.describe()["tracker"].split(":"))
            async with asyncio.timeout(60):
                while not await reader.poll(20):
                    tracker.write(POSE)
            topic, _ = await reader.recv_multipart()
            assert topic.startswith(b"room/or-1/guided_pose/")
            for other in outside:
                tracker.write(POSE)
                assert not await other.poll(500)
            tracker.close()
            await tracker.wait_closed()
    finally:
        context.destroy(linger=0)
