"""The Python ends of `guidance bench link`: an echo and a ping each of our link, our codec, a raw socket and pyigtl.

`python -m guidance.bench.link_peers link|codec|raw|pyigtl echo|ping PORT`; ping reads "KIND COUNT" lines and
writes the COUNT round trips in ns on one line, as the C++ program does. The ends of a stream stand in link_streams.
"""

import asyncio
import socket
import sys
import time
from collections.abc import Callable
from typing import cast

import numpy as np
import uvloop

from devices.clock import SystemClock
from devices.messages import AnyMessage, Image, Pose
from devices.openigtlink import Decoder, OpenIGTLinkLink, OpenIGTLinkSettings, encode, to_wire
from devices.openigtlink.bodies import Wire
from devices.openigtlink.connection import SEND_BUFFER_BYTES

SIZES = {"transform": (1, 1, 1), "image": (1, 512, 512), "volume": (5, 256, 256)}


def sample(kind: str) -> AnyMessage:
    """The message of one size."""
    if kind == "transform":
        return Pose(name="ProbeToTracker", moving="Probe", fixed="Tracker", fixed_from_moving=np.eye(4))
    pixels = np.ones(SIZES[kind], np.float32 if kind == "volume" else np.uint8)  # zeros would be no memory at all
    return Image(name="ProbeToTracker", pixels=pixels, frame="RAS", frame_from_image_mm=np.eye(4))


class Trips:
    """Counts round trips: call `arrived` for each answer; it sends again until the count is full."""

    def __init__(self, send: Callable[[], None]) -> None:
        self._send = send
        self._trips: list[int] = []
        self._left = 0
        self._began = 0
        self._done: asyncio.Future[list[int]] | None = None

    async def run(self, count: int) -> list[int]:
        """`count` round trips, ns each."""
        self._trips, self._left = [], count
        self._done = asyncio.get_running_loop().create_future()
        self._go()
        return await self._done

    def _go(self) -> None:
        self._began = time.perf_counter_ns()
        self._send()

    def arrived(self) -> None:
        """An answer has come."""
        self._trips.append(time.perf_counter_ns() - self._began)
        self._left -= 1
        if self._left:
            self._go()
        elif self._done is not None:
            self._done.set_result(self._trips)


async def orders() -> "asyncio.StreamReader":
    """Lines from stdin."""
    reader = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    return reader


async def obey(run: Callable[[str, int], "asyncio.Future[list[int]] | object"]) -> None:
    """Do what stdin asks, line by line."""
    reader = await orders()
    while line := (await reader.readline()).decode().split():
        trips = await run(line[0], int(line[1]))  # type: ignore[misc]
        print(*trips, flush=True)


async def link_end(role: str, port: int) -> None:
    """Our link, translation to the room's messages and back included."""
    settings = OpenIGTLinkSettings(id=role, mode="listen" if role == "echo" else "connect", port=port)
    message = sample("transform")
    trips = Trips(lambda: link.send(message))
    up = asyncio.Event()

    def heard(answer: AnyMessage) -> None:
        if role == "echo":
            link.send(answer)
        else:
            trips.arrived()

    link = OpenIGTLinkLink(
        settings,
        clock=SystemClock(),
        on_message=heard,
        on_change=lambda *_: up.set(),
        on_loss=lambda *_: None,
    )
    await link.start()
    if role == "echo":
        await asyncio.Event().wait()

    async def run(kind: str, count: int) -> list[int]:
        nonlocal message
        message = sample(kind)
        return await trips.run(count)

    await up.wait()
    await obey(run)


class CodecEnd(asyncio.BufferedProtocol):
    """The codec alone on a socket: decode, check, encode, send; no translation, no queues."""

    def __init__(self) -> None:
        self.decoder = Decoder()
        self.message: Wire | None = None
        self.trips = Trips(lambda: self._send(self.message))
        self.transport: asyncio.Transport

    def _send(self, wire: Wire | None) -> None:
        assert wire is not None
        self.transport.writelines(encode(wire))

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.transport.set_write_buffer_limits(high=0)
        sock = transport.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)

    def get_buffer(self, sizehint: int) -> memoryview:
        return self.decoder.buffer()

    def buffer_updated(self, nbytes: int) -> None:
        for wire in self.decoder.advance(nbytes):
            if self.message is None:
                self._send(wire)
            else:
                self.trips.arrived()


async def codec(role: str, port: int) -> None:
    """The codec at both ends."""
    loop = asyncio.get_running_loop()
    if role == "echo":
        server = await loop.create_server(CodecEnd, "127.0.0.1", port)
        await server.serve_forever()
    _, end = await loop.create_connection(CodecEnd, "127.0.0.1", port)

    async def run(kind: str, count: int) -> list[int]:
        (end.message,) = to_wire(sample(kind), 1)
        return await end.trips.run(count)

    await obey(run)


class RawEnd(asyncio.BufferedProtocol):
    """Bytes back as they come, or a round trip as soon as all bytes are back."""

    def __init__(self) -> None:
        self.buffer = bytearray(4 * 1024 * 1024)
        self.message: list[bytes] | None = None
        self.size = 0
        self.got = 0
        self.trips = Trips(self._send)
        self.transport: asyncio.Transport

    def _send(self) -> None:
        assert self.message is not None
        self.transport.writelines(self.message)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def get_buffer(self, sizehint: int) -> memoryview:
        return memoryview(self.buffer)[self.got :]

    def buffer_updated(self, nbytes: int) -> None:
        if self.message is None:
            self.transport.write(self.buffer[:nbytes])
            return
        self.got += nbytes
        if self.got == self.size:
            self.got = 0
            self.trips.arrived()


async def raw(role: str, port: int) -> None:
    """The same bytes over the same loop with no protocol at all."""
    loop = asyncio.get_running_loop()
    if role == "echo":
        server = await loop.create_server(RawEnd, "127.0.0.1", port)
        await server.serve_forever()
    _, end = await loop.create_connection(RawEnd, "127.0.0.1", port)

    async def run(kind: str, count: int) -> list[int]:
        (wire,) = to_wire(sample(kind), 1)
        end.message = [bytes(part) for part in encode(wire)]
        end.size = sum(map(len, end.message))
        return await end.trips.run(count)

    await obey(run)


def pyigtl_end(role: str, port: int) -> None:
    """pyigtl at both ends, as its users call it."""
    import pyigtl

    if role == "echo":
        server = pyigtl.OpenIGTLinkServer(port=port)
        while True:
            for message in server.get_latest_messages():
                server.send_message(message, wait=True)
    client = pyigtl.OpenIGTLinkClient("127.0.0.1", port)
    while not client.is_connected():
        time.sleep(0.01)
    for line in sys.stdin:
        kind, count = line.split()
        message = pyigtl.TransformMessage(device_name=kind)
        if kind != "transform":
            pixels = np.zeros(SIZES[kind], np.float32 if kind == "volume" else np.uint8)
            message = pyigtl.ImageMessage(pixels, device_name=kind)
        trips = []
        for _ in range(int(count)):
            began = time.perf_counter_ns()
            client.send_message(message, wait=True)
            client.wait_for_message(kind, timeout=5)
            trips.append(time.perf_counter_ns() - began)
        print(*trips, flush=True)


def main() -> None:
    """One end, as the arguments say."""
    which, role, port = sys.argv[1], sys.argv[2], int(sys.argv[3])
    if which == "pyigtl":
        pyigtl_end(role, port)
    else:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run({"link": link_end, "codec": codec, "raw": raw}[which](role, port))


if __name__ == "__main__":
    main()
