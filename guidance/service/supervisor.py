"""The supervisor: the parent of the service, which sends STOP when the service hangs or dies.

Small on purpose: standard library only, one thread, no numpy. The service tells it at every arming which
bytes stop which device and how they get there (`DELIVERIES`), and beats at 50 Hz over a socket pair.

| delivery | what is done |
|---|---|
| second_client | connect to the device beside the service and send STOP |
| takeover | the device serves one client: kill the service, then connect and send STOP |
| dead_man | the device cannot be reached: kill the service, so that its permits end |
"""

import json
import os
import re
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from devices.priority import WATCH, take_priority

CHANNEL_VARIABLE = "GUIDANCE_SUPERVISOR_FD"  # how the child finds its end of the socket pair
DELIVERIES = ("second_client", "takeover", "dead_man")
LIMIT_S = 0.2  # without a beat for so long while armed, the service counts as hung
REPEAT_S = 0.05
UNCONFIRMED_S = 0.2
GIVE_UP_S = 30.0  # after the service is gone and nobody confirms
REVIVE_S = 10.0  # a hung service that does not come back by then is killed
END_S = 1.2  # from a request to end until the service is killed
BEAT_S = 0.05  # our own beat to the service
IDLE_S, ACTIVE_S = 0.02, 0.005  # how long one look at everything may wait
MESSAGE_BYTES = 65536
REPLY_BYTES = 1 << 20
HEADER_BYTES = 58  # OpenIGTLink
CONTENT_AT = 4 + 128 + 2 + 4  # of the content in a command's body
DONE = re.compile(rb'"done"\s*:\s*true')


@dataclass(frozen=True)
class Target:
    """One device: where it is, how it is reached and the encoded STOP with its command id."""

    device: str
    delivery: str
    host: str = ""
    port: int = 0
    command_id: int = 0
    stop: bytes = b""

    @classmethod
    def read(cls, row: dict[str, Any]) -> "Target":
        """From the service's message; ValueError where the delivery is none that we know."""
        if row["delivery"] not in DELIVERIES:
            raise ValueError(f"{row['device']}: delivery {row['delivery']!r} is not one of {DELIVERIES}")
        return cls(**{**row, "stop": bytes.fromhex(row["stop"])})


def confirms(data: bytes, command_id: int) -> bool:
    """True where `data`, OpenIGTLink messages from their beginning, hold the answer that this STOP was done.

    RTS_COMMAND: (version 2: extended header), command id (uint32), name[128], encoding (uint16), length (uint32),
    content, (version 2: metadata). Done is said in the content (`"done": true`) or in the metadata (`SUCCESS`).
    """
    at = 0
    while at + HEADER_BYTES <= len(data):
        version = int.from_bytes(data[at : at + 2], "big")
        size = int.from_bytes(data[at + 42 : at + 50], "big")
        body = data[at + HEADER_BYTES : at + HEADER_BYTES + size]
        at += HEADER_BYTES + size
        if data[at - size - 56 : at - size - 44].rstrip(b"\0") != b"RTS_COMMAND" or len(body) < size:
            continue
        body = body[int.from_bytes(body[:2], "big") if version == 2 else 0 :]
        end = CONTENT_AT + int.from_bytes(body[CONTENT_AT - 4 : CONTENT_AT], "big")
        done = DONE.search(body[CONTENT_AT:end]) or b"SUCCESS" in body[end:]
        if done and int.from_bytes(body[:4], "big") == command_id:
            return True
    return False


class Carrier:
    """Brings one STOP to one device: connects, sends, repeats every 50 ms until confirmed."""

    def __init__(self, target: Target, now_s: float) -> None:
        self.target = target
        self.since_s = now_s
        self.sent_s = 0.0  # when STOP was first on the wire; 0 = not yet
        self.confirmed_s = 0.0
        self._next_s = now_s
        self._socket: socket.socket | None = None
        self._heard = b""

    @property
    def settled(self) -> bool:
        """True when there is nothing left to do."""
        return bool(self.confirmed_s) or self.target.delivery == "dead_man"

    def step(self, now_s: float) -> None:
        """Do what is due; never blocks longer than a loopback or local connection takes."""
        if self.settled:
            return
        self._listen(now_s)
        if now_s >= self._next_s and not self.settled:
            self._next_s = now_s + REPEAT_S
            self._send(now_s)

    def _listen(self, now_s: float) -> None:
        while self._socket is not None:
            try:
                piece = self._socket.recv(MESSAGE_BYTES)
            except BlockingIOError:
                return
            except OSError:
                piece = b""
            if not piece:
                self.close()
                return
            self._heard = (self._heard + piece)[-REPLY_BYTES:]
            if confirms(self._heard, self.target.command_id):
                self.confirmed_s = now_s
                self.close()

    def _send(self, now_s: float) -> None:
        try:
            if self._socket is None:
                self._socket = socket.create_connection((self.target.host, self.target.port), timeout=REPEAT_S)
                self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self._socket.setblocking(False)
            if self._socket.send(self.target.stop) == len(self.target.stop):
                self.sent_s = self.sent_s or time.monotonic()
            else:
                self.close()  # half a message on the wire: begin again on a new connection
        except OSError:
            self.close()

    def close(self) -> None:
        """Close the socket; what was heard on it is forgotten."""
        if self._socket is not None:
            self._socket.close()
        self._socket, self._heard = None, b""


