"""Questions to the link, who may ask them, and what does not travel in the open."""

import asyncio
import contextlib
from typing import Any

import numpy as np
import pytest

from devices.clock import VirtualClock
from devices.errors import LocalProtocolError
from devices.messages import Command, Text
from devices.openigtlink import OpenIGTLinkLink, OpenIGTLinkSettings, encode
from devices.openigtlink import bodies as b
from devices.quality import Quality

IDENTITY = (1.0, 0, 0, 0, 1.0, 0, 0, 0, 1.0, 0, 0, 0)
TRANSFORM = b"".join(encode(b.Transform(device_name="ProbeToTracker", columns=IDENTITY)))


# --- queries


async def test_get_answers_with_the_last_of_what_was_sent(open_link: Any, dial: Any, pose: Any, picture: Any) -> None:
    server = await open_link(push=False)
    peer = await dial(server.port)
    none = await peer.ask(b.Query(name_of_type="GET_TRANS", device_name="StylusToTracker"))
    assert (none.type_name, none.code) == ("STATUS", 4)
    assert isinstance(await peer.ask(b.Query(name_of_type="GET_IMAGE")), b.NoData)
    for x in (1.0, 2.0):
        moved = np.eye(4)
        moved[0, 3] = x
        server.link.send(pose(fixed_from_moving=moved))
        server.link.send(pose("ProbeToTracker"))
    got = await peer.ask(b.Query(name_of_type="GET_TRANS", device_name="StylusToTracker"))
    assert (got.device_name, got.matrix[0, 3]) == ("StylusToTracker", 2.0)
    other = await peer.ask(b.Query(name_of_type="GET_TRANS", device_name="NobodyToTracker"))
    assert other.type_name == "STATUS", "another tool's pose is never an answer"
    server.link.send(picture("us", 8))
    assert (await peer.ask(b.Query(name_of_type="GET_IMAGE"))).device_name == "us"


async def test_what_there_is_can_be_asked(open_link: Any, dial: Any, pose: Any, picture: Any) -> None:
    server = await open_link(push=False)
    peer = await dial(server.port)
    server.link.send(pose())
    server.link.send(pose("ProbeToTracker", quality=Quality.INVALID))
    server.link.send(picture("us", 8))
    capability = await peer.ask(b.Query(name_of_type="GET_CAPABIL"))
    assert {"TRANSFORM", "IMAGE", "GET_TDATA", "STT_TDATA"} <= set(capability.types)
    listed = await peer.ask(b.Query(name_of_type="GET_IMGMETA", device_name="Client"))
    assert [(e.device_name, e.size, e.scalar_type) for e in listed.elements] == [("us", (8, 8, 1), 3)]
    tools = await peer.ask(b.Query(name_of_type="GET_TDATA"))
    assert [e.name for e in tools.elements] == ["StylusToTracker"], "a tool that is INVALID cannot be told in version 1"
    bound = await peer.ask(
        b.Query(name_of_type="GET_BIND", entries=(("IMAGE", "us"), ("TRANSFORM", "StylusToTracker")))
    )
    assert [(c.type_name, c.name) for c in bound.children] == [("IMAGE", "us"), ("TRANSFORM", "StylusToTracker")]
    answer = await peer.ask(b.CommandData(command_id=9, name="DEVICES", header_version=2, metadata=()))
    assert (answer.type_name, answer.command_id) == ("RTS_COMMAND", 9)
    assert "ProbeToTracker" in answer.text
    tools = await peer.ask(b.Query(name_of_type="GET_TDATA", header_version=2, metadata=()))
    assert tools.tags["ProbeToTrackerStatus"] == "INVALID", "version 2 can be told"
    assert not server.messages, "questions to the link never reach the room"


async def test_stt_sends_bundles_at_the_resolution_asked(open_link: Any, dial: Any, pose: Any, until: Any) -> None:
    server = await open_link()
    peer = await dial(server.port)
    heard = await peer.ask(b.Query(name_of_type="STT_TDATA", resolution=100, coordinates="Patient"))
    assert (heard.type_name, heard.status) == ("RTS_TDATA", 0)
    loop = asyncio.get_running_loop()
    began = loop.time()
    while loop.time() - began < 0.55:
        server.link.send(pose())
        server.link.send(pose("ProbeToTracker"))
        await asyncio.sleep(0.01)
    stopped = b"".join(encode(b.Query(name_of_type="STP_TDATA")))
    peer.say(stopped)
    bundles = 0
    while (wire := await peer.next()).type_name == "TDATA":
        bundles += 1
        assert [e.name for e in wire.elements] == ["StylusToTracker", "ProbeToTracker"]
    assert wire.type_name == "RTS_TDATA"
    assert 3 <= bundles <= 7
    server.link.send(pose())
    server.link.send(Text(name="end", text="end"))
    assert (await peer.next()).device_name == "end", "after STP_ no poses come"


