"""MQTT link: the alert feed of one room, at a broker that may vanish at any time.

The outbox is the truth, the broker a copy. An alert leaves the outbox when the broker has
acknowledged it; every new connection tells the state, the current alarms, what is pending in
order, and once more the newest changes, because a killed broker forgets what it acknowledged.
Readers that were away longer ask for the rest (devices/mqtt/alerts.py).
"""

import asyncio
import contextlib
import math
import socket
from collections import Counter, deque
from collections.abc import Callable, Iterable

import aiomqtt
import msgspec

from devices.clock import Clock
from devices.counters import LinkRow, StreamCounters, stream_row
from devices.errors import LocalProtocolError, RemoteProtocolError
from devices.messages import Alert, AnyMessage
from devices.mqtt import alerts
from devices.mqtt.outbox import Outbox
from devices.mqtt.settings import MqttSettings, check_secure, read_password, tls_context
from devices.tasks import end_tasks

WINDOW = 64  # alerts on their way to the broker at once
CONNECT_S = 1.0  # for the TCP connection; it runs in a thread that cannot be cancelled
LEAVE_S = 2.0  # for telling what is pending and saying goodbye
WAITING_SHOWN = 10_000  # counted no further
TOPICS = 1024  # of followed rooms that are counted apart
INCOMING = 4096  # messages that may wait for us

Publication = tuple[str, bytes, bool]  # topic, payload, retained


