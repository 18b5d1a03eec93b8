"""What limits a pose on this machine: the way through the kernel alone, and the core after a pause.

    .venv/bin/python -m scripts.pose_floor

Relay: four messages of 106 bytes at once, from one process through another to a third on loopback, from before each is
sent until it has been read; `blocking` is a bare recv and send, `uvloop` a protocol that writes each message on. Core:
a pose of `hifu_liver` after a pause in which this thread only looked at the clock; where nothing else runs, what makes
it slow is what becomes of the processor's caches meanwhile. Medians and 99th percentiles in microseconds.
"""

import asyncio
import multiprocessing
import socket
import struct
import time
from typing import Any

import numpy as np
import uvloop

from devices.messages import Pose
from guidance.core import Core
from guidance.events import Arrival
from guidance.load import config_file, load_room
from guidance.trial import EPOCH_NS

SIZE, BURST = 106, 4
BURSTS, POSES = 600, 300
WARM = 100
PAUSES_MS = (0.0, 0.1, 0.3, 1.0, 3.0, 10.0)
_STAMP = struct.Struct("<q")


def _device(port: int, rate_hz: float) -> None:
    with socket.create_connection(("127.0.0.1", port)) as line:
        line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        due = time.monotonic()
        for _ in range(BURSTS):
            due += 1.0 / rate_hz
            time.sleep(max(due - time.monotonic(), 0.0))
            for _ in range(BURST):
                line.sendall(_STAMP.pack(time.monotonic_ns()).ljust(SIZE))
        time.sleep(0.2)


def _consumer(port: int, answer: Any) -> None:
    took: list[float] = []
    rest = b""
    with socket.create_connection(("127.0.0.1", port)) as line:
        while data := line.recv(65536):
            now_ns, rest = time.monotonic_ns(), rest + data
            while len(rest) >= SIZE:
                took.append((now_ns - _STAMP.unpack_from(rest)[0]) / 1e3)
                rest = rest[SIZE:]
    answer.put(took[WARM:])


def _blocking(device: socket.socket, consumer: socket.socket) -> None:
    while data := device.recv(65536):
        consumer.sendall(data)
    consumer.close()


class _Through(asyncio.Protocol):
    """Writes what comes on to the consumer, message by message."""

    def __init__(self, consumer: asyncio.WriteTransport, ended: "asyncio.Future[None]") -> None:
        self._consumer, self._ended = consumer, ended

    def data_received(self, data: bytes) -> None:
        for first in range(0, len(data), SIZE):
            self._consumer.write(data[first : first + SIZE])

    def connection_lost(self, exc: Exception | None) -> None:
        self._consumer.close()
        self._ended.set_result(None)


async def _looped(device: socket.socket, consumer: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    ended: asyncio.Future[None] = loop.create_future()
    out, _ = await loop.create_connection(asyncio.Protocol, sock=consumer)
    await loop.create_connection(lambda: _Through(out, ended), sock=device)
    await ended


def relay(loop: bool, rate_hz: float) -> dict[str, Any]:
    """The way of a message through this process."""
    answer: Any = multiprocessing.Queue()
    with socket.create_server(("127.0.0.1", 0)) as devices, socket.create_server(("127.0.0.1", 0)) as consumers:
        theirs = [
            multiprocessing.Process(target=_consumer, args=(consumers.getsockname()[1], answer)),
            multiprocessing.Process(target=_device, args=(devices.getsockname()[1], rate_hz)),
        ]
        for process in theirs:
            process.start()
        consumer, device = consumers.accept()[0], devices.accept()[0]
    consumer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if loop:
        uvloop.run(_looped(device, consumer))
    else:
        _blocking(device, consumer)
    took = answer.get()
    for process in theirs:
        process.join()
    return _row(f"relay, {'uvloop' if loop else 'blocking'}, {rate_hz:g} Hz", took)


def core(pause_ms: float) -> dict[str, Any]:
    """`Core.accept` of a pose, `pause_ms` after the one before."""
    settings, plan, limits = load_room(config_file("procedures", "hifu_liver"))
    room = Core(settings, plan, limits)
    stream = next(row for row in settings.streams if row.name == "Needle")
    took = []
    for number in range(POSES):
        now_ns = EPOCH_NS + 10_000_000 * number
        matrix = np.eye(4)
        matrix[0, 3] = 0.01 * number
        pose = Pose(
            name=stream.message_name, moving="Needle", fixed="Tracker", fixed_from_moving=matrix,
            device_time_ns=now_ns, receive_time_ns=now_ns, number=number,
        )  # fmt: skip
        until = time.perf_counter() + pause_ms / 1e3
        while time.perf_counter() < until:
            pass
        began_ns = time.perf_counter_ns()
        room.accept(Arrival(now_ns=now_ns, link=stream.link, message=pose))
        took.append((time.perf_counter_ns() - began_ns) / 1e3)
    return _row(f"core, {pause_ms:g} ms after the last", took[WARM:])


def _row(name: str, took_us: list[float]) -> dict[str, Any]:
    median, late = np.percentile(took_us, [50, 99])
    return {"name": name, "p50_us": round(float(median)), "p99_us": round(float(late))}


if __name__ == "__main__":
    for rate in (100.0, 2000.0):
        for through in (False, True):
            print(relay(through, rate))
    for pause in PAUSES_MS:
        print(core(pause))
