"""The Python ends of a stream for `guidance bench link`: a source that sends as fast as it may, a sink that counts.

`python -m guidance.bench.link_streams link|raw|pyigtl source|sink PORT`; both read "KIND MILLISECONDS" lines. The
source sends for so long, then a STRING (raw: nothing more); the sink then writes what came: "COUNT NS", NS from the
first message to the last. The C++ program does the same.
"""

import asyncio
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Any, cast

import numpy as np
import uvloop

from devices.clock import SystemClock
from devices.messages import AnyMessage, Text
from devices.openigtlink import OpenIGTLinkLink, OpenIGTLinkSettings, encode, to_wire
from guidance.bench.link_peers import SIZES, orders, sample

BATCH = {"transform": 32, "image": 1, "volume": 1}  # messages between two looks at the clock
SILENCE_S = 0.2  # what ends a stream that has no end of its own


class Count:
    """Messages and the time from the first to the last."""

    def __init__(self) -> None:
        self.messages = 0
        self.first_ns = self.last_ns = 0
        self.ended = asyncio.Event()

    def add(self, count: int = 1) -> None:
        """So many have come."""
        self.last_ns = time.perf_counter_ns()
        self.first_ns = self.first_ns or self.last_ns
        self.messages += count

    def tell(self) -> None:
        """Write the count and begin anew."""
        print(self.messages, self.last_ns - self.first_ns, flush=True)
        self.messages = self.first_ns = 0
        self.ended.clear()


async def obey(run: Callable[[str, float], Awaitable[None]]) -> None:
    """Do what stdin asks, line by line; seconds."""
    reader = await orders()
    while line := (await reader.readline()).decode().split():
        await run(line[0], int(line[1]) / 1000)


async def link(role: str, port: int) -> None:
    """Our link; the source waits whenever something is queued, so that nothing is shed."""
    count, up = Count(), asyncio.Event()

    def heard(message: AnyMessage) -> None:
        if isinstance(message, Text):
            count.ended.set()
        else:
            count.add()

    end = OpenIGTLinkLink(
        OpenIGTLinkSettings(id=role, mode="listen" if role == "sink" else "connect", port=port),
        clock=SystemClock(),
        on_message=heard,
        on_change=lambda *_: up.set(),
        on_loss=lambda *_: None,
    )
    await end.start()

    async def send(kind: str, seconds: float) -> None:
        message, until = sample(kind), time.perf_counter() + seconds
        while time.perf_counter() < until:
            for _ in range(BATCH[kind]):
                end.send(message)
            await asyncio.sleep(0)
            while end.describe()["queued_bytes"]:  # noqa: ASYNC110
                await asyncio.sleep(0)
        end.send(Text(name="end", text="end"))

    async def receive(kind: str, seconds: float) -> None:
        await count.ended.wait()
        count.tell()

    await up.wait() if role == "source" else None
    await obey(send if role == "source" else receive)


class RawEnd(asyncio.BufferedProtocol):
    """Counts bytes, and knows whether it may write."""

    def __init__(self, count: Count) -> None:
        self.count, self.size, self.got = count, 1, 0
        self.may_write = asyncio.Event()
        self.may_write.set()
        self.buffer = memoryview(bytearray(256 * 1024))
        self.transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def pause_writing(self) -> None:
        self.may_write.clear()

    def resume_writing(self) -> None:
        self.may_write.set()

    def get_buffer(self, sizehint: int) -> memoryview:
        return self.buffer

    def buffer_updated(self, nbytes: int) -> None:
        whole, self.got = divmod(self.got + nbytes, self.size)
        self.count.add(whole)


async def raw(role: str, port: int) -> None:
    """The same bytes with no protocol at all."""
    loop, count = asyncio.get_running_loop(), Count()
    end = RawEnd(count)
    if role == "sink":
        await loop.create_server(lambda: end, "127.0.0.1", port)
    else:
        await loop.create_connection(lambda: end, "127.0.0.1", port)

    def message_of(kind: str) -> bytes:
        (wire,) = to_wire(sample(kind), 1)
        return b"".join(bytes(part) for part in encode(wire))

    async def send(kind: str, seconds: float) -> None:
        message, until = message_of(kind), time.perf_counter() + seconds
        while time.perf_counter() < until:
            for _ in range(BATCH[kind]):
                end.transport.write(message)
            await asyncio.sleep(0)
            await end.may_write.wait()

    async def receive(kind: str, seconds: float) -> None:
        end.size, end.got = len(message_of(kind)), 0
        await asyncio.sleep(seconds)
        while time.perf_counter_ns() - count.last_ns < SILENCE_S * 1e9:  # noqa: ASYNC110
            await asyncio.sleep(0.02)
        count.tell()

    await obey(send if role == "source" else receive)


def pyigtl_end(role: str, port: int) -> None:
    """pyigtl, as its users call it; `wait` because without it next to nothing arrives."""
    import pyigtl

    server: Any = pyigtl.OpenIGTLinkServer(port=port) if role == "sink" else None
    client: Any = pyigtl.OpenIGTLinkClient("127.0.0.1", port) if role == "source" else None
    while client is not None and not client.is_connected():
        time.sleep(0.01)
    for line in sys.stdin:
        kind, milliseconds = line.split()
        if client is not None:
            pixels = np.ones(SIZES[kind], np.float32 if kind == "volume" else np.uint8)
            message = pyigtl.TransformMessage() if kind == "transform" else pyigtl.ImageMessage(pixels)
            message.device_name = kind
            until = time.perf_counter() + int(milliseconds) / 1000
            while time.perf_counter() < until:
                client.send_message(message, wait=True)
            client.send_message(pyigtl.StringMessage("end", device_name="end"), wait=True)
            continue
        count = Count()
        while not count.ended.is_set():
            for heard in server.get_latest_messages():
                if heard.device_name == "end":
                    count.ended.set()
                else:
                    count.add()
        count.tell()


def main() -> None:
    """One end, as the arguments say."""
    which, role, port = sys.argv[1], sys.argv[2], int(sys.argv[3])
    if which == "pyigtl":
        pyigtl_end(role, port)
    else:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run({"link": link, "raw": raw}[which](role, port))


if __name__ == "__main__":
    main()