class Supervisor:
    """Runs `words` as the service and watches it. `tell` hears one line of JSON for everything that matters."""

    def __init__(self, words: Iterable[str], tell: Callable[[dict[str, Any]], object]) -> None:
        self._words = list(words)
        self._tell = tell
        self._channel, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._channel.setblocking(False)
        with theirs:
            environment = {**os.environ, CHANNEL_VARIABLE: str(theirs.fileno())}
            self._child = subprocess.Popen(self._words, env=environment, pass_fds=(theirs.fileno(),))
        self._targets: list[Target] = []
        self._carriers: list[Carrier] = []
        self._armed = False
        self._beat_s = self._own_beat_s = time.monotonic()
        self._hung_s = 0.0
        self._ending_s = 0.0
        self._cried = False

    @property
    def child(self) -> int:
        """Process id of the service."""
        return self._child.pid

    def run(self) -> int:
        """Until the service has ended and every STOP is settled; the service's exit code."""
        take_priority(WATCH)
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._end)
        while True:
            wait_s = ACTIVE_S if self._carriers else IDLE_S
            select.select([self._channel], [], [], wait_s)
            heard = self._listen()
            now_s = time.monotonic()
            code = self._child.poll()
            if code is not None and (self._armed or self._carriers):
                self._stop("the service died", now_s)
                self._armed = False
            if code is not None and self._settle(now_s):
                return 128 - code if code < 0 else code
            if code is None:
                self._watch(heard, now_s)
            for carrier in self._carriers:
                carrier.step(now_s)
            self._report(now_s)
            if code is not None:
                time.sleep(ACTIVE_S)  # the channel is at its end and does not wait any more

    def _listen(self) -> bool:
        """Take every message that waits; True when one was a beat."""
        beat = False
        while True:
            try:
                data = self._channel.recv(MESSAGE_BYTES)
            except (BlockingIOError, ConnectionResetError):
                return beat
            if not data:
                time.sleep(ACTIVE_S)  # the service closed its end; its exit follows
                return beat
            message = json.loads(data)
            if "targets" in message:
                self._targets = [Target.read(row) for row in message["targets"]]
            self._armed = message["armed"]
            self._beat_s = max(self._beat_s, message["at_s"])
            beat = True

    def _watch(self, heard: bool, now_s: float) -> None:
        if now_s - self._own_beat_s >= BEAT_S:
            self._own_beat_s = now_s
            self._say({"beat": now_s})
        if self._armed and not self._hung_s and now_s - self._beat_s > LIMIT_S:
            self._hung_s = now_s
            self._say({"stops": 1})
            self._stop("the service hangs", now_s)
        elif self._hung_s and heard and now_s - self._beat_s <= LIMIT_S and all(c.settled for c in self._carriers):
            self._say({"stops": 0})  # the condition is over; its alarm stays until a person resets it
            self._tell({"supervisor": "the service is back", "hung_ms": round(1e3 * (now_s - self._hung_s), 1)})
            self._hung_s = 0.0
            self._carriers = []
        late = (self._hung_s and now_s - self._hung_s > REVIVE_S) or (self._ending_s and now_s > self._ending_s)
        if late:
            self._child.kill()

    def _stop(self, reason: str, now_s: float) -> None:
        """Begin to carry STOP to every device, once."""
        if self._carriers:
            return
        if any(target.delivery != "second_client" for target in self._targets):
            self._child.kill()
        self._carriers = [Carrier(target, now_s) for target in self._targets]
        self._cried = False
        silent_ms = round(1e3 * (now_s - self._beat_s), 1)
        self._tell({"supervisor": reason, "silent_ms": silent_ms, "stops": [t.device for t in self._targets]})

    def _report(self, now_s: float) -> None:
        open_stops = [c for c in self._carriers if not c.settled]
        if open_stops and not self._cried and now_s - open_stops[0].since_s > UNCONFIRMED_S:
            self._cried = True
            names = ", ".join(carrier.target.device for carrier in open_stops)
            self._tell({"supervisor": f"{names} has not confirmed STOP: USE THE HARD E-STOP"})

    def _settle(self, now_s: float) -> bool:
        """True when no STOP is open any more, or it is hopeless."""
        given_up = any(not c.settled and now_s - c.since_s > GIVE_UP_S for c in self._carriers)
        given_up |= bool(self._ending_s) and now_s > self._ending_s
        if not given_up and not all(carrier.settled for carrier in self._carriers):
            return False
        if self._carriers:
            rows = {c.target.device: bool(c.confirmed_s) for c in self._carriers}
            self._tell({"supervisor": "stops settled", "confirmed": rows})
        self._carriers = []
        return True

    def _say(self, message: dict[str, Any]) -> None:
        try:
            self._channel.send(json.dumps(message).encode())
        except (BlockingIOError, BrokenPipeError, ConnectionResetError):
            return  # it hangs or is gone: `_watch` and `poll` see that

    def _end(self, number: int, frame: object) -> None:
        """SIGINT or SIGTERM: pass it on, and see to it that the service ends in time."""
        self._ending_s = self._ending_s or time.monotonic() + END_S
        if self._child.poll() is None:
            self._child.send_signal(number)


def supervise(words: Iterable[str]) -> int:
    """Run `guidance words...` as a supervised service; its exit code."""
    return Supervisor(
        [sys.executable, "-m", "guidance", *words],
        lambda row: os.write(2, json.dumps(row).encode() + b"\n"),
    ).run()
