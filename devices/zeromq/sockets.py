"""Sockets as rows of a table, opened with the limits that libzmq does not have by default."""

import asyncio
import os
from collections.abc import Callable
from dataclasses import dataclass

import zmq
from zmq.utils.monitor import parse_monitor_message

from devices.errors import LinkError
from devices.zeromq.keys import DOMAIN, read_key, read_secret
from devices.zeromq.settings import ZeroMQSettings, check_endpoint

Socket = zmq.Socket[bytes]
Context = zmq.Context[Socket]

EVENTS, POLLIN = zmq.EVENTS, int(zmq.POLLIN)  # pyzmq's enumerations cost a microsecond for each `&` and `|`
SMALL_PART_BYTES = 64 * 1024  # on sockets where only subscriptions and commands arrive
FAILURES = {
    zmq.Event.HANDSHAKE_FAILED_NO_DETAIL: "handshake failed (not ZeroMQ, or no CURVE on one side)",
    zmq.Event.HANDSHAKE_FAILED_PROTOCOL: "handshake failed (protocol or key mismatch)",
    zmq.Event.HANDSHAKE_FAILED_AUTH: "refused: the key is not among the allowed ones",
}
WATCHED = zmq.Event.HANDSHAKE_SUCCEEDED | zmq.Event.DISCONNECTED
for _failure in FAILURES:
    WATCHED |= _failure


@dataclass(frozen=True)
class Role:
    """One kind of socket of the link."""

    name: str
    kind: int
    binds: bool
    large: bool  # carries arrays towards us, so parts up to the settings' limit are let in


ROLES = {
    role.name: role
    for role in (
        Role("publish", zmq.PUB, binds=True, large=False),
        Role("publish_images", zmq.PUB, binds=True, large=False),
        Role("listen", zmq.SUB, binds=True, large=True),
        Role("subscribe", zmq.SUB, binds=False, large=True),
        Role("issue", zmq.DEALER, binds=False, large=False),
        Role("execute", zmq.ROUTER, binds=True, large=False),
    )
}


def make_socket(context: Context, role: Role, endpoint: str, settings: ZeroMQSettings) -> Socket:
    """A socket that is to be joined to `endpoint`. LocalProtocolError for missing keys, LinkError for bad options."""
    check_endpoint(endpoint, settings.curve, binds=role.binds)
    options = {**_limits(role, endpoint, settings), **_keys(role, settings)}
    socket = context.socket(role.kind)
    try:
        for option, value in options.items():
            socket.setsockopt(option, value)
    except zmq.ZMQError as fault:
        socket.close()
        raise LinkError(f"cannot set up {role.name} {endpoint}: {fault}") from fault
    return socket


def join(socket: Socket, role: Role, endpoint: str) -> None:
    """Bind or connect, once the socket is watched: a peer may be there at once. LinkError where binding fails."""
    try:
        (socket.bind if role.binds else socket.connect)(endpoint)
    except zmq.ZMQError as fault:
        raise LinkError(f"cannot {'bind' if role.binds else 'connect'} {role.name} {endpoint}: {fault}") from fault


def _limits(role: Role, endpoint: str, settings: ZeroMQSettings) -> dict[int, int | bytes]:
    queue = settings.image_queue if role.name == "publish_images" else settings.queue
    options: dict[int, int | bytes] = {
        zmq.LINGER: 0,
        zmq.SNDHWM: queue,
        zmq.RCVHWM: queue,
        zmq.MAXMSGSIZE: settings.max_part_bytes if role.large else min(SMALL_PART_BYTES, settings.max_part_bytes),
        zmq.HEARTBEAT_IVL: settings.heartbeat_ms,
        zmq.HEARTBEAT_TIMEOUT: settings.silent_ms,
        zmq.HEARTBEAT_TTL: settings.silent_ms,
        zmq.HANDSHAKE_IVL: settings.silent_ms,
        zmq.RECONNECT_IVL: 50,
        zmq.RECONNECT_IVL_MAX: 1000,
        zmq.IPV6: int("[" in endpoint),
        zmq.AFFINITY: 2 if role.name == "publish_images" else 1,  # images never hold up the small in their I/O thread
    }
    if role.kind == zmq.DEALER:
        options[zmq.IMMEDIATE] = 1  # a command never waits for a peer that is not there
    if role.kind == zmq.ROUTER:
        options[zmq.ROUTER_MANDATORY] = 1
    return options


