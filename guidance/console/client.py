"""One page: what it is sent, what it may ask. A slow page drops frames and delays nobody."""

import asyncio
import contextlib
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
from starlette.websockets import WebSocket, WebSocketDisconnect

from devices.errors import LocalProtocolError
from devices.tasks import end_tasks
from guidance.console.desk import Desk
from guidance.console.lease import Lease
from guidance.console.roles import Console, Role
from guidance.safety.treatment import Verdict
from guidance.service.histogram import Histogram

HELLO_S = 5.0
STATE_S = 0.1
KEPT_S = 1.0  # a disk that is slower is told as "not on record"
LEASE_NS = 500_000_000
MAX_WAITING = 64  # replies that wait; a page that asks without reading is closed
MAX_BYTES = 16_384
POLICY_VIOLATION = 1008
GOING_AWAY = 1001  # what a browser says when its page is closed on purpose


class Client:
    """Reads a page's messages and writes what it is due, newest first, one unacknowledged frame a stream."""

    def __init__(self, socket: WebSocket, desk: Desk) -> None:
        self._socket = socket
        self._desk = desk
        self._replies: deque[dict[str, Any]] = deque()
        self._wake = asyncio.Event()
        self._unacked: dict[str, int] = {}
        self._sent: dict[str, int] = {}
        self._asked: dict[str, int] = {}  # stream -> number of the picture that is being packed for this page
        self._lease_ns = 0
        self._signed_off = False
        self._changes = -1
        self._confirming: set[asyncio.Task[None]] = set()
        self._asks: dict[str, Callable[[dict[str, Any]], Awaitable[dict[str, Any] | None]]] = {
            "look": self._look,
            "probe": self._probe,
            "drawn": self._drawn,
            "lease": self._leased,
            "preconditions": self._preconditions,
            "prepare": self._prepare,
            "act": self._act,
            "control": self._control,
        }

    async def serve(self) -> None:
        """Until the page goes or breaks the protocol."""
        try:
            async with asyncio.timeout(HELLO_S):
                hello = self._parsed(await self._socket.receive_text())
            role = self._desk.tokens.role(str(hello.get("token", "")))
        except (TimeoutError, ValueError, KeyError, LocalProtocolError) as fault:
            await self._socket.close(POLICY_VIOLATION, str(fault)[:120])
            return
        name = "".join(c for c in str(hello.get("name", ""))[:20] if c.isalnum())
        self._console: Console = self._desk.consoles.join(role, name)
        self._lease = Lease(self._console)
        self._desk.sources.listeners.add(self._wake)
        writer = asyncio.create_task(self._write())
        try:
            await self._read()
        finally:
            self._desk.sources.listeners.discard(self._wake)
            self._desk.leave(self._console, signed_off=self._signed_off)
            ending = (writer, *self._confirming)
            await end_tasks(ending)
            for task in ending:
                with contextlib.suppress(asyncio.CancelledError, WebSocketDisconnect, RuntimeError):
                    task.result()

    @staticmethod
    def _parsed(text: str) -> dict[str, Any]:
        if len(text) > MAX_BYTES:
            raise ValueError(f"message of {len(text)} characters (at most {MAX_BYTES})")
        message = msgspec.json.decode(text)
        if not isinstance(message, dict):
            raise ValueError("a message is a JSON object")
        return message

    # --- writing --------------------------------------------------------------------------------

    async def _write(self) -> None:
        loop = asyncio.get_running_loop()
        await self._send(self._desk.welcome(self._console))
        due = loop.time()
        while True:
            while self._replies:
                await self._send(self._replies.popleft())
            if loop.time() >= due or self._changes != self._desk.state.changes:
                self._changes = self._desk.state.changes
                due = loop.time() + STATE_S
                await self._socket.send_text(self._desk.encoded_state())
                await self._beat()
            for name, number in self._desk.sources.numbers().items():
                if name in self._unacked or self._sent.get(name) == number:
                    continue
                ready = self._desk.sources.ready(name, self._asked.setdefault(name, number))
                if ready is not None:
                    del self._asked[name]
                    self._sent[name] = self._unacked[name] = ready[0]
                    await self._socket.send_bytes(ready[1])
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout_at(due):
                    await self._wake.wait()
            self._wake.clear()

    async def _beat(self) -> None:
        now_ns = self._desk.now_ns()
        if now_ns - self._lease_ns >= LEASE_NS:
            self._lease_ns = now_ns
            nonce = self._lease.ask(self._desk.state.alarms_digest)
            live, why = self._desk.is_live(self._console), self._console.refused
            await self._send({"kind": "lease", "nonce": nonce, "live": live, "refused": why})

    async def _send(self, message: dict[str, Any]) -> None:
        await self._socket.send_text(msgspec.json.encode(message).decode())

    # --- reading --------------------------------------------------------------------------------

    async def _read(self) -> None:
        try:
            while True:
                text = await self._socket.receive_text()
                try:
                    message = self._parsed(text)
                    ask = self._asks[str(message.get("kind"))]
                    reply = await ask(message)
                except (ValueError, KeyError, TypeError, msgspec.DecodeError) as fault:
                    await self._socket.close(POLICY_VIOLATION, f"not understood: {fault}"[:120])
                    return
                if reply is not None:
                    self._replies.append({**reply, "id": message.get("id")})
                    self._wake.set()
                if len(self._replies) + len(self._confirming) > MAX_WAITING:
                    await self._socket.close(POLICY_VIOLATION, "asks faster than it reads")
                    return
        except WebSocketDisconnect as gone:
            self._signed_off = gone.code == GOING_AWAY

    async def _look(self, message: dict[str, Any]) -> dict[str, Any] | None:
        return await self._desk.outlines(message["at"], message.get("planes"))

    async def _probe(self, message: dict[str, Any]) -> dict[str, Any] | None:
        return self._desk.probe(message["at"])

    async def _preconditions(self, message: dict[str, Any]) -> dict[str, Any] | None:
        return self._desk.preconditions()

    async def _drawn(self, message: dict[str, Any]) -> dict[str, Any] | None:
        name = str(message["stream"])
        if self._unacked.get(name) == message["seq"]:
            del self._unacked[name]
            self._wake.set()
            if message.get("receive_ns"):
                histogram = self._desk.drawn.setdefault(name, Histogram())
                histogram.add(self._desk.now_ns() - int(message["receive_ns"]))
        return None

    async def _leased(self, message: dict[str, Any]) -> dict[str, Any] | None:
        if self._lease.answer(message) and self._console.role is not Role.VIEWER:
            self._desk.act(self._console, "LEASE")
        return None

    async def _prepare(self, message: dict[str, Any]) -> dict[str, Any] | None:
        return self._desk.prepare(self._console, str(message["verb"]))

    async def _act(self, message: dict[str, Any]) -> dict[str, Any] | None:
        values = message.get("values") or {}
        verb, ticket = str(message["verb"]), str(message.get("ticket", ""))
        verdict = self._desk.act(self._console, verb, dict(values), ticket, message.get("shown"))
        self._confirm(message, verb, verdict)
        return None

    async def _control(self, message: dict[str, Any]) -> dict[str, Any] | None:
        verdict = self._desk.act(self._console, "TAKE_CONTROL" if message.get("take") else "HAND_OVER")
        self._confirm(message, "CONTROL", verdict)
        return None

    def _confirm(self, message: dict[str, Any], verb: str, verdict: Verdict) -> None:
        """The verdict goes back once it is on the disk, beside the reading: another STOP never waits for this one."""
        task = asyncio.create_task(self._kept(message, verb, verdict))
        self._confirming.add(task)
        task.add_done_callback(self._confirming.discard)

    async def _kept(self, message: dict[str, Any], verb: str, verdict: Verdict) -> None:
        kept = True
        try:
            async with asyncio.timeout(KEPT_S):
                await self._desk.room.kept()
        except TimeoutError:
            kept = False
        told = {"kind": "verdict", "verb": verb, "done": verdict.done, "reasons": verdict.reasons, "kept": kept}
        self._replies.append({**told, "id": message.get("id")})
        self._wake.set()
