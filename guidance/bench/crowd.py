"""A crowd of OpenIGTLink clients in one process: slow ones, fast ones, and some that never read.

`python -m guidance.bench.crowd PORT SLOW FULL STUCK` connects them all, counts what they get until it reads a line
from stdin, and writes one line of JSON. Slow clients ask for poses in bundles of 100 ms, for no images, and send a
pose of their own at 10 Hz; full clients take everything. Alerts carry their time of sending (CLOCK_MONOTONIC) in
`first_ns`.
"""

import asyncio
import json
import socket
import sys
from functools import partial
from time import monotonic_ns
from typing import Any, cast

import uvloop

from devices.errors import RemoteProtocolError
from devices.openigtlink import Decoder, encode
from devices.openigtlink import bodies as b

IDENTITY = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0)
SLOW_S = 0.1
_STUCK_BUFFER = 4096


def _bytes(wire: b.Wire) -> bytes:
    return b"".join(bytes(part) for part in encode(wire))


ASK = _bytes(b.Query(name_of_type="STT_TDATA", resolution=round(SLOW_S * 1000))) + _bytes(
    b.Query(name_of_type="STP_IMAGE")
)


class Client(asyncio.BufferedProtocol):
    """One client that reads as fast as it can."""

    def __init__(self, slow: bool, late_ns: list[int]) -> None:
        self.name = ""
        self.counts: dict[str, int] = {}
        self.ended = ""
        self._slow, self._late_ns = slow, late_ns
        self._decoder = Decoder()
        self._transport: asyncio.Transport | None = None
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self.name = ":".join(map(str, transport.get_extra_info("sockname")[:2]))
        if self._slow:
            self._transport.write(ASK)
            self._speak()

    def _speak(self) -> None:
        if self._transport is None:
            return
        pose = b.Transform(device_name="HandToTracker", columns=IDENTITY)
        self._transport.write(_bytes(pose))
        self._timer = asyncio.get_running_loop().call_later(SLOW_S, self._speak)

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._decoder.buffer()

    def buffer_updated(self, nbytes: int) -> None:
        try:
            messages = self._decoder.advance(nbytes)
        except RemoteProtocolError as fault:
            self.ended = str(fault)
            if self._transport is not None:
                self._transport.abort()
            return
        for wire in messages:
            self.counts[wire.type_name] = self.counts.get(wire.type_name, 0) + 1
            if isinstance(wire, b.StringData) and wire.device_name == "Alert":
                self._late_ns.append(monotonic_ns() - int(json.loads(wire.text)["first_ns"]))

    def connection_lost(self, exc: Exception | None) -> None:
        self.ended = self.ended or "closed"
        self._transport = None
        if self._timer is not None:
            self._timer.cancel()

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()


async def crowd(port: int, slow: int, full: int, stuck: int) -> dict[str, Any]:
    """Connect, listen until a line on stdin, and tell: what each got, how late alerts were, who was cut off."""
    loop = asyncio.get_running_loop()
    late_ns: list[int] = []
    sockets = [_stuck(port) for _ in range(stuck)]
    clients = [Client(index < slow, late_ns) for index in range(slow + full)]
    for client in clients:
        await loop.create_connection(partial(_itself, client), "127.0.0.1", port)
    print("connected", flush=True)
    await loop.run_in_executor(None, sys.stdin.readline)
    found = {
        "slow": [client.counts for client in clients[:slow]],
        "full": [client.counts for client in clients[slow:]],
        "names": [client.name for client in clients],
        "ended": [client.ended for client in clients if client.ended],
        "late_ms": [round(ns / 1e6, 4) for ns in late_ns],
    }
    for client in clients:
        client.close()
    for stuck_socket in sockets:
        stuck_socket.close()
    await asyncio.sleep(0.1)
    return found


def _itself(client: Client) -> Client:
    return client


def _stuck(port: int) -> socket.socket:
    """A connection that nobody reads from."""
    peer = socket.socket()
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _STUCK_BUFFER)
    peer.connect(("127.0.0.1", port))
    return peer


def main() -> None:
    """One crowd, as the arguments say."""
    port, slow, full, stuck = (int(word) for word in sys.argv[1:5])
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        print(json.dumps(runner.run(crowd(port, slow, full, stuck))), flush=True)


if __name__ == "__main__":
    main()
