"""A TCP proxy on loopback that spoils one direction on demand: drop, delay, truncate, flip, split, stall, reset, ..."""

import asyncio
import contextlib
import socket
import struct
from collections.abc import Awaitable, Callable

import numpy as np

CHUNK = 65536
LINGER_RESET = struct.pack("ii", 1, 0)  # close() sends RST
# (proxy, bytes, who gets them) -> bytes to pass on; None = end the connection
Spoil = Callable[["Proxy", bytes, asyncio.StreamWriter], Awaitable[bytes | None]]


async def _drop(proxy: "Proxy", data: bytes, to: asyncio.StreamWriter) -> bytes | None:
    return b"" if proxy.rng.random() < 0.3 else data


async def _delay(proxy: "Proxy", data: bytes, to: asyncio.StreamWriter) -> bytes | None:
    await asyncio.sleep(float(proxy.rng.uniform(0.02, 0.3)))
    return data


async def _truncate(proxy: "Proxy", data: bytes, to: asyncio.StreamWriter) -> bytes | None:
    return data[: int(proxy.rng.integers(0, len(data)))]


async def _flip(proxy: "Proxy", data: bytes, to: asyncio.StreamWriter) -> bytes | None:
    at = int(proxy.rng.integers(len(data)))
    return data[:at] + bytes([data[at] ^ (1 << int(proxy.rng.integers(8)))]) + data[at + 1 :]


async def _split(proxy: "Proxy", data: bytes, to: asyncio.StreamWriter) -> bytes | None:
    """The same bytes one by one at first, then in small pieces."""
    for at in range(min(len(data), 60)):
        to.write(data[at : at + 1])
        await to.drain()
        await asyncio.sleep(0)
    return data[60:]


async def _stall(proxy: "Proxy", data: bytes, to: asyncio.StreamWriter) -> bytes | None:
    await proxy.sound.wait()
    return data


async def _hold_open(proxy: "Proxy", data: bytes, to: asyncio.StreamWriter) -> bytes | None:
    """Half-open: everything is swallowed and nothing is said."""
    return b""


async def _finish(proxy: "Proxy", data: bytes, to: asyncio.StreamWriter) -> bytes | None:
    return None


async def _reset(proxy: "Proxy", data: bytes, to: asyncio.StreamWriter) -> bytes | None:
    proxy.reset()
    return None


async def _flood(proxy: "Proxy", data: bytes, to: asyncio.StreamWriter) -> bytes | None:
    return proxy.rng.bytes(CHUNK)


SPOILS: dict[str, Spoil] = {
    "drop": _drop,
    "delay": _delay,
    "truncate": _truncate,
    "flip": _flip,
    "split": _split,
    "stall": _stall,
    "half-open": _hold_open,
    "finish": _finish,
    "reset": _reset,
    "flood": _flood,
}


class Proxy:
    """One listening address before one device. `kind` "" = sound."""

    def __init__(self, host: str, port: int) -> None:
        self.rng = np.random.default_rng(0)
        self.sound = asyncio.Event()
        self.sound.set()
        self.kind = ""
        self.heard: Callable[[bytes], None] = lambda data: None  # sees what the service says, when it has come
        self.upstream_too = False  # what the service says is spoiled as well
        self.address = ""
        self._target = (host, port)
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._service: asyncio.StreamWriter | None = None
        self._ends: set[asyncio.StreamWriter] = set()

    async def start(self) -> str:
        """Listen on a free port of loopback; the address."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        host, port = self._server.sockets[0].getsockname()[:2]
        self.address = f"{host}:{port}"
        return self.address

    async def stop(self) -> None:
        """Close everything."""
        if self._server is not None:
            self._server.close()
        for end in list(self._ends):
            end.close()  # each connection ends by itself then
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=1.0)

    def spoil(self, kind: str, rng: np.random.Generator, upstream_too: bool) -> None:
        """From now on the fault is on; `mend` ends it."""
        self.kind, self.rng, self.upstream_too = kind, rng, upstream_too
        self.sound.clear()

    def mend(self) -> None:
        """Sound again."""
        self.kind = ""
        self.sound.set()

    def reset(self) -> None:
        """End the service's connection by RST."""
        if self._service is not None:
            raw = self._service.get_extra_info("socket")
            if raw is not None:
                raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_RESET)

    async def pass_on(self, data: bytes) -> None:
        """To the service, at once."""
        if self._service is not None and data:
            self._service.write(data)
            await self._service.drain()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        writer.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        device: asyncio.StreamWriter | None = None
        try:
            source, device = await asyncio.open_connection(*self._target)
            device.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._service = writer
            self._ends |= {writer, device}
            down = asyncio.create_task(self._pump(source, writer, True))
            up = asyncio.create_task(self._pump(reader, device, False))
            await asyncio.wait((down, up), return_when=asyncio.FIRST_COMPLETED)
            for pump in (down, up):
                pump.cancel()
            await asyncio.gather(down, up, return_exceptions=True)
        except OSError:
            self.reset()  # the device is not there: the service sees it end at once
        finally:
            for end in (writer, device):
                if end is not None:
                    self._ends.discard(end)
                    end.close()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, downstream: bool) -> None:
        with contextlib.suppress(OSError):  # one end went away: the other follows
            while data := await reader.read(CHUNK):
                if not downstream:
                    self.heard(data)
                if self.kind and (downstream or self.upstream_too):
                    passed = await SPOILS[self.kind](self, data, writer)
                    if passed is None:
                        return
                    data = passed
                if data:
                    writer.write(data)
                    await writer.drain()
