"""One connected peer: bytes straight into the decoder, packets out as fast as the peer reads them."""

import asyncio
import socket
from typing import Protocol, cast

from devices.clock import Clock
from devices.errors import RemoteProtocolError
from devices.openigtlink import bodies as b
from devices.openigtlink.counters import PeerCounters
from devices.openigtlink.framer import Budget, Decoder
from devices.openigtlink.sendqueue import Packet, SendQueue
from devices.openigtlink.settings import OpenIGTLinkSettings
from devices.openigtlink.subscriptions import Subscriptions

# Of the kernel, per peer. Left to itself it grows to megabytes: then an image is copied in whole before the peer
# reads its first byte, which took a third longer, and each peer that never reads would hold that much.
SEND_BUFFER_BYTES = 256 * 1024
GONE = "gone before it was let in"
_KEEP_ALIVE = (("TCP_KEEPIDLE", 1), ("TCP_KEEPINTVL", 1), ("TCP_KEEPCNT", 2))  # a dead machine is seen in 3 s


class Owner(Protocol):
    """The link that a connection belongs to, as far as the connection speaks to it."""

    settings: OpenIGTLinkSettings
    clock: Clock
    budget: Budget

    def never_met(self, connection: "Connection") -> None: ...
    def connected(self, connection: "Connection", host: str) -> None: ...
    def heard(self, connection: "Connection", wire: b.Wire, now_ns: int) -> None: ...
    def rejected(self, connection: "Connection", fault: RemoteProtocolError) -> None: ...
    def disconnected(self, connection: "Connection", unsent: int) -> None: ...


class Connection(asyncio.BufferedProtocol):
    """A peer on a socket. All decisions that concern more than this peer are the link's."""

    def __init__(self, link: Owner) -> None:
        settings = link.settings
        self.link = link
        self.peer = ""
        self.version = settings.header_version or 1
        self.counters = PeerCounters()
        self.subscriptions = Subscriptions(settings.push)
        self.reason = ""
        self.closed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._loop = asyncio.get_running_loop()
        self._decoder = Decoder(settings.limits, link.budget, allow_lost=True)
        self.get_buffer = self._decoder.buffer  # type: ignore[method-assign]
        self._queue = SendQueue(settings.queue_bytes)
        self._transport: asyncio.Transport | None = None
        self._paused = False
        self._closing = False
        now = self._loop.time()
        self._last_heard = now
        self._message_since: float | None = None
        self._stalled_since: float | None = None

    # --- asyncio.BufferedProtocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        address = transport.get_extra_info("peername")
        if address is None:  # reset before it was accepted
            self.close(GONE)
            self.link.never_met(self)
            return
        self._transport.set_write_buffer_limits(high=0)
        sock = transport.get_extra_info("socket")
        if sock is not None:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            unheard_ms = round(1000 * self.link.settings.write_stall_s) + 500
            for name, value in (*_KEEP_ALIVE, ("TCP_USER_TIMEOUT", unheard_ms)):
                if hasattr(socket, name):
                    sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
        host, port = address[:2]
        self.peer = f"{host}:{port}"
        self.link.connected(self, host)

    def buffer_updated(self, nbytes: int) -> None:
        if self._closing:
            return
        link, decoder = self.link, self._decoder
        now_ns = link.clock.now_ns()
        self.counters.bytes_in += nbytes
        self._last_heard = self._loop.time()
        try:
            messages = decoder.advance(nbytes)
            if not decoder.in_message:
                self._message_since = None
            elif messages or self._message_since is None:
                self._message_since = self._last_heard
            for message in messages:
                link.heard(self, message, now_ns)
            if decoder.fault is not None:
                raise decoder.fault
        except RemoteProtocolError as fault:
            link.rejected(self, fault)

    def eof_received(self) -> bool:
        self.close("closed by the peer")
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self._closing = True
        self.reason = self.reason or (f"lost: {exc}" if exc else "closed by the peer")
        self._decoder.close()
        self._transport = None
        self.link.disconnected(self, self._queue.clear())
        if not self.closed.done():
            self.closed.set_result(None)

    def pause_writing(self) -> None:
        self._paused = True
        self._stalled_since = self._loop.time()

    def resume_writing(self) -> None:
        self._paused = False
        self._stalled_since = None
        self._flush()

    # --- for the link

    @property
    def queued_bytes(self) -> int:
        """Bytes that wait here and in the transport."""
        return self._queue.bytes + (self._transport.get_write_buffer_size() if self._transport else 0)

    def offer(self, packet: Packet, urgent: bool = False) -> int:
        """Send now or queue; the number of packets that this replaced, or -1 where there is no room."""
        if self._closing:
            return 0
        if not self._paused and not self._queue.bytes:
            self._write(packet)
            return 0
        replaced = self._queue.push(packet, urgent)
        if not self._paused:
            self._flush()
        self.counters.queued_bytes = self._queue.bytes
        return replaced

    def _flush(self) -> None:
        while not self._paused and not self._closing and (packet := self._queue.pop()) is not None:
            self._write(packet)
        self.counters.queued_bytes = self._queue.bytes

    def _write(self, packet: Packet) -> None:
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        if len(packet.buffers) == 1:
            transport.write(packet.buffers[0])
        else:
            transport.writelines(packet.buffers)
        stream = self.counters.outgoing.get(packet.stream) or self.counters.outgoing_stream(packet.stream)
        stream.sent += 1
        stream.bytes += packet.size

    def overdue(self) -> str:
        """Why this peer must be closed now, or nothing."""
        settings, now = self.link.settings, self._loop.time()
        if self._message_since is not None and now - self._message_since > settings.message_deadline_s:
            return f"a message was not complete within {settings.message_deadline_s:g} s"
        if self._stalled_since is not None and now - self._stalled_since > settings.write_stall_s:
            return f"read nothing for {settings.write_stall_s:g} s"
        if settings.idle_limit_s is not None and now - self._last_heard > settings.idle_limit_s:
            return f"sent nothing for {settings.idle_limit_s:g} s"
        return ""

    def forgive(self, late_s: float) -> None:
        """The loop itself stood still for `late_s`: no peer is to blame for that time."""
        self._last_heard += late_s
        if self._message_since is not None:
            self._message_since += late_s
        if self._stalled_since is not None:
            self._stalled_since += late_s

    def close(self, reason: str, at_once: bool = True) -> None:
        """End the connection; `at_once` drops what waits, otherwise what the transport holds is still sent."""
        self.reason = self.reason or reason
        if self._transport is None:
            return
        if not at_once:
            self._flush()
        self._closing = True
        if at_once:
            self._transport.abort()
        else:
            self._transport.close()
