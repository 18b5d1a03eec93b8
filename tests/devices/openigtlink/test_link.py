"""The link on real sockets, on both loops: many peers, slow ones, hostile ones, and what is counted."""

import asyncio
import contextlib
import gc
import os
import socket
import struct
from typing import Any

import numpy as np
import pytest
from fastcrc import crc64

from devices.clock import VirtualClock
from devices.errors import LinkError, LocalProtocolError
from devices.messages import Alert, AlertKind, Command, Image, Priority, Text
from devices.openigtlink import Decoder, OpenIGTLinkLink, OpenIGTLinkSettings, encode
from devices.openigtlink import bodies as b
from devices.quality import Quality

IDENTITY = (1.0, 0, 0, 0, 1.0, 0, 0, 0, 1.0, 0, 0, 0)
TRANSFORM = b"".join(encode(b.Transform(device_name="ProbeToTracker", columns=IDENTITY)))


class RawPeer:
    """A plain TCP peer that does what a test tells it."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        self.decoder = Decoder()
        self.heard: list[b.Wire] = []

    def say(self, data: bytes) -> None:
        self.writer.write(data)

    async def ask(self, wire: b.Wire) -> b.Wire:
        self.say(b"".join(encode(wire)))
        return await self.next()

    async def next(self) -> b.Wire:
        async with asyncio.timeout(5):
            while not self.heard:
                data = await self.reader.read(65536)
                assert data, "the link closed this peer"
                self.heard += self.decoder.feed(data)
        return self.heard.pop(0)

    async def ended(self) -> bool:
        with contextlib.suppress(ConnectionError):
            async with asyncio.timeout(5):
                while await self.reader.read(65536):
                    pass
        return True


@pytest.fixture
async def dial() -> Any:
    """`await dial(port)` connects a raw peer; all are closed at the end."""
    peers: list[RawPeer] = []

    async def connect(port: int, **options: Any) -> RawPeer:
        peer = RawPeer(*await asyncio.open_connection("127.0.0.1", port, **options))
        peers.append(peer)
        return peer

    yield connect
    for peer in peers:
        peer.writer.close()
        with contextlib.suppress(ConnectionError):
            await peer.writer.wait_closed()


def alert(name: str = "T1.rib-4", state: str = "active") -> Alert:
    return Alert(
        name=name, room="or-1", priority=Priority.HIGH, kind=AlertKind.PHYSIOLOGICAL, state=state, text="too hot",
        reaction="STOP", advice="wait", first_ns=1,
    )  # fmt: skip


def picture(name: str = "us", size: int = 512, value: int = 0) -> Image:
    pixels = np.full((1, size, size), value, np.uint8)
    return Image(name=name, pixels=pixels, frame="RAS", frame_from_image_mm=np.eye(4))


async def test_two_links_talk_both_ways(open_link: Any, until: Any, pose: Any) -> None:
    server = await open_link()
    client = await open_link("connect", port=server.port, header_version=2)
    await until(lambda: server.link.peers and client.link.peers, "the connection")
    client.link.send(pose(quality=Quality.INVALID, number=4))
    client.link.send(pose(number=8))
    client.link.send(picture())
    await until(lambda: len(server.messages) == 3, "three messages")
    first, second, image = server.messages
    assert (first.quality, second.quality, second.number) == (Quality.INVALID, Quality.OK, 8)
    assert first.receive_time_ns > 0
    assert image.pixels.shape == (1, 512, 512)
    assert server.link.counters.gaps == 3
    (peer,) = server.link.counters.peers.values()
    assert peer.streams["StylusToTracker"].received == 2
    assert peer.streams["us"].bytes > 512 * 512
    server.link.send(pose(quality=Quality.MISSING))  # the client has spoken version 2, so it can be told
    await until(lambda: client.messages, "an answer")
    assert client.messages[0].quality is Quality.MISSING
    assert server.link.counters.as_dict()["sent"] == 1


async def test_receive_times_come_from_the_injected_clock(until: Any, pose: Any) -> None:
    heard: list[Any] = []
    settings = OpenIGTLinkSettings(id="x", mode="listen", port=0)
    link = OpenIGTLinkLink(
        settings, clock=VirtualClock(42), on_message=heard.append, on_change=lambda *_: None, on_loss=lambda *_: None
    )
    await link.start()
    reader, writer = await asyncio.open_connection(*link.address)
    writer.write(TRANSFORM)
    await until(lambda: heard, "a pose")
    assert heard[0].receive_time_ns == 42
    writer.close()
    await writer.wait_closed()
    await link.stop()


async def test_a_header_split_with_pauses_at_each_place(open_link: Any, until: Any, dial: Any) -> None:
    server = await open_link()
    for split in range(1, 58):
        peer = await dial(server.port)
        peer.say(TRANSFORM[:split])
        await asyncio.sleep(0.002)
        peer.say(TRANSFORM[split:])
    await until(lambda: len(server.messages) == 57, "57 poses")
    assert not server.losses


async def test_single_bytes_and_a_flood(open_link: Any, until: Any, dial: Any) -> None:
    server = await open_link()
    peer = await dial(server.port)
    for byte in TRANSFORM:
        peer.say(bytes((byte,)))
        await peer.writer.drain()
    peer.say(TRANSFORM * 5000)
    await until(lambda: len(server.messages) == 5001, "5001 poses")


BAD: dict[str, bytes] = {
    "http": b"GET / HTTP/1.1\r\nHost: x\r\nUser-Agent: something long enough to be a header\r\n\r\n",
    "wrong crc": TRANSFORM[:50] + bytes(8) + TRANSFORM[58:],
    "hostile size": TRANSFORM[:42] + b"\xff" * 8 + TRANSFORM[50:],
    "NaN": b"".join(TRANSFORM[:50] + struct.pack(">Q", crc64.ecma_182(c)) + c for c in [struct.pack(">12f", *[np.nan] * 12)]),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
async def test_a_peer_that_breaks_the_protocol_is_closed_and_nothing_else_stops(
    open_link: Any, until: Any, dial: Any, name: str
) -> None:
    server = await open_link()
    good, bad = await dial(server.port), await dial(server.port)
    bad.say(TRANSFORM + BAD[name] + TRANSFORM)
    assert await bad.ended()
    good.say(TRANSFORM)
    await until(lambda: len(server.messages) == 2, "the pose before the fault and that of the other peer")
    assert server.link.counters.rejected == 1
    assert len(server.link.peers) == 1
    assert [reason for reason in server.gone if "broke the protocol" in reason]
    ((_, count, reason),) = server.losses
    assert count == 1
    assert "rejected" in reason


async def test_fin_and_reset_are_seen_at_once(open_link: Any, until: Any, dial: Any) -> None:
    server = await open_link()
    for how in ("fin", "reset"):
        peer = await dial(server.port)
        await until(lambda: len(server.link.peers) == 1, "the peer")
        if how == "reset":
            sock = peer.writer.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            peer.writer.transport.abort()
        else:
            peer.writer.close()
        await until(lambda: not server.link.peers, f"its {how}", 1.0)
    assert len(server.gone) == 2


async def test_a_slow_drip_ends_at_the_total_deadline(open_link: Any, until: Any, dial: Any) -> None:
    server = await open_link(message_deadline_s=0.3)
    peer = await dial(server.port)
    for byte in TRANSFORM:
        if server.gone:
            break
        peer.say(bytes((byte,)))
        await asyncio.sleep(0.02)
    assert "not complete within 0.3 s" in server.gone[0]
    assert not server.messages


async def test_silence_is_seen_where_it_is_asked_for(open_link: Any, until: Any, dial: Any) -> None:
    server = await open_link(idle_limit_s=0.2)
    await dial(server.port)
    await until(lambda: server.gone, "the end of a silent peer", 2.0)
    assert "sent nothing for 0.2 s" in server.gone[0]


async def test_a_loop_that_stood_still_blames_no_peer(open_link: Any, until: Any, dial: Any) -> None:
    server = await open_link(idle_limit_s=0.3, message_deadline_s=0.3)
    peer = await dial(server.port)
    peer.say(TRANSFORM[:70])
    await until(lambda: server.link.peers, "the peer")
    await asyncio.sleep(0.1)
    import time

    time.sleep(0.6)  # noqa: ASYNC251 - the service itself is stuck
    await asyncio.sleep(0.06)
    assert not server.gone
    peer.say(TRANSFORM[70:])
    await until(lambda: server.messages, "the pose")


async def test_a_reader_that_never_reads_costs_its_queue_and_delays_nobody(
    open_link: Any, until: Any, dial: Any
) -> None:
    server = await open_link(write_stall_s=60.0)
    stuck = [await dial(server.port, limit=1024) for _ in range(5)]
    live = await dial(server.port)
    await until(lambda: len(server.link.peers) == 6, "six peers")
    for peer in stuck:
        peer.writer.transport.pause_reading()
    heard = 0
    for value in range(60):
        server.link.send(picture(size=1024, value=value))
        while not isinstance(await live.next(), b.ImageData):
            pass
        heard += 1
    server.link.send(alert(), urgent=True)
    assert (await live.next()).type_name == "STATUS"
    assert heard == 60
    for connection in server.link._connections:
        assert connection.queued_bytes < 3 * 1024 * 1024
    assert server.link.counters.dropped >= 5 * 40
    await until(lambda: server.losses, "a report of what was dropped", 3.0)
    assert "slow peer" in server.losses[0][2]


async def test_an_urgent_message_overtakes_what_waits(open_link: Any, until: Any, dial: Any) -> None:
    server = await open_link(write_stall_s=60.0)
    peer = await dial(server.port, limit=1024)
    await until(lambda: server.link.peers, "the peer")
    peer.writer.transport.pause_reading()
    for index in range(200):
        server.link.send(picture(name=f"us{index % 8}", size=1024))
        server.link.send(Text(name="note", text=str(index)))
    server.link.send(alert(), urgent=True)
    peer.writer.transport.resume_reading()
    order = []
    while len(order) < 3000 and "STATUS" not in order:
        order.append((await peer.next()).type_name)
    images, texts = order.count("IMAGE"), order.count("STRING")
    assert texts < 150, "the alert must not wait behind the texts"
    while texts < 201:  # every text, and the alert's own
        wire = await peer.next()
        texts += wire.type_name == "STRING"
        images += wire.type_name == "IMAGE"
    assert images < 60, "of images only the newest of each stream"


async def test_texts_are_never_dropped_silently_a_full_queue_ends_the_peer(
    open_link: Any, until: Any, dial: Any
) -> None:
    server = await open_link(queue_bytes=1_000_000, write_stall_s=60.0)
    peer = await dial(server.port, limit=1024)
    await until(lambda: server.link.peers, "the peer")
    peer.writer.transport.pause_reading()
    for _ in range(400):
        server.link.send(Text(name="note", text="x" * 50_000))
    await until(lambda: server.gone, "the end of the peer")
    assert "send queue over 1000000 bytes" in server.gone[0]
    await until(lambda: server.losses, "a report", 3.0)


async def test_a_peer_that_stops_reading_is_closed_after_the_stall_limit(open_link: Any, until: Any, dial: Any) -> None:
    server = await open_link(write_stall_s=0.4)
    peer = await dial(server.port, limit=1024)
    await until(lambda: server.link.peers, "the peer")
    peer.writer.transport.pause_reading()
    for _ in range(40):
        server.link.send(picture(size=1024))
    await until(lambda: server.gone, "the end of the stalled peer", 3.0)
    assert "read nothing for 0.4 s" in server.gone[0]


async def test_more_peers_than_allowed_are_refused_and_counted(open_link: Any, until: Any, dial: Any) -> None:
    server = await open_link(max_clients=3)
    for _ in range(3):
        await dial(server.port)
    await until(lambda: len(server.link.peers) == 3, "three peers")
    fourth = await dial(server.port)
    assert await fourth.ended()
    assert server.link.counters.refused == 1
    assert len(server.link.peers) == 3


async def test_more_device_names_than_allowed_end_the_peer(open_link: Any, until: Any, dial: Any) -> None:
    server = await open_link()
    peer = await dial(server.port)
    for index in range(65):
        peer.say(b"".join(encode(b.Transform(device_name=f"tool{index}", columns=IDENTITY))))
    await until(lambda: server.gone, "the end of the peer")
    assert len(server.messages) == 64
    assert "more than 64 device names" in server.gone[0]


async def test_200_clients_get_every_text(open_link: Any, until: Any) -> None:
    server = await open_link()
    heard = 0

    async def client() -> None:
        nonlocal heard
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        decoder = Decoder()
        count = 0
        while count < 5:
            count += len(decoder.feed(await reader.read(65536)))
        heard += count
        writer.close()
        await writer.wait_closed()

    tasks = [asyncio.create_task(client()) for _ in range(200)]
    await until(lambda: len(server.link.peers) == 200, "200 clients", 20.0)
    for index in range(5):
        server.link.send(Text(name="note", text=str(index)))
        await asyncio.sleep(0.01)
    await asyncio.gather(*tasks)
    assert heard == 1000


async def test_reconnects_leak_nothing(open_link: Any, until: Any) -> None:
    server = await open_link()
    base = len(os.listdir("/proc/self/fd"))
    tasks = len(asyncio.all_tasks())
    for _ in range(200):
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(TRANSFORM + TRANSFORM[:80])
        writer.close()
        await writer.wait_closed()
    await until(lambda: len(server.messages) == 200 and not server.link.peers, "200 poses and no peers")
    gc.collect()
    assert len(os.listdir("/proc/self/fd")) <= base + 1
    assert len(asyncio.all_tasks()) == tasks
    assert server.link.budget.used == 0
    assert not server.link.counters.peers


async def test_a_device_that_comes_back_is_found_again(open_link: Any, until: Any, pose: Any) -> None:
    first = await open_link()
    port = first.port
    client = await open_link("connect", port=port, backoff_most_s=0.2)
    await until(lambda: client.link.peers, "the first connection")
    await first.link.stop()
    await until(lambda: len(client.gone) >= 2, "the loss and one failed attempt")
    assert "closed by the peer" in client.gone[0]
    assert "cannot connect" in client.gone[1]
    second = await open_link(port=port)
    await until(lambda: client.link.peers, "the second connection", 3.0)
    second.link.send(pose())
    await until(lambda: client.messages, "a pose")
    assert len(client.gone) == 2, "the same failure is told once, not at every attempt"


async def test_reconnection_can_be_switched_off(open_link: Any, until: Any) -> None:
    server = await open_link()
    client = await open_link("connect", port=server.port, reconnect=False)
    await until(lambda: client.link.peers, "the connection")
    await server.link.stop()
    await until(lambda: client.gone, "the loss")
    again = await open_link(port=server.port)
    await asyncio.sleep(0.5)
    assert not again.changes
    assert not client.link.peers


async def test_a_port_in_use_is_a_link_error(open_link: Any) -> None:
    server = await open_link()
    with pytest.raises(LinkError, match=f"cannot listen on 127.0.0.1:{server.port}"):
        await open_link(port=server.port)


# --- queries


async def test_get_answers_with_the_last_of_what_was_sent(open_link: Any, dial: Any, pose: Any) -> None:
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


async def test_what_there_is_can_be_asked(open_link: Any, dial: Any, pose: Any) -> None:
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
    open_link: Any, dial: Any, pose: Any, until: Any
) -> None:
    server = await open_link(push=False)
    peer = await dial(server.port)
    quiet = await peer.ask(b.Query(name_of_type="STT_IMAGE", resolution=2**32 // 5))
    assert (quiet.type_name, quiet.status) == ("RTS_IMAGE", 0)
    assert (await peer.ask(b.Query(name_of_type="STT_POLYDATA"))).status == 1, "there is no such stream here"
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


async def test_alerts_that_stand_are_told_to_who_comes_late(open_link: Any, dial: Any) -> None:
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
    await until(lambda: any("TLS" in reason for *_, reason in server.losses), "the loss of our own", 3.0)


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
    reader, writer = await asyncio.open_connection(*link.address)
    writer.write(TRANSFORM)
    await until(lambda: len(reasons) == 2, "the end of the peer")
    assert "the room is broken" in reasons[1]
    second_reader, second = await asyncio.open_connection(*link.address)
    await until(lambda: len(reasons) == 3, "another peer")
    assert handled
    for w in (writer, second):
        w.close()
        with contextlib.suppress(ConnectionError):
            await w.wait_closed()
    await link.stop()
