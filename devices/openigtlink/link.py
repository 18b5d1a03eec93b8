"""The OpenIGTLink link: serves many peers, or keeps a connection to one, on the running asyncio loop.

`on_message` is called in the loop's thread at the arrival of a message's last byte; `send` never
blocks. A slow peer costs its own bounded queue: of poses, images and metrics it gets the newest
only, and what was replaced is counted. Alerts that are not cleared are told again to a peer that
comes late. Queries are answered here, from what was sent last:

| a peer sends | it gets |
|---|---|
| GET_<type> [name] | the last of that type [and name], or "no data" (TRANSFORM: STATUS 4 NOT_FOUND) |
| GET_CAPABIL | the message types understood |
| GET_IMGMETA, GET_TDATA, GET_QTDATA | every image stream; every tool with its last pose |
| GET_BIND [types and names] | the last of each in one message |
| COMMAND `DEVICES` | RTS_COMMAND: every stream by type and name, as JSON |
| STT_TDATA, STT_QTDATA | RTS_, then all poses of each interval in one message instead of TRANSFORM |
| STT_<type>, STP_<type> | RTS_, then that type at most once per interval and stream; no more of it |
"""

import asyncio
from collections import Counter
from collections.abc import Callable
from typing import Any

from devices.clock import Clock
from devices.counters import LinkRow, StreamCounters
from devices.errors import LinkError, LocalProtocolError, RemoteProtocolError
from devices.messages import (
    Alert,
    AnyMessage,
    Command,
    GuidedPose,
    Image,
    Metrics,
    Outlines,
    Overlay,
    Paths,
    Points,
    Pose,
    Reading,
    Unknown,
)
from devices.openigtlink import answers
from devices.openigtlink import bodies as b
from devices.openigtlink.bodies.poses import Transform
from devices.openigtlink.bodies.queries import query_name, question
from devices.openigtlink.bundles import Feed, Feeds
from devices.openigtlink.connection import Connection
from devices.openigtlink.counters import LinkCounters, PeerCounters
from devices.openigtlink.framer import Budget, encode
from devices.openigtlink.incoming import plain_pose, to_domain
from devices.openigtlink.naming import Naming
from devices.openigtlink.outgoing import Withheld, pose_bytes, to_wire
from devices.openigtlink.sendqueue import Packet
from devices.openigtlink.settings import OpenIGTLinkSettings
from devices.openigtlink.subscriptions import SUBJECT
from devices.quality import Quality

OnMessage = Callable[[AnyMessage], None]
OnChange = Callable[[bool, str, str], None]
OnLoss = Callable[[str, int, str], None]

_NEWEST_ONLY = frozenset({Pose, GuidedPose, Image, Overlay, Metrics, Reading, Points, Paths, Outlines})
_HOUSEKEEPING_S = 0.05
_NUMBERED = (Pose, Image)
_POSES = (Pose, GuidedPose)
_WIRE_NAME: dict[type, Callable[[Any], str]] = {
    GuidedPose: lambda message: f"{message.tool}ToRAS",
    Overlay: lambda message: str(message.view),
}
_REPORT_S = 1.0
_STOP_S = 0.3
_MAX_STREAMS = 1024
_LARGE = 64 * 1024