async def test_stt_image_thins_and_without_push_only_what_is_asked_comes(
    open_link: Any, dial: Any, pose: Any, until: Any, alert: Any, picture: Any
) -> None:
    server = await open_link(push=False)
    peer = await dial(server.port)
    quiet = await peer.ask(b.Query(name_of_type="STT_IMAGE", resolution=2**32 // 5))
    assert (quiet.type_name, quiet.status) == ("RTS_IMAGE", 0)
    assert (await peer.ask(b.Query(name_of_type="STT_NDARRAY"))).status == 1, "there is no such stream here"
    for _ in range(30):
        server.link.send(picture(size=8))
        server.link.send(pose())
        await asyncio.sleep(0.01)
    server.link.send(alert(), urgent=True)
    types = []
    while "STRING" not in types:
        types.append((await peer.next()).type_name)
    assert "TRANSFORM" not in types
    assert 1 <= types.count("IMAGE") <= 3
    assert "STATUS" in types, "alerts come unasked"


async def test_alerts_that_stand_are_told_to_who_comes_late(open_link: Any, dial: Any, alert: Any) -> None:
    server = await open_link()
    server.link.send(alert("K1.stylus"), urgent=True)
    server.link.send(alert("T1.rib-4"), urgent=True)
    server.link.send(alert("K1.stylus", "cleared"), urgent=True)
    peer = await dial(server.port)
    status, text = await peer.next(), await peer.next()
    assert (status.device_name, text.device_name) == ("T1.rib-4", "Alert")
    server.link.send(Text(name="end", text="end"))
    assert (await peer.next()).device_name == "end"


async def test_version_1_peers_get_no_pose_that_is_not_ok(open_link: Any, dial: Any, pose: Any, until: Any) -> None:
    server = await open_link()
    peer = await dial(server.port)
    await until(lambda: server.link.peers, "the peer")
    server.link.send(pose(quality=Quality.INVALID))
    server.link.send(pose("ProbeToTracker"))
    assert (await peer.next()).device_name == "ProbeToTracker"
    assert server.link.counters.withheld == 1


async def test_a_device_is_asked_at_every_connection(open_link: Any, until: Any, pose: Any) -> None:
    device = await open_link(push=False)
    await open_link("connect", port=device.port, ask=("STT_TDATA", "STT_IMAGE", "GET_STATUS"), ask_interval_ms=5)
    client = await open_link("connect", port=device.port, ask=("STT_TRANS",))
    await until(lambda: len(device.link.peers) == 2, "both")
    await until(lambda: device.link.counters.received == 4, "four questions")
    device.link.send(pose())
    await until(lambda: client.messages, "a pose where poses were asked for")
    assert device.link.counters.rejected == 0
    with pytest.raises(LocalProtocolError, match="no such questions"):
        OpenIGTLinkSettings(id="x", mode="connect", ask=("GET_LUNCH",))


# --- settings and security


def test_listening_to_everyone_is_refused() -> None:
    with pytest.raises(LocalProtocolError, match="allowed_peers"):
        OpenIGTLinkSettings(id="x", mode="listen", host="0.0.0.0")
    settings = OpenIGTLinkSettings(id="x", mode="listen", host="0.0.0.0", allowed_peers=("10.1.0.0/16",))
    assert settings.allows("10.1.2.3")
    assert not settings.allows("10.2.0.1")
    assert not settings.carries_commands
    assert OpenIGTLinkSettings(id="x", mode="connect", host="localhost").carries_commands


async def test_addresses_that_are_not_allowed_are_turned_away(open_link: Any, dial: Any) -> None:
    server = await open_link(host="0.0.0.0", allowed_peers=("10.0.0.0/8",))
    peer = await dial(server.port)
    assert await peer.ended()
    assert server.link.counters.refused == 1


async def test_commands_do_not_travel_in_the_open(open_link: Any, dial: Any, until: Any) -> None:
    server = await open_link(host="0.0.0.0", allowed_peers=("127.0.0.0/8",))
    peer = await dial(server.port)
    await until(lambda: server.link.peers, "the peer")
    server.link.send(Command(name="dev", command_id=1, verb="STOP"), urgent=True)
    peer.say(b"".join(encode(b.CommandData(command_id=1, name="POWER"))))
    assert await peer.ended()
    assert not server.messages
    await until(lambda: any("TLS" in reason for *_, reason in server.losses), "the loss of our own")


async def test_a_fault_in_the_room_ends_the_peer_with_its_reason_and_not_the_link(until: Any) -> None:
    reasons: list[str] = []
    handled: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: handled.append(context))

    def broken(message: Any) -> None:
        raise RuntimeError("the room is broken")

    link = OpenIGTLinkLink(
        OpenIGTLinkSettings(id="x", mode="listen", port=0), clock=VirtualClock(), on_message=broken,
        on_change=lambda up, peer, reason: reasons.append(reason), on_loss=lambda *_: None,
    )  # fmt: skip
    await link.start()
    _reader, writer = await asyncio.open_connection(*link.address)
    writer.write(TRANSFORM)
    await until(lambda: len(reasons) == 2, "the end of the peer")
    assert "the room is broken" in reasons[1]
    _second_reader, second = await asyncio.open_connection(*link.address)
    await until(lambda: len(reasons) == 3, "another peer")
    assert handled
    for w in (writer, second):
        w.close()
        with contextlib.suppress(ConnectionError):
            await w.wait_closed()
    await link.stop()
