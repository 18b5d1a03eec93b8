"""A link in a crowd, on real sockets: everybody served, nobody paid for more than the caps, nothing left behind.

How fast that is stands in `guidance bench links`; here only counts and caps are judged. The long versions are in
tests/soak.
"""

import asyncio
import contextlib
import gc
import os
import socket
import struct
from typing import Any

import pytest

from devices.openigtlink import bodies as b
from devices.openigtlink import encode
from devices.openigtlink.connection import GONE, Connection
from guidance.bench.links import serve

IDENTITY = (1.0, 0, 0, 0, 1.0, 0, 0, 0, 1.0, 0, 0, 0)
TRANSFORM = b"".join(encode(b.Transform(device_name="ProbeToTracker", columns=IDENTITY)))
IMAGE = b"".join(bytes(part) for part in encode(b.Opaque(name_of_type="IMAGE", body=bytes(1_000_000))))


async def test_200_slow_and_8_fast_clients_are_served_beside_20_that_never_read() -> None:
    served = await serve(200, 8, 20, 4.0)
    report = served.report
    assert not report["ended"], "nobody who reads is cut off"
    assert served.alerts > 5
    for row in (*report["slow"], *report["full"]):
        assert row["STRING"] == served.alerts, "every alert reached everybody"
    for row in report["slow"]:
        assert row["TDATA"] >= 5
        assert row.get("IMAGE", 0) <= 1, "one may have been on its way when it asked for none"
        assert row.get("TRANSFORM", 0) <= 8
    assert all(row["TRANSFORM"] > 100 and row["IMAGE"] > 10 for row in report["full"])
    assert served.queued_bytes < 20 * 2 * 1024 * 1024, "a reader that never reads costs a few images, not all of them"
    assert served.link["more"]["refused"] == 0
    assert served.uncounted() == []


async def test_a_storm_of_connections_fills_the_room_and_no_more(
    open_link: Any, until: Any, dial: Any, alert: Any
) -> None:
    server = await open_link(max_clients=100)
    faithful = await dial(server.port)
    for storm in range(3):
        peers = await asyncio.gather(*(asyncio.open_connection("127.0.0.1", server.port) for _ in range(150)))
        await until(lambda: len(server.link.peers) == 100, "a full room")
        await until(lambda n=storm: server.link.counters.refused == (n + 1) * 51, "the refused ones, counted")
        server.link.send(alert(f"A{storm}"), urgent=True)
        while (await faithful.next()).type_name != "STRING":
            pass
        for _, writer in peers:
            writer.close()
        await asyncio.gather(*(writer.wait_closed() for _, writer in peers), return_exceptions=True)
        await until(lambda: len(server.link.peers) == 1, "the storm's end")
    assert server.link.counters.connected == 1 + 3 * 99


async def test_1000_reconnects_leave_no_task_socket_or_connection(open_link: Any, until: Any) -> None:
    server = await open_link()
    descriptors, tasks = len(os.listdir("/proc/self/fd")), len(asyncio.all_tasks())
    for turn in range(1000):
        peer = socket.create_connection(server.link.address)
        if turn % 4 == 1:
            peer.sendall(TRANSFORM + TRANSFORM[:80])
        elif turn % 4 == 2:
            peer.sendall(IMAGE[:300_000] if turn % 40 == 2 else IMAGE[:200])
        elif turn % 4 == 3:
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        peer.close()
        if turn % 10 == 0:
            await asyncio.sleep(0.001)
    await until(lambda: sum(server.link.counters.closed.values()) == 1000, "the end of all of them")
    await until(lambda: not server.link.peers, "nobody")
    del peer
    gc.collect()
    assert len(os.listdir("/proc/self/fd")) <= descriptors
    assert len(asyncio.all_tasks()) == tasks
    assert server.link.budget.used == 0
    assert not server.link.counters.peers
    assert not [thing for thing in gc.get_objects() if isinstance(thing, Connection)]
    assert server.link.counters.connected + server.link.counters.closed.get(GONE, 0) == 1000


async def test_all_peers_together_have_a_cap_on_what_is_half_received(open_link: Any, until: Any, dial: Any) -> None:
    server = await open_link(in_flight_bytes=5_000_000)
    peers = [await dial(server.port) for _ in range(12)]
    for peer in peers:
        peer.say(IMAGE[:100_000])
    await until(lambda: len(server.link.peers) == 5, "five halves fit, the other peers go")
    assert server.link.budget.used <= 5_000_000
    assert server.link.counters.rejected == 7
    assert all("bytes in flight from all peers" in reason for reason in server.gone)
    for peer in peers:
        peer.writer.close()
    await until(lambda: not server.link.peers, "nobody")
    assert server.link.budget.used == 0


async def test_all_peers_together_have_a_cap_on_what_waits_for_them(
    open_link: Any, until: Any, dial: Any, alert: Any, picture: Any
) -> None:
    cap = 8 * 1024 * 1024
    server = await open_link(in_flight_bytes=cap, write_stall_s=60.0)
    for _ in range(20):
        (await dial(server.port, limit=1024)).writer.transport.pause_reading()
    await until(lambda: len(server.link.peers) == 20, "the peers")
    for value in range(8):
        server.link.send(picture(name=f"us{value}", size=1024))
    server.link.send(alert(), urgent=True)
    row = server.link.describe()
    assert row["queued_bytes"] <= cap + 20 * 2000, "images are shed, alerts are not"
    assert row["dropped"] > 50
    await until(lambda: any("in flight" in reason for _, _, reason in server.losses), "the loss told")
    assert len(server.link.peers) == 20


@pytest.mark.parametrize("how", ["fin", "reset"])
async def test_an_end_is_seen_without_waiting_for_any_timer(
    open_link: Any, until: Any, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("devices.openigtlink.link._HOUSEKEEPING_S", 3600.0)
    server = await open_link()
    peer = socket.create_connection(server.link.address)
    await until(lambda: server.link.peers, "the peer")
    if how == "reset":
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    peer.close()
    for _ in range(6000):
        await asyncio.sleep(0)
        if not server.link.peers:
            break
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(asyncio.Event().wait(), 0.005)
    assert not server.link.peers


async def test_slow_clients_at_one_interval_share_their_bundles(
    open_link: Any, until: Any, dial: Any, pose: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    import devices.openigtlink.answers as answers

    made = 0
    bundle = answers.bundle

    def counted(*arguments: Any) -> b.Wire:
        nonlocal made
        made += 1
        return bundle(*arguments)

    monkeypatch.setattr(answers, "bundle", counted)
    server = await open_link()
    peers = [await dial(server.port) for _ in range(10)]
    for index, peer in enumerate(peers):
        interval_ms = 20 if index < 9 else 40
        answer = await peer.ask(b.Query(name_of_type="STT_TDATA", resolution=interval_ms))
        assert answer.type_name == "RTS_TDATA"
    for index in range(60):
        server.link.send(pose(f"T{index % 3}ToTracker"))
        await asyncio.sleep(0.004)
    got = [0] * 10
    for index, peer in enumerate(peers):
        with contextlib.suppress(TimeoutError):
            while True:
                assert (await asyncio.wait_for(peer.next(), 0.05)).type_name == "TDATA"
                got[index] += 1
    assert len(set(got[:9])) == 1
    assert 2 <= got[9] <= got[0]
    assert made == got[0] + got[9], "one packet an interval, however many peers"
    assert server.link.describe()["more"]["coalesced"] > 0
    await asyncio.gather(*(peer.ask(b.Query(name_of_type="STP_TDATA")) for peer in peers))
    server.link.send(pose())
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(peers[0].next(), 0.1)
