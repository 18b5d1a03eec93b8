"""The service's end of the line to its supervisor: beats, the bytes that stop each device, and who watches whom."""

import asyncio
import json
import os
import socket
import time
from collections.abc import Callable, Sequence
from typing import Any

from devices.messages import Command
from devices.openigtlink import encode, to_wire
from guidance.core import Core
from guidance.core.devices import SUPERVISOR
from guidance.events import AnyEvent, Effect, Health, LinkChange, Tick
from guidance.safety.phases import Phase
from guidance.safety.stops import Stoppable
from guidance.service.room import Room
from guidance.service.supervisor import CHANNEL_VARIABLE, DELIVERIES, MESSAGE_BYTES

BEAT_S = 0.015  # ticks closer than this share a beat
LOST_S = 0.25  # a supervisor not heard of for so long is lost
COMMAND_ID = 4_000_000_000  # the supervisor's STOPs are numbered from here, far from the service's own
ARMED = frozenset({Phase.READY, Phase.TREATING, Phase.HOLD})


class Lifeline:
    """Beats after every tick that the core has taken, so that a core that fails is silent too."""

    def __init__(self, room: Room, channel: socket.socket, on_end: Callable[[], None] | None = None) -> None:
        """`on_end` is called when the supervisor's process is gone."""
        self._room = room
        self._channel = channel
        self._channel.setblocking(False)
        self._loop = asyncio.get_running_loop()
        self._sent_s = 0.0
        self._heard_s = time.monotonic()
        self._due_s = 0.0
        self._told_armed = False
        self._up = False
        self._ended = False
        self._on_end = on_end
        self._loop.add_reader(channel, self._hear)
        room.watchers.append(self._see)

    @classmethod
    def from_environment(cls, room: Room, on_end: Callable[[], None] | None = None) -> "Lifeline | None":
        """The line to the process that started us as its service, or None where there is none."""
        number = os.environ.pop(CHANNEL_VARIABLE, None)
        return None if number is None else cls(room, socket.socket(fileno=int(number)), on_end)

    def close(self) -> None:
        """A last word, so that the supervisor knows whether a STOP is still open, and hang up."""
        if not self._ended:
            self._beat(time.monotonic(), 0.0)
            self._loop.remove_reader(self._channel)
        self._ended = True
        self._channel.close()

    def _see(self, event: AnyEvent, effects: Sequence[Effect]) -> None:
        if not isinstance(event, Tick) or self._ended:
            return
        now_s = time.monotonic()
        late_ms = max(now_s - self._due_s, 0.0) * 1e3 if self._due_s else 0.0
        self._due_s = now_s + self._room.core.settings.tick_ms / 1e3
        if now_s - self._sent_s >= BEAT_S or is_armed(self._room.core) != self._told_armed:
            self._beat(now_s, late_ms)
        self._judge(now_s - self._heard_s <= LOST_S, "not heard of")

    def _beat(self, now_s: float, late_ms: float) -> None:
        core = self._room.core
        armed = is_armed(core)
        message: dict[str, Any] = {"armed": armed, "at_s": now_s, "late_ms": round(late_ms, 3)}
        if armed and not self._told_armed:
            message["targets"] = [
                describe(core, target, COMMAND_ID + n) for n, target in enumerate(core.stops.targets, 1)
            ]
        try:
            self._channel.send(json.dumps(message).encode())
        except BlockingIOError:
            return  # the supervisor does not read: its silence is judged by its own beats
        except (BrokenPipeError, ConnectionResetError):
            self._lose("ended")
            return
        self._sent_s, self._told_armed = now_s, armed

    def _hear(self) -> None:
        while True:
            try:
                data = self._channel.recv(MESSAGE_BYTES)
            except BlockingIOError:
                return
            except ConnectionResetError:
                data = b""
            if not data:
                self._lose("ended")
                return
            self._heard_s = time.monotonic()
            message = json.loads(data)
            if "stops" in message:
                facts = {"supervisor_stops": float(message["stops"])}
                self._room.handle(Health(now_ns=self._room.clock.now_ns(), source=SUPERVISOR, facts=facts))

    def _lose(self, reason: str) -> None:
        self._ended = True
        self._loop.remove_reader(self._channel)
        self._up = True  # so that the loss is told even where it was never up
        self._judge(False, reason)
        if self._on_end is not None:
            self._on_end()

    def _judge(self, up: bool, reason: str) -> None:
        if up == self._up:
            return
        self._up = up
        now_ns = self._room.clock.now_ns()
        self._room.handle(LinkChange(now_ns=now_ns, link=SUPERVISOR, up=up, reason="heard of" if up else reason))


def is_armed(core: Core) -> bool:
    """True while energy or motion may flow, or a STOP is not confirmed."""
    return core.treatment.phase in ARMED or not core.stops.all_confirmed


def describe(core: Core, target: Stoppable, command_id: int) -> dict[str, Any]:
    """A device as the supervisor takes it: delivery, address and the encoded STOP.

    The delivery is the room's (`[therapy.options] supervisor`); `takeover` where it says nothing, which also
    serves devices that take one client only. A device that connects to us, or speaks another protocol, is
    beyond the supervisor: `dead_man`.
    """
    link = next(row for row in core.settings.links if row.id == target.link)
    therapy = core.settings.therapy
    wish = therapy.options.get("supervisor") if therapy and therapy.device == target.device else None
    delivery = str(wish or "takeover")
    if delivery not in DELIVERIES:
        raise ValueError(f"therapy.options.supervisor: {delivery!r} is not one of {DELIVERIES}")
    if link.kind != "openigtlink" or link.mode != "connect":
        delivery = "dead_man"
    host, _, port = link.address.rpartition(":")
    return {
        "device": target.device,
        "delivery": delivery,
        "host": host,
        "port": int(port),
        "command_id": command_id,
        "stop": stop_bytes(target.device, command_id).hex(),
    }


def stop_bytes(device: str, command_id: int) -> bytes:
    """STOP as OpenIGTLink bytes (version 2, so that the answer carries its status)."""
    command = Command(name=device, command_id=command_id, verb="STOP", reason="supervisor: the service is gone")
    return b"".join(bytes(part) for wire in to_wire(command, 2) for part in encode(wire, 2))
