"""The link on real sockets, on both loops: many peers, slow ones, hostile ones, and what is counted."""

import asyncio
import gc
import os
import socket
import struct
from typing import Any

import pytest

from devices.clock import VirtualClock
from devices.errors import LinkError
from devices.messages import Text
from devices.openigtlink import Decoder, OpenIGTLinkLink, OpenIGTLinkSettings, encode
from devices.openigtlink import bodies as b
from devices.quality import Quality

IDENTITY = (1.0, 0, 0, 0, 1.0, 0, 0, 0, 1.0, 0, 0, 0)
TRANSFORM = b"".join(encode(b.Transform(device_name="ProbeToTracker", columns=IDENTITY)))


async def test_two_links_talk_both_ways(open_link: Any, until: Any, pose: Any, picture: Any) -> None:
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
    _reader, writer = await asyncio.open_connection(*link.address)
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
    "size of a pose": b"".join(encode(b.Opaque(name_of_type="TRANSFORM", body=bytes(47)))),
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
    await until(lambda: server.gone, "the end of a silent peer")
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
    open_link: Any, until: Any, dial: Any, alert: Any, picture: Any
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
    await until(lambda: server.losses, "a report of what was dropped")
    assert "slow peer" in server.losses[0][2]


async def test_an_urgent_message_overtakes_what_waits(
    open_link: Any, until: Any, dial: Any, alert: Any, picture: Any
) -> None:
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
    await until(lambda: server.losses, "a report")


async def test_a_peer_that_stops_reading_is_closed_after_the_stall_limit(
    open_link: Any, until: Any, dial: Any, picture: Any
) -> None:
    server = await open_link(write_stall_s=0.4)
    peer = await dial(server.port, limit=1024)
    await until(lambda: server.link.peers, "the peer")
    peer.writer.transport.pause_reading()
    for _ in range(40):
        server.link.send(picture(size=1024))
    await until(lambda: server.gone, "the end of the stalled peer")
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
    await until(lambda: len(server.link.peers) == 200, "200 clients")
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
        _reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
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
    await until(lambda: client.link.peers, "the second connection")
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