class OpenIGTLinkLink:
    """One link as `settings` say. Everything runs in the loop that called `start`."""

    def __init__(
        self,
        settings: OpenIGTLinkSettings,
        *,
        clock: Clock,
        on_message: OnMessage,
        on_change: OnChange,
        on_loss: OnLoss,
    ) -> None:
        self.settings = settings
        self.clock = clock
        self.budget = Budget(settings.in_flight_bytes)
        self._counters = LinkCounters()
        self.address: tuple[str, int] = (settings.host, settings.port)
        self._on_message = on_message
        self._on_change = on_change
        self._on_loss = on_loss
        self._naming = Naming(settings.default_frame, settings.image_frame, settings.point_frame)
        self._connections: set[Connection] = set()
        self._feeds = Feeds(self._send_bundle)
        self._flight: int | None = None  # bytes of all peers, while one message is handed out
        self._latest: answers.Latest = {}
        self._losses: Counter[tuple[str, str]] = Counter()
        self._server: asyncio.Server | None = None
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def peers(self) -> tuple[str, ...]:
        """The peers connected now, as host:port."""
        return tuple(connection.peer for connection in self._connections)

    @property
    def counters(self) -> LinkCounters:
        """Totals of now, over the peers that are here and those that are gone."""
        return self._counters.with_peers()

    async def start(self) -> None:
        """Listen, or begin to connect. LinkError where the address cannot be listened on."""
        loop = asyncio.get_running_loop()
        settings = self.settings
        if settings.mode == "listen":
            try:
                self._server = await loop.create_server(
                    lambda: Connection(self),
                    settings.host,
                    settings.port,
                    backlog=1024,
                    ssl=settings.tls,
                    ssl_handshake_timeout=settings.handshake_s if settings.tls else None,
                )
            except OSError as fault:
                raise LinkError(
                    f"link {settings.id!r} cannot listen on {settings.host}:{settings.port}: {fault}"
                ) from fault
            self.address = self._server.sockets[0].getsockname()[:2]
        else:
            self._tasks.append(loop.create_task(self._keep_connected()))
        self._tasks.append(loop.create_task(self._keep_house()))
        for task in self._tasks:
            task.add_done_callback(self._task_ended)

    async def stop(self) -> None:
        """Send what can be sent at once, close everything, report what is still to be reported."""
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            task.cancel()
        ends = await asyncio.gather(*tasks, return_exceptions=True)
        if self._server is not None:
            self._server.close()
            self._server = None
        connections = list(self._connections)
        for connection in connections:
            connection.close("the link was stopped", at_once=False)
        if connections:
            await asyncio.wait([connection.closed for connection in connections], timeout=_STOP_S)
        for connection in list(self._connections):
            connection.close("the link was stopped")
        if self._connections:
            await asyncio.wait([connection.closed for connection in self._connections])
        self._report_losses()
        for end in ends:
            if isinstance(end, Exception):
                raise end

    def send(self, message: AnyMessage, urgent: bool = False) -> None:
        """Send to every peer that wants it; never blocks. `urgent` goes first and is never replaced."""
        if type(message) is Command and not self.settings.carries_commands:
            self._lose(message.name, 1, "commands need loopback or TLS")
            return
        packets: dict[int, list[Packet] | LocalProtocolError] = {}  # by header version
        peers = self._connections
        if isinstance(message, _POSES):
            self._feeds.add(message)
            peers = self._feeds.single
        self._flight = None
        for connection in tuple(peers):
            subscriptions = connection.subscriptions
            if subscriptions.everything or subscriptions.admits(message, asyncio.get_running_loop().time()):
                version = connection.version
                packed = packets.get(version)
                if packed is None:
                    packed = packets[version] = self._pack(message, version)
                self._offer(connection, message.name, packed, urgent)
        self._remember(message)

    def describe(self) -> LinkRow:
        """The link as seen from outside: totals, and every stream of every peer that is connected now."""
        totals = self.counters
        return LinkRow(
            kind="openigtlink",
            address=f"{self.address[0]}:{self.address[1]}",
            secured=self.settings.tls is not None,
            peers=list(self.peers),
            received=totals.received,
            sent=totals.sent,
            dropped=totals.dropped,
            rejected=totals.rejected,
            gaps=totals.gaps,
            queued_bytes=self._in_flight(),
            streams=[row for peer, counters in totals.peers.items() for row in counters.rows(peer)],
            more={
                "withheld": totals.withheld,
                "coalesced": self._feeds.all_coalesced,
                "connected": totals.connected,
                "refused": totals.refused,
            },
        )

    def _remember(self, message: AnyMessage) -> None:
        kind = type(message)
        if kind in SUBJECT:
            key = (SUBJECT[kind], _WIRE_NAME[kind](message) if kind in _WIRE_NAME else message.name)
        elif isinstance(message, Alert):
            key = ("ALERT", message.name)
        elif isinstance(message, Unknown) and "_" not in message.type_name:
            key = (message.type_name, message.name)
        else:
            return
        latest = self._latest
        known = latest.pop(key, None)  # the newest stands last
        if known is not None or len(latest) < _MAX_STREAMS:
            latest[key] = message

    def _pack(self, message: AnyMessage, version: int) -> list[Packet] | LocalProtocolError:
        try:
            if type(message) is Pose and version == 1:
                data = pose_bytes(message)
                return [Packet(f"TRANSFORM/{message.name}", [data], len(data), True)]
            newest_only = type(message) in _NEWEST_ONLY
            return [_packet(wire, newest_only) for wire in to_wire(message, version)]
        except LocalProtocolError as fault:
            if not isinstance(fault, Withheld):
                self._lose(message.name, 1, f"cannot be sent: {fault}")
            return fault

    def _offer(
        self, connection: Connection, name: str, packets: list[Packet] | LocalProtocolError, urgent: bool
    ) -> None:
        if not isinstance(packets, list):
            connection.counters.outgoing_stream(name).withheld += 1
            connection.counters.withheld += 1
            return
        for packet in packets:
            if packet.newest_only and packet.size > _LARGE and not self._fits(packet.size):
                self._drop(connection, name, packet, "too many bytes in flight")
                continue
            replaced = connection.offer(packet, urgent)
            if not replaced:
                continue
            if replaced > 0:
                self._drop(connection, name, packet, "replaced by a newer one for a slow peer")
            else:
                self._drop(connection, name, packet, "send queue full")
                if not packet.newest_only:
                    connection.close(f"send queue over {self.settings.queue_bytes} bytes")

    def _fits(self, size: int) -> bool:
        """True where all peers together may have `size` bytes more in flight; summed up once a message."""
        if self._flight is None:
            self._flight = self._in_flight()
        if self._flight + size > self.settings.in_flight_bytes:
            return False
        self._flight += size
        return True

    def _in_flight(self) -> int:
        return self.budget.used + sum(connection.queued_bytes for connection in self._connections)

    def _send_bundle(self, feed: Feed, wire: b.Wire) -> None:
        packets = [_packet(wire, True)]
        for connection in tuple(feed.members):
            self._offer(connection, feed.wanted.subject, packets, False)

    # --- called by connections

    def connected(self, connection: Connection, host: str) -> None:
        """A peer has come: let it in or turn it away, and tell it what still stands."""
        settings = self.settings
        if settings.mode == "listen":
            refusal = "" if settings.allows(host) else "its address is not allowed"
            if len(self._connections) >= settings.max_clients:
                refusal = f"there are {settings.max_clients} clients already"
            if refusal:
                self._counters.refused += 1
                connection.close(f"refused: {refusal}")
                self._lose(connection.peer, 1, f"refused: {refusal}")
                return
        self._connections.add(connection)
        self._feeds.place(connection)
        self._counters.connected += 1
        self._counters.peers[connection.peer] = connection.counters
        self._on_change(True, connection.peer, "connected")
        for name in settings.ask:
            wire = question(name, settings.ask_interval_ms, connection.version)
            self._offer(connection, name, [_packet(wire, False)], False)
        for (subject, name), message in self._latest.items():
            if subject == "ALERT" and isinstance(message, Alert) and message.state != "cleared":
                self._offer(connection, name, self._pack(message, connection.version), True)

    def never_met(self, connection: Connection) -> None:
        """A peer was gone before anything could be said."""
        self._count_end(connection)

    def disconnected(self, connection: Connection, unsent: int) -> None:
        """A peer has gone; `unsent` packets with it."""
        if connection not in self._connections:
            return
        self._connections.discard(connection)
        self._feeds.remove(connection)
        self._counters.absorb(self._counters.peers.pop(connection.peer))
        self._count_end(connection)
        if unsent:
            self._lose(connection.peer, unsent, "not sent before the peer went")
        self._on_change(False, connection.peer, connection.reason)

    def _count_end(self, connection: Connection) -> None:
        closed = self._counters.closed
        closed[connection.reason] = closed.get(connection.reason, 0) + 1

    def rejected(self, connection: Connection, fault: RemoteProtocolError) -> None:
        """A peer broke the protocol: count it, say why, close it. Nothing else stops."""
        connection.counters.rejected += 1
        self._on_loss(connection.peer, 1, f"rejected: {fault}")
        connection.close(f"broke the protocol: {fault}")

    def heard(self, connection: Connection, wire: b.Wire, now_ns: int) -> None:
        """A message has come whole. RemoteProtocolError where it makes no sense."""
        if wire.header_version == 2 and connection.version == 1 and self.settings.header_version is None:
            connection.version = 2
            self._feeds.place(connection)
        counters = connection.counters
        counters.received += 1
        if type(wire) is Transform and wire.metadata is None:
            pose = plain_pose(wire, now_ns, self._naming)
            stream = counters.streams.get(pose.name) or self._new_stream(counters, pose.name)
            self._on_message(pose)
            stream.arrived(wire.wire_bytes, now_ns, pose.device_time_ns)  # books after business: nobody waits
            if wire.lost:
                stream.unusable += 1
        elif isinstance(wire, b.Query):
            self._reply(connection, wire)
        else:
            for message in to_domain(wire, now_ns, self._naming):
                self._hand_on(connection, message, wire.wire_bytes, now_ns)

    def _new_stream(self, counters: PeerCounters, name: str) -> StreamCounters:
        if len(counters.streams) >= self.settings.max_devices:
            raise RemoteProtocolError(f"more than {self.settings.max_devices} device names")
        return counters.stream(name)

    def _hand_on(self, connection: Connection, message: AnyMessage, size: int, now_ns: int) -> None:
        counters = connection.counters
        stream = counters.streams.get(message.name) or self._new_stream(counters, message.name)
        if not isinstance(message, Command) or self._takes(connection, message):
            self._on_message(message)
        stream.arrived(size, now_ns, message.device_time_ns)
        if isinstance(message, _NUMBERED):
            stream.unusable += message.quality is not Quality.OK
            if message.number >= 0:
                counters.gaps += stream.numbered(message.number)

    def _takes(self, connection: Connection, command: Command) -> bool:
        """True where a command goes on to the room; the question for devices is answered here."""
        if command.verb == "DEVICES":
            wire = answers.device_list(command.command_id, self._latest, connection.version)
            self._offer(connection, command.name, [_packet(wire, False)], False)
            return False
        if not self.settings.carries_commands:
            raise RemoteProtocolError("commands are not taken in the open on a network: use loopback or TLS")
        return True

    def _reply(self, connection: Connection, query: b.Query) -> None:
        if query.verb == "GET":
            wires = answers.answer(query, self._latest, connection.version)
        else:
            subscriptions = connection.subscriptions
            if query.verb == "STT":
                known = subscriptions.start(query.subject, query.interval_ns)
            else:
                known = subscriptions.stop(query.subject)
            self._feeds.place(connection)
            name = query_name("RTS", query.subject)
            status = 0 if known else 1
            version = connection.version
            wires = [b.Answer(name_of_type=name, status=status, device_name=query.device_name, header_version=version)]
        self._flight = None
        self._offer(connection, query.device_name or query.subject, [_packet(wire, False) for wire in wires], False)

    # --- losses, deadlines, reconnection

    def _drop(self, connection: Connection, name: str, packet: Packet, reason: str) -> None:
        """Count a packet, or the one of its stream that it replaced."""
        connection.counters.dropped += 1
        connection.counters.outgoing_stream(packet.stream).dropped += 1
        self._losses[(name, reason)] += 1

    def _lose(self, name: str, count: int, reason: str) -> None:
        self._counters.dropped += count
        self._losses[(name, reason)] += count

    def _report_losses(self) -> None:
        losses, self._losses = self._losses, Counter()
        for (stream, reason), count in losses.items():
            self._on_loss(stream, count, reason)

    def _task_ended(self, task: "asyncio.Task[None]") -> None:
        """A task that died of a fault must be heard of at once, not when the link is stopped."""
        if not task.cancelled() and (fault := task.exception()) is not None:
            asyncio.get_running_loop().call_exception_handler(
                {"message": f"link {self.settings.id!r} lost a task", "exception": fault, "task": task}
            )

    async def _keep_house(self) -> None:
        loop = asyncio.get_running_loop()
        report_at = loop.time() + _REPORT_S
        while True:
            due = loop.time() + _HOUSEKEEPING_S
            await asyncio.sleep(_HOUSEKEEPING_S)
            late_s = loop.time() - due
            self._look_after_peers(late_s)
            if loop.time() >= report_at:
                report_at = loop.time() + _REPORT_S
                self._report_losses()

    def _look_after_peers(self, late_s: float) -> None:
        for connection in list(self._connections):
            if late_s > _HOUSEKEEPING_S:
                connection.forgive(late_s)
            if reason := connection.overdue():
                connection.close(reason)

    async def _keep_connected(self) -> None:
        settings = self.settings
        loop = asyncio.get_running_loop()
        peer = f"{settings.host}:{settings.port}"
        pause_s, told = settings.backoff_first_s, ""
        while True:
            try:
                async with asyncio.timeout(settings.connect_timeout_s):
                    _, connection = await loop.create_connection(
                        lambda: Connection(self), settings.host, settings.port, ssl=settings.tls
                    )
            except (OSError, TimeoutError) as fault:
                reason = f"cannot connect: {fault or 'no answer'}"
                if reason != told:
                    told = reason
                    self._on_change(False, peer, reason)
            else:
                told = ""
                began = loop.time()
                await asyncio.wait([connection.closed])
                if loop.time() - began > settings.backoff_most_s:
                    pause_s = settings.backoff_first_s
            if not settings.reconnect:
                return
            await asyncio.sleep(pause_s)
            pause_s = min(pause_s * 2, settings.backoff_most_s)


def _packet(wire: b.Wire, newest_only: bool) -> Packet:
    buffers = encode(wire)
    size = len(buffers[0]) if len(buffers) == 1 else sum(map(len, buffers))
    return Packet(f"{wire.type_name}/{wire.device_name}", buffers, size, newest_only)