def _keys(role: Role, settings: ZeroMQSettings) -> dict[int, int | bytes]:
    if settings.curve is None:
        return {}
    public, secret = read_secret(settings.curve.secret)
    options: dict[int, int | bytes] = {zmq.CURVE_PUBLICKEY: public, zmq.CURVE_SECRETKEY: secret}
    if role.binds:
        return options | {zmq.CURVE_SERVER: 1, zmq.ZAP_DOMAIN: DOMAIN}
    assert settings.curve.server is not None  # check_endpoint saw to it
    return options | {zmq.CURVE_SERVERKEY: read_key(settings.curve.server)[0]}


def readable(socket: Socket) -> bool:
    """True where a message waits; also lets the socket do its own housekeeping."""
    return bool(int(socket.getsockopt(EVENTS)) & POLLIN)


class Reader:
    """Calls back while a socket has something to read, on any asyncio loop.

    A ZeroMQ descriptor is edge-triggered: after every callback we look again until nothing is left,
    and whoever sends on a socket that is also read must call `again`.
    """

    def __init__(self, socket: Socket, on_readable: Callable[[], None]) -> None:
        self._socket, self._on_readable = socket, on_readable
        self._loop = asyncio.get_running_loop()
        self._descriptor = socket.fileno()
        self._loop.add_reader(self._descriptor, self._check)
        self._soon: asyncio.Handle | None = None
        self.again()

    def again(self) -> None:
        """Look again in the next turn of the loop."""
        if self._soon is None:
            self._soon = self._loop.call_soon(self._look_again)

    def _look_again(self) -> None:
        self._soon = None
        self._check()

    def _check(self) -> None:
        if readable(self._socket):
            try:
                self._on_readable()
            finally:
                self.again()

    def close(self) -> None:
        """Stop calling back; the socket stays open."""
        self._loop.remove_reader(self._descriptor)
        if self._soon is not None:
            self._soon.cancel()


class Watch:
    """Tells when peers of one socket come and go, from libzmq's socket monitor. Make it before the socket is joined.

    `reader` is the watched socket's own, where it has one: looking after the socket uses up its wake-up.
    """

    def __init__(
        self, socket: Socket, label: str, on_change: Callable[[bool, str, str], None], reader: Reader | None = None
    ) -> None:
        self._watched, self.label, self._on_change, self._watched_reader = socket, label, on_change, reader
        self._monitor = socket.get_monitor_socket(WATCHED)
        self._failed = 0
        self._reader = Reader(self._monitor, self._read)
        self.peers = 0

    def _read(self) -> None:
        while readable(self._monitor):
            event = parse_monitor_message(self._monitor.recv_multipart())
            self._tell(zmq.Event(event["event"]), int(event["value"]))
        readable(self._watched)  # lets the socket forget pipes of peers that left
        if self._watched_reader is not None:
            self._watched_reader.again()

    def _tell(self, event: zmq.Event, value: int) -> None:
        if event == zmq.Event.HANDSHAKE_SUCCEEDED:
            self.peers += 1
            self._on_change(True, self.label, f"{self.peers} connected")
        elif event in FAILURES:
            self._failed += 1  # its DISCONNECTED follows
            detail = f" ({os.strerror(value)})" if event == zmq.Event.HANDSHAKE_FAILED_NO_DETAIL else ""
            self._on_change(False, self.label, FAILURES[event] + detail)
        elif self._failed:
            self._failed -= 1
        else:
            self.peers -= 1
            self._on_change(False, self.label, f"a peer left, {self.peers} connected")

    @property
    def described(self) -> str:
        """The socket and how many peers it has, in words."""
        return f"{self.label}: {self.peers} connected"

    def close(self) -> None:
        """Stop watching."""
        self._reader.close()
        self._watched.disable_monitor()
        self._monitor.close(linger=0)
