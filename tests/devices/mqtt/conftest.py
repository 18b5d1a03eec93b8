"""A mosquitto that can be killed, a listener that uses nothing of ours, and links that clean up."""

import asyncio
import contextlib
import json
import os
import signal
import socket
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import paho.mqtt.client as paho
import pytest

from devices.clock import SystemClock
from devices.messages import Alert, AlertKind, AnyMessage, Priority
from devices.mqtt import MemoryOutbox, MqttLink, MqttSettings


def make_alert(sequence: int, name: str = "T1.rib-4", state: str = "active", room: str = "or-1") -> Alert:
    return Alert(
        name=name,
        room=room,
        priority=Priority.HIGH,
        kind=AlertKind.TECHNICAL,
        state=state,
        text="tracker stale",
        reaction="stop",
        advice="look at the camera",
        first_ns=1,
        sequence=sequence,
        value=1.5,
        limit=1.0,
        unit="s",
    )


class Broker:
    """A real mosquitto on a port of its own, without persistence: the worst case."""

    def __init__(self, program: Path, folder: Path) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port: int = probe.getsockname()[1]
        self._command = [str(program), "-c", str(folder / "mosquitto.conf")]
        (folder / "mosquitto.conf").write_text(
            f"listener {self.port} 127.0.0.1\nallow_anonymous true\nset_tcp_nodelay true\n"
            "max_queued_messages 10000\n"  # as config/sites/secured has it; beyond 1000 mosquitto's default drops
        )
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self._process = subprocess.Popen(self._command, stderr=subprocess.DEVNULL)
        for _ in range(500):
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), timeout=1):
                return
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(0.01)
                raise AssertionError("mosquitto did not start")
        raise AssertionError("mosquitto does not listen")

    def signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        os.kill(self._process.pid, number)

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


@pytest.fixture
def broker(mosquitto: Path, tmp_path: Path) -> Iterator[Broker]:
    running = Broker(mosquitto, tmp_path)
    running.start()
    yield running
    running.kill()


class Listener:
    """Somebody else's subscriber: plain paho in its own thread, reconnecting by itself."""

    def __init__(self, port: int, *topics: str, host: str = "127.0.0.1", **options: object) -> None:
        self.heard: list[tuple[str, bytes, bool]] = []
        self.connects = 0
        self.asks = bool(options.pop("asks", False))  # does it ask for what it missed
        self._topics, self._options, self._address = topics, options, (host, port)
        self.come_back()

    def come_back(self) -> None:
        """Hear what is said from now on."""
        self._client = client = paho.Client(paho.CallbackAPIVersion.VERSION2)
        client.on_connect = self._on_connect
        client.on_message = self._on_message
        client.reconnect_delay_set(1, 1)
        if "ca" in self._options:
            client.tls_set(ca_certs=self._options["ca"])
            client.username_pw_set(self._options["username"], self._options["password"])
        client.connect(*self._address, keepalive=5)
        client.loop_start()

    def _on_connect(self, client: paho.Client, *_: object) -> None:
        client.subscribe([(topic, 1) for topic in self._topics])
        self.connects += 1

    def _on_message(self, client: paho.Client, _user: object, message: paho.MQTTMessage) -> None:
        self.heard.append((message.topic, message.payload, message.retain))
        if self.asks and message.topic.endswith("/state") and (note := json.loads(message.payload))["state"] == "live":
            seen, after = set(self.sequences()), -1
            while after + 1 in seen:
                after += 1
            self.ask(message.topic.replace("/state", "/ask"), note["log"], after)

    def ask(self, topic: str, log: str, after: int) -> None:
        self._client.publish(topic, json.dumps({"version": 1, "log": log, "after": after}), qos=1)

    def notes(self, part: str) -> list[dict[str, object]]:
        return [json.loads(payload) for topic, payload, _ in list(self.heard) if part in topic and payload]

    def sequences(self) -> list[int]:
        return [note["alert"]["sequence"] for note in self.notes("/alerts/log/")]

    def state(self) -> str:
        return ([note["state"] for note in self.notes("/state")] or [""])[-1]

    def leave(self) -> None:
        """Hear nothing any more: the broker forgets a subscriber that has gone."""
        self._client.disconnect()
        self._client.loop_stop()

    close = leave


@pytest.fixture
def listen() -> Iterator[Callable[..., Listener]]:
    """`listen(port, topic, ...)`."""
    listeners: list[Listener] = []

    def start(*arguments: object, **options: object) -> Listener:
        listeners.append(Listener(*arguments, **options))
        return listeners[-1]

    yield start
    for listener in listeners:
        listener.close()


class Heard:
    """A link whose every callback is kept."""

    def __init__(self, settings: MqttSettings, outbox: MemoryOutbox | None) -> None:
        self.messages: list[AnyMessage] = []
        self.changes: list[tuple[bool, str, str]] = []
        self.losses: list[tuple[str, int, str]] = []
        self.outbox = outbox or MemoryOutbox()
        self.link = MqttLink(
            settings,
            clock=SystemClock(),
            outbox=self.outbox,
            on_message=self.messages.append,
            on_change=lambda *change: self.changes.append(change),
            on_loss=lambda *loss: self.losses.append(loss),
        )

    @property
    def up(self) -> bool:
        return bool(self.changes) and self.changes[-1][0]


@pytest.fixture
async def start_link() -> AsyncIterator[Callable[..., object]]:
    """`await start_link(port=..., ...)`; stopped at the end of the test."""
    links: list[MqttLink] = []

    async def start(outbox: MemoryOutbox | None = None, **settings: object) -> Heard:
        heard = Heard(MqttSettings(**{"room": "or-1", **settings}), outbox)
        links.append(heard.link)
        await heard.link.start()
        return heard

    yield start
    for link in links:
        await link.stop()


async def until(condition: Callable[[], object], what: str, seconds: float = 60.0) -> None:
    """Wait for a condition; the test fails with `what` where it never comes."""
    deadline = asyncio.get_running_loop().time() + seconds
    while not condition():
        assert asyncio.get_running_loop().time() < deadline, f"never happened: {what}"
        await asyncio.sleep(0.01)


@pytest.fixture
def wait_until() -> Callable[..., object]:
    return until


@pytest.fixture
def alert() -> Callable[..., Alert]:
    return make_alert