class MqttLink:
    """One room's alert feed. `send` takes alerts only; `on_message` gets what followed rooms tell.

    `counters`: sent (confirmed alerts), told_again, received, rejected, cleared (stale alarms of an
    earlier run removed from the broker), connects.
    """

    def __init__(
        self,
        settings: MqttSettings,
        *,
        clock: Clock,
        outbox: Outbox,
        on_message: Callable[[AnyMessage], None],
        on_change: Callable[[bool, str, str], None],
        on_loss: Callable[[str, int, str], None],
    ) -> None:
        self._settings, self._clock, self._outbox = settings, clock, outbox
        self._on_message, self._on_change, self._on_loss = on_message, on_change, on_loss
        self._wake = asyncio.Event()
        self._stop = asyncio.Event()
        self._again: deque[Alert] = deque()
        self._task: asyncio.Task[None] | None = None
        self._ask_topic = alerts.ask_topic(settings.room)
        self._followed = {f"{alerts.room_topic(room)}/": room for room in settings.follow}
        self.counters: Counter[str] = Counter()
        self._alerts = StreamCounters()  # ours, confirmed by the broker
        self._heard: dict[str, StreamCounters] = {}  # by topic
        self._up = False

    @property
    def address(self) -> str:
        """mqtt://host:port or mqtts://host:port."""
        return f"mqtt{'s' if self._settings.tls else ''}://{self._settings.host}:{self._settings.port}"

    def send(self, message: AnyMessage, urgent: bool = False) -> None:
        """Put an alert into the outbox and wake the sender. Alerts never overtake each other, urgent or not."""
        if not isinstance(message, Alert):
            raise LocalProtocolError(f"the MQTT link tells alerts, not a {type(message).__name__}")
        if dropped := self._outbox.add(message):
            self._alerts.dropped += dropped
            self._on_loss("alerts", dropped, "the outbox is full; the oldest unconfirmed alert is gone")
        self._wake.set()

    def describe(self) -> LinkRow:
        """The link as seen from outside; `waiting` alerts are not confirmed by the broker yet."""
        counters = self.counters
        heard = [stream_row(self.address, topic, "in", stream) for topic, stream in self._heard.items()]
        return LinkRow(
            kind="mqtt",
            address=self.address,
            secured=self._settings.tls is not None,
            peers=[self.address] if self._up else [],
            received=counters["received"],
            sent=counters["sent"],
            dropped=self._alerts.dropped,
            rejected=counters["rejected"],
            gaps=0,
            queued_bytes=0,
            streams=[stream_row(self.address, "alerts", "out", self._alerts), *heard],
            more={
                "waiting": len(self._outbox.pending(WAITING_SHOWN)),
                **{name: counters[name] for name in ("told_again", "cleared", "connects")},
            },
        )

    def _stream(self, topic: str) -> StreamCounters:
        key = topic if topic in self._heard or len(self._heard) < TOPICS else "(others)"
        return self._heard.setdefault(key, StreamCounters())

    async def start(self) -> None:
        """Begin to connect, for as long as it takes; LocalProtocolError for bad files or plain text off loopback."""
        check_secure(self._settings)
        self._tls, self._password = tls_context(self._settings), read_password(self._settings)
        self._stop.clear()
        self._task = asyncio.create_task(self._run(), name=f"mqtt {self._settings.room}")

    async def stop(self) -> None:
        """Tell what is pending, say `stopped` and leave, within about two seconds; the rest stays in the outbox."""
        if self._task is None:
            return
        self._stop.set()
        self._wake.set()
        await asyncio.wait({self._task}, timeout=LEAVE_S)
        await end_tasks({self._task})
        task, self._task = self._task, None
        if not task.cancelled():
            task.result()

    # --- connection -------------------------------------------------------------------------

    async def _run(self) -> None:
        pause_s = self._settings.retry_first_s
        while not self._stop.is_set():
            connects = self.counters["connects"]
            client = self._make_client()
            try:
                async with client:
                    self._up = True
                    self.counters["connects"] += 1
                    self._on_change(True, self.address, "connected")
                    await self._serve(client)
            except aiomqtt.MqttError as fault:
                self._on_change(False, self.address, str(fault))
            finally:
                self._up = False
                await _abandon(client)
            pause_s = self._settings.retry_first_s if self.counters["connects"] > connects else pause_s * 2
            pause_s = min(pause_s, self._settings.retry_most_s)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause_s):
                    await self._stop.wait()

    def _make_client(self) -> aiomqtt.Client:
        settings = self._settings
        client = aiomqtt.Client(
            settings.host,
            settings.port,
            identifier=f"guidance-{settings.room}",
            username=settings.username or None,
            password=self._password,
            tls_context=self._tls,
            keepalive=settings.keepalive_s,
            timeout=settings.answer_s,
            max_inflight_messages=2 * WINDOW,
            max_queued_incoming_messages=INCOMING,
            socket_options=[(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)],
            will=aiomqtt.Will(
                alerts.state_topic(settings.room), alerts.encode_state(alerts.LOST, self._outbox.log), 1, True
            ),
        )
        client.pending_calls_threshold = 4 * WINDOW  # below it aiomqtt logs no warning
        client._client.connect_timeout = CONNECT_S
        return client

    async def _serve(self, client: aiomqtt.Client) -> None:
        await self._subscribe(client)
        tasks = {asyncio.create_task(self._tell_all(client)), asyncio.create_task(self._listen(client))}
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            await end_tasks(tasks)
        await self._tell_state(client, alerts.STOPPED)
        self._on_change(False, self.address, "stopped")

    # --- telling ----------------------------------------------------------------------------

    async def _tell_all(self, client: aiomqtt.Client) -> None:
        """Tell everything, then every new alert, until the link stops."""
        await self._tell_state(client, alerts.LIVE)
        await self._publish(client, (self._current(alert) for alert in self._outbox.current().values()))
        self._tell_since(self._outbox.confirmed_up_to - self._settings.ring)
        while True:
            self._wake.clear()
            batch = self._outbox.pending(WINDOW)
            if batch:
                await self._tell(client, batch)
            if self._again:  # in turn with what is new: a reader's question is answered while alarms go on
                await self._tell_again(client)
            elif batch:
                continue
            elif self._stop.is_set():
                return
            else:
                await self._wake.wait()

    async def _tell_state(self, client: aiomqtt.Client, state: str) -> None:
        payload = alerts.encode_state(state, self._outbox.log)
        await client.publish(alerts.state_topic(self._settings.room), payload, qos=1, retain=True)

    async def _tell(self, client: aiomqtt.Client, batch: list[Alert]) -> None:
        current = self._outbox.current()
        newest = [alert for alert in batch if current.get(alert.name) is alert]  # never turn a current state back
        await self._publish(client, [*map(self._current, newest), *map(self._logged, batch)])
        self._outbox.confirm(batch[-1].sequence)
        self.counters["sent"] += len(batch)
        self._alerts.sent += len(batch)
        self._alerts.bytes += sum(len(self._payload(alert)) for alert in batch)

    def _tell_since(self, sequence: int) -> None:
        """Queue what was confirmed after `sequence` to be told again; what is queued already stays.

        It stays itself: asked for anew, the outbox may not keep it any more.
        """
        queued, confirmed = self._again, list(self._outbox.since(sequence))
        first, last = (queued[0].sequence, queued[-1].sequence) if queued else (0, -1)
        before = [alert for alert in confirmed if alert.sequence < first]
        after = [alert for alert in confirmed if alert.sequence > last]
        self._again = deque([*before, *queued, *after])
        self._wake.set()

    async def _tell_again(self, client: aiomqtt.Client) -> None:
        chunk = [self._again.popleft() for _ in range(min(WINDOW, len(self._again)))]
        await self._publish(client, map(self._logged, chunk))
        self.counters["told_again"] += len(chunk)

    def _current(self, alert: Alert) -> Publication:
        return alerts.current_topic(self._settings.room, alert.name), self._payload(alert), True

    def _logged(self, alert: Alert) -> Publication:
        ring = self._settings.ring
        owns_slot = alert.sequence > self._outbox.confirmed_up_to - ring  # else a newer one stands there
        return alerts.log_topic(self._settings.room, alert.sequence, ring), self._payload(alert), owns_slot

    def _payload(self, alert: Alert) -> bytes:
        return alerts.encode_alert(alert, self._outbox.log)

    async def _publish(self, client: aiomqtt.Client, publications: Iterable[Publication]) -> None:
        """Publish in order and return when the broker has acknowledged all; MqttError where it does not."""
        calls = [
            asyncio.ensure_future(client.publish(topic, payload, qos=1, retain=retained, timeout=math.inf))
            for topic, payload, retained in publications
        ]
        if not calls:
            return
        try:
            async with asyncio.timeout(self._settings.answer_s):
                await asyncio.gather(*calls)
        except TimeoutError:
            raise aiomqtt.MqttError(f"no acknowledgement in {self._settings.answer_s} s") from None
        finally:
            for call in calls:
                call.cancel()
            await asyncio.wait(calls)

    # --- hearing ----------------------------------------------------------------------------

    async def _subscribe(self, client: aiomqtt.Client) -> None:
        await client.subscribe([(alerts.current_topic(self._settings.room, "") + "+", 0), (self._ask_topic, 1)])
        for prefix in self._followed:
            await client.subscribe([(f"{prefix}alerts/+", 1), (f"{prefix}state", 1)])

    async def _listen(self, client: aiomqtt.Client) -> None:
        own = alerts.current_topic(self._settings.room, "")
        async for message in client.messages:
            topic, payload = str(message.topic), message.payload
            if not isinstance(payload, bytes) or not payload:
                continue
            if not topic.startswith(own):
                self._hear(topic, payload)
            elif message.retain and "/" not in topic.removeprefix(own):
                await self._clear_stale(client, topic)

    async def _clear_stale(self, client: aiomqtt.Client, topic: str) -> None:
        """An alarm that the broker kept of an earlier run would stand there for ever."""
        if alerts.name_of(topic) not in self._outbox.current():
            await client.publish(topic, b"", qos=1, retain=True)
            self.counters["cleared"] += 1

    def _hear(self, topic: str, payload: bytes) -> None:
        try:
            if topic == self._ask_topic:
                ask = alerts.decode_ask(payload)
                self._tell_since(ask.after if ask.log == self._outbox.log else -1)
            else:
                self._hear_followed(topic, payload)
        except RemoteProtocolError as fault:
            self.counters["rejected"] += 1
            self._stream(topic).rejected += 1
            self._on_loss(topic, 1, str(fault))

    def _hear_followed(self, topic: str, payload: bytes) -> None:
        room = next((room for prefix, room in self._followed.items() if topic.startswith(prefix)), None)
        if room is None:
            return  # amqtt sends retained messages that nobody asked for
        message: AnyMessage
        if topic == alerts.state_topic(room):
            message = alerts.decode_status(room, payload)
        else:
            message = alerts.decode_alert(payload).alert
            if (message.room, alerts.current_topic(room, message.name)) != (room, topic):
                raise RemoteProtocolError(f"{topic} carries alert {message.name!r} of room {message.room!r}")
        now_ns = self._clock.now_ns()
        msgspec.structs.force_setattr(message, "receive_time_ns", now_ns)  # nobody else holds it yet
        self.counters["received"] += 1
        self._stream(topic).arrived(len(payload), now_ns, message.device_time_ns)
        self._on_message(message)


async def _abandon(client: aiomqtt.Client) -> None:
    """Close what aiomqtt leaves open after a failed connection or farewell: the socket and its watch task."""
    if client._client.socket() is not None:
        client._client._sock_close()
    if client._misc_task is not None:
        client._misc_task.cancel()
        await asyncio.wait({client._misc_task})
