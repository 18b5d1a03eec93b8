"""ZeroMQ link: PUB for what we say, SUB for what devices say, DEALER/ROUTER for commands.

Works on asyncio and uvloop without zmq.asyncio: sockets are read in the loop when their
descriptor wakes it. Nothing here blocks and nothing queues above libzmq's own bounded queues.
"""

import asyncio
import secrets
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator
from typing import Literal
from urllib.parse import unquote

import msgspec
import zmq

from devices.clock import Clock
from devices.counters import LinkRow, StreamCounters, stream_row
from devices.errors import DeviceError, LocalProtocolError, RemoteProtocolError
from devices.messages import Acknowledgement, AnyMessage, Command, GuidedPose, Image, Metrics, Overlay, Pose
from devices.packing import Buffer
from devices.zeromq.commands import Executor, Issuer
from devices.zeromq.framing import MAX_PARTS, Header, from_parts, kind_of, room_prefix, to_parts, topic_of
from devices.zeromq.keys import GateKeeper
from devices.zeromq.settings import ZeroMQSettings
from devices.zeromq.sockets import ROLES, SMALL_PART_BYTES, Context, Reader, Socket, Watch, join, make_socket, readable

MORE, LAST = int(zmq.NOBLOCK | zmq.SNDMORE), int(zmq.NOBLOCK)
PARTS_AT_ONCE = 192  # per turn of the loop: 64 messages with an image each
STREAMS = 4096  # topics whose numbering is remembered
NO_COPY_BYTES = 64 * 1024  # smaller parts are cheaper to copy
IMAGES = (Image, Overlay)
OTHERS = "(others)"  # where streams beyond `STREAMS` are counted together
Direction = Literal["in", "out"]
WITH_QUALITY = (Pose, Image, GuidedPose, Overlay, Metrics)
ON_COMMAND_CHANNEL = (Command, Acknowledgement)


class ZeroMQLink:
    """One room's ZeroMQ sockets as `ZeroMQSettings` lists them.

    `on_message` gets messages stamped with the clock; `on_change(up, peer, reason)` hears of peers;
    `on_loss(stream, count, reason)` hears of everything dropped or rejected. All are called in the
    loop's thread. `counters`: sent, received, dropped, rejected, superseded, unanswered.
    """

    def __init__(
        self,
        settings: ZeroMQSettings,
        *,
        clock: Clock,
        on_message: Callable[[AnyMessage], None],
        on_change: Callable[[bool, str, str], None],
        on_loss: Callable[[str, int, str], None],
    ) -> None:
        self._settings, self._clock = settings, clock
        self._on_message, self._on_change, self._on_loss = on_message, on_change, on_loss
        self._source = secrets.token_hex(8)
        self._numbers: Counter[str] = Counter()
        self._seen: OrderedDict[tuple[str, str], int] = OrderedDict()
        self._issuer = Issuer(settings.ask_again_ms, settings.give_up_ms)
        self._executor = Executor()
        self._context: Context | None = None
        self._sockets: dict[str, Socket] = {}
        self._readers: dict[str, Reader] = {}
        self._watches: list[Watch] = []
        self._keeper: GateKeeper | None = None
        self._overlong: set[str] = set()  # sockets in the middle of a message of too many parts
        self._timer: asyncio.TimerHandle | None = None
        self.addresses: dict[str, str] = {}  # socket name -> endpoint with its real port
        self.counters: Counter[str] = Counter()
        self._streams: dict[tuple[Direction, str], StreamCounters] = {}

    @property
    def address(self) -> str:
        """The endpoint that we publish on, else the first that we have; "" before `start`."""
        return next(iter(self.addresses.values()), "")

    async def start(self) -> None:
        """Open every socket. LocalProtocolError for plain text off loopback, LinkError where binding fails."""
        settings = self._settings
        self._context = zmq.Context(io_threads=2 if settings.publish_images else 1)
        try:
            if settings.curve is not None and settings.curve.allowed is not None:
                self._keeper = GateKeeper(self._context, settings.curve.allowed)
                self._readers["keeper"] = Reader(self._keeper.socket, self._keeper.answer)
            for name in ("publish", "publish_images", "listen", "issue", "execute"):
                if endpoint := getattr(settings, name):
                    self._open(name, name, endpoint)
            for index, endpoint in enumerate(settings.subscribe):
                self._open("subscribe", f"subscribe {index}", endpoint)
        except DeviceError:
            await self.stop()
            raise

    def _open(self, role: str, name: str, endpoint: str) -> None:
        assert self._context is not None
        socket = self._sockets[name] = make_socket(self._context, ROLES[role], endpoint, self._settings)
        if role in ("listen", "subscribe"):
            socket.subscribe(room_prefix(self._settings.room))
        read = {
            "listen": self._read_messages,
            "subscribe": self._read_messages,
            "issue": self._read_answers,
            "execute": self._read_commands,
        }.get(role)
        reader = None if read is None else Reader(socket, lambda: read(name, socket))
        if reader is not None:
            self._readers[name] = reader
        watch = Watch(socket, f"{role} {endpoint}", self._on_change, reader)
        self._watches.append(watch)
        join(socket, ROLES[role], endpoint)
        self.addresses[name] = socket.getsockopt_string(zmq.LAST_ENDPOINT)
        watch.label = f"{role} {self.addresses[name]}"

    async def stop(self) -> None:
        """Close everything; what libzmq still holds is dropped."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for reader in self._readers.values():
            reader.close()
        for watch in self._watches:
            watch.close()
        for socket in self._sockets.values():
            socket.close(linger=0)
        if self._keeper is not None:
            self._keeper.socket.close(linger=0)
        if self._context is not None:
            self._context.term()
        self._watches, self._readers, self._sockets = [], {}, {}
        self._keeper = self._context = None

    # --- sending ------------------------------------------------------------------------------

    def send(self, message: AnyMessage, urgent: bool = False) -> None:
        """Send without blocking. Commands and acknowledgements take their own channel.

        libzmq drops for a peer whose queue is full; that peer sees the gap in `number`. `urgent`
        changes nothing here: small messages never share a queue with images where `publish_images`
        is set. Raises LocalProtocolError where the link has no socket for this message.
        """
        if isinstance(message, Command):
            self._socket_for("issue", message)
            self._issuer.ask(message, self._clock.now_ns())
            self._ask()
        elif isinstance(message, Acknowledgement):
            self._answer(message)
        else:
            name = "publish_images" if isinstance(message, IMAGES) and self._settings.publish_images else "publish"
            self._put(self._socket_for(name, message), self._parts(message), message)

    def _socket_for(self, name: str, message: AnyMessage) -> Socket:
        socket = self._sockets.get(name)
        if socket is None:
            raise LocalProtocolError(f"a {kind_of(message)} needs the socket `{name}`, which is not open on this link")
        return socket

    def _parts(self, message: AnyMessage) -> list[Buffer]:
        topic = topic_of(self._settings.room, message)
        number = self._numbers[topic]
        self._numbers[topic] = number + 1
        try:
            return to_parts(topic, self._source, number, message)
        except TypeError as fault:
            raise LocalProtocolError(f"{topic}: {fault}") from fault

    def _put(self, socket: Socket, parts: list[Buffer], message: AnyMessage, route: bytes | None = None) -> bool:
        readable(socket)  # libzmq looks only once a millisecond how much of a queue was read, and drops meanwhile
        try:
            if route is not None:
                socket.send(route, MORE)
            for part in parts[:-1]:
                socket.send(part, MORE, copy=_must_copy(part))
            socket.send(parts[-1], LAST, copy=_must_copy(parts[-1]))
        except zmq.ZMQError as fault:
            if fault.errno not in (zmq.EAGAIN, zmq.EHOSTUNREACH):
                raise
            return False
        self.counters["sent"] += 1
        stream = self._stream("out", f"{kind_of(message)}/{message.name}")
        stream.sent += 1
        stream.bytes += sum(map(len, parts))
        return True

    def _stream(self, direction: Direction, name: str) -> StreamCounters:
        key = (direction, name if len(self._streams) < STREAMS else OTHERS)
        return self._streams.get((direction, name)) or self._streams.setdefault(key, StreamCounters())

    def describe(self) -> LinkRow:
        """The link as seen from outside: totals, sockets with their peers, every stream."""
        counters = self.counters
        return LinkRow(
            kind="zeromq",
            address=self.address,
            secured=self._settings.curve is not None,
            peers=[watch.described for watch in self._watches],
            received=counters["received"],
            sent=counters["sent"],
            dropped=counters["dropped"],
            rejected=counters["rejected"],
            gaps=sum(stream.gaps for stream in self._streams.values()),
            queued_bytes=0,
            streams=[stream_row("", name, direction, row) for (direction, name), row in self._streams.items()],
            more={name: counters[name] for name in ("superseded", "unanswered")},
        )

    def _ask(self) -> None:
        due, given_up = self._issuer.due(self._clock.now_ns())
        for command in given_up:
            self.counters["unanswered"] += 1
            self._on_loss(
                command.name, 1, f"no answer to {command.verb} #{command.command_id} in {self._settings.give_up_ms} ms"
            )
        for command in due:
            self._put(self._sockets["issue"], self._parts(command), command)
        self._readers["issue"].again()
        if self._issuer.waiting and self._timer is None:
            delay_s = self._settings.ask_again_ms / 1000
            self._timer = asyncio.get_running_loop().call_later(delay_s, self._ask_again)

    def _ask_again(self) -> None:
        self._timer = None
        self._ask()

    def _answer(self, answer: Acknowledgement) -> None:
        socket = self._socket_for("execute", answer)
        route = self._executor.answer(answer)
        if route is None:
            raise LocalProtocolError(f"nobody asked for {answer.verb} #{answer.command_id}")
        self._reply(socket, route, answer)

    def _reply(self, socket: Socket, route: bytes, answer: Acknowledgement) -> None:
        if not self._put(socket, self._parts(answer), answer, route):
            self._lose(answer.name, 1, "the asker is gone; it gets the answer when it asks again", "dropped")
        self._readers["execute"].again()

    # --- receiving ----------------------------------------------------------------------------

    def _read_messages(self, name: str, socket: Socket) -> None:
        waiting: dict[str, tuple[int, list[Buffer]]] = {}  # latest-only topic -> skipped before it, newest
        for parts in self._receive(name, socket):
            topic = bytes(parts[0][:1024]).decode(errors="replace")
            if topic.removeprefix(room_prefix(self._settings.room)).partition("/")[0] in self._settings.latest:
                skipped, _ = waiting.pop(topic, (-1, []))
                waiting[topic] = (skipped + 1, parts)
            else:
                self._take(name, parts)
        for topic, (skipped, parts) in waiting.items():
            if skipped:
                self._lose(topic, skipped, "newer ones were waiting", "superseded")
                kind_and_name = topic.removeprefix(room_prefix(self._settings.room))
                self._stream("in", unquote(kind_and_name)).dropped += skipped
            self._take(name, parts, skipped)

    def _take(self, name: str, parts: list[Buffer], skipped: int = 0) -> None:
        header = self._decode(name, parts, _is_data)
        if header is not None:
            self._count_gap(header, skipped)
            self._deliver(header.message, sum(map(len, parts)))

    def _read_answers(self, name: str, socket: Socket) -> None:
        for parts in self._receive(name, socket):
            header = self._decode(name, parts, _is_answer)
            if header is not None and isinstance(header.message, Acknowledgement) and self._issuer.hear(header.message):
                self._deliver(header.message, sum(map(len, parts)))

    def _read_commands(self, name: str, socket: Socket) -> None:
        for route, *parts in self._receive(name, socket):
            header = self._decode(name, parts, _is_command)
            if header is None or not isinstance(header.message, Command):
                continue
            new, answer = self._executor.hear(header.source, bytes(route), header.message)
            if answer is not None:
                self._reply(socket, bytes(route), answer)
            if new:
                self._deliver(header.message, sum(map(len, parts)))

    def _receive(self, name: str, socket: Socket) -> Iterator[list[Buffer]]:
        """Multipart messages of up to `PARTS_AT_ONCE` parts together; the rest comes in the next turn of the loop.

        A message of too many parts is given up at the first of them: what follows is read over and never kept.
        """
        parts: list[Buffer] = []
        budget = PARTS_AT_ONCE
        while budget > 0 or parts:
            try:
                frame = socket.recv(zmq.NOBLOCK, copy=False)
            except zmq.Again:
                return
            budget -= 1
            if name in self._overlong:
                if not frame.more:
                    self._overlong.discard(name)
                continue
            parts.append(frame.bytes if len(parts) < 2 else frame.buffer)
            if len(parts) > MAX_PARTS + 1:  # a route may stand before them
                self._reject(name, f"more than {MAX_PARTS} parts")
                parts = []
                if frame.more:
                    self._overlong.add(name)
            elif not frame.more:
                yield parts
                parts = []

    def _decode(self, name: str, parts: list[Buffer], fits: Callable[[AnyMessage], bool]) -> Header | None:
        try:
            size = sum(map(len, parts))
            if size > self._settings.max_part_bytes + SMALL_PART_BYTES:
                raise RemoteProtocolError(f"parts of {size} bytes together; the limit is for all of them")
            header = from_parts(self._settings.room, parts)
            if not fits(header.message):
                raise RemoteProtocolError(f"a {kind_of(header.message)} does not belong on {name}")
        except RemoteProtocolError as fault:
            self._reject(name, str(fault))
            return None
        return header

    def _count_gap(self, header: Header, skipped: int) -> None:
        message = header.message
        key = (header.source, f"{kind_of(message)}/{message.name}")
        last = self._seen.get(key, header.number - 1)
        self._seen[key] = header.number
        self._seen.move_to_end(key)
        if len(self._seen) > STREAMS:
            self._seen.popitem(last=False)
        if (missing := header.number - last - 1 - skipped) > 0:
            self._stream("in", key[1]).gaps += missing
            self._lose(key[1], missing, "numbers are missing: a queue on the way was full", "dropped")

    def _deliver(self, message: AnyMessage, size: int) -> None:
        now_ns = self._clock.now_ns()
        msgspec.structs.force_setattr(message, "receive_time_ns", now_ns)  # nobody else holds it yet
        self.counters["received"] += 1
        stream = self._stream("in", f"{kind_of(message)}/{message.name}")
        stream.arrived(size, now_ns, message.device_time_ns)
        stream.unusable += isinstance(message, WITH_QUALITY) and not message.quality.usable
        self._on_message(message)

    def _reject(self, name: str, reason: str) -> None:
        self._lose(name, 1, reason, "rejected")
        self._stream("in", name).rejected += 1

    def _lose(self, stream: str, count: int, reason: str, counter: str) -> None:
        self.counters[counter] += count
        self._on_loss(stream, count, reason)


def _must_copy(part: Buffer) -> bool:
    """Large read-only arrays are sent in place; a writeable one could change before libzmq sends it."""
    return not isinstance(part, memoryview) or part.nbytes < NO_COPY_BYTES or not part.readonly


def _is_data(message: AnyMessage) -> bool:
    return not isinstance(message, ON_COMMAND_CHANNEL)


def _is_answer(message: AnyMessage) -> bool:
    return isinstance(message, Acknowledgement)


def _is_command(message: AnyMessage) -> bool:
    return isinstance(message, Command)
