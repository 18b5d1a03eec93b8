"""Peers in real time on real links: one asyncio loop, and one worker thread that makes pictures.

Light peers live in the loop. Peers marked `heavy` are advanced in the worker thread as soon as
their frame is acquired (`ready_ns`) and their messages wait in the loop until they are due, so
that a picture in the making never delays a pose. All heavy peers share the one thread.
"""

import asyncio
import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import msgspec

from devices.clock import SystemClock
from devices.messages import Acknowledgement, AnyMessage, Command
from devices.peer import NEVER_NS, Peer
from devices.priority import take_usual_priority
from sim.latency import Latencies
from sim.links import Link, address_of, make_link
from sim.scenario import LinkRow, Room
from sim.timer import Timer

_URGENT = (Acknowledgement, Command)
PATIENCE_S = 3.0  # how long hands wait for their operator's console once anybody is connected


class RunnerOptions(msgspec.Struct, frozen=True):
    """`binds` replaces addresses by link id, `only` keeps some links, `duration_s` ends the run."""

    binds: Mapping[str, str] = {}
    only: frozenset[str] = frozenset()
    duration_s: float | None = None


class Runner:
    """Runs `room` on the links of its scenario, in the running loop."""

    def __init__(self, room: Room, clock: SystemClock, options: RunnerOptions | None = None) -> None:
        options = options or RunnerOptions()
        self._room, self._clock, self._options = room, clock, options
        self._monotonic_offset_ns = clock.now_ns() - time.monotonic_ns()
        rows = [row for row in room.scenario.links if not options.only or row.id in options.only]
        self._rows = [_bound(row, options.binds) for row in rows]
        self._peers = [peer for peer in room.peers if peer.name in {row.id for row in rows}]
        self._links: dict[str, Link] = {}
        self._worker = ThreadPoolExecutor(1, "frames", take_usual_priority)
        self._tasks: list[asyncio.Task[None]] = []
        self._planned: dict[int, int] = {}  # light peer -> when it is already planned
        loop = asyncio.get_running_loop()
        self._timer = Timer(loop)
        self._impatience: asyncio.TimerHandle | None = None
        self._failure: asyncio.Future[None] = loop.create_future()
        self.sent: Counter[str] = Counter()
        self.received: Counter[str] = Counter()
        self.lost: Counter[str] = Counter()
        self.late = Latencies()  # how late light peers' messages left
        self.frames_late = Latencies()

    async def start(self) -> dict[str, str]:
        """Open every link; addresses by link id. Nothing is sent before all are open."""
        for row in self._rows:
            link = make_link(row, self._clock, self._hearer(row.id), self._noter(row.id), self._loser(row.id))
            await link.start()
            self._links[row.id] = link
        return {name: address_of(link) for name, link in self._links.items()}

    def go(self) -> None:
        """Let the peers live."""
        for peer in self._peers:
            if getattr(peer, "heavy", False):
                self._tasks.append(asyncio.create_task(self._run_heavy(peer)))
            else:
                self._plan(peer)
        for task in self._tasks:
            task.add_done_callback(self._heavy_ended)

    async def until(self, ended: asyncio.Event) -> None:
        """Wait for `ended` or the duration; what goes wrong in a peer is raised here."""
        waiter = asyncio.create_task(ended.wait())
        try:
            await asyncio.wait(
                (waiter, self._failure), timeout=self._options.duration_s, return_when=asyncio.FIRST_COMPLETED
            )
        finally:
            waiter.cancel()
        if self._failure.done():
            self._failure.result()

    async def stop(self) -> None:
        """End everything that was started."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._timer.close()
        if self._impatience is not None:
            self._impatience.cancel()
        self._failure.cancel()
        self._worker.shutdown(wait=True, cancel_futures=True)
        for link in self._links.values():
            await link.stop()

    def summary(self) -> dict[str, Any]:
        """Counts and how punctual the sending was, in ms."""
        return {
            "sent": dict(self.sent),
            "received": dict(self.received),
            "lost": dict(self.lost),
            "late_ms": self.late.summary(),
            "frames_late_ms": self.frames_late.summary(),
        }

    # --- light peers ------------------------------------------------------------------------

    def _plan(self, peer: Peer) -> None:
        due_ns = peer.next_due_ns()
        if due_ns >= NEVER_NS or self._planned.get(id(peer), NEVER_NS) <= due_ns:
            return
        self._planned[id(peer)] = due_ns
        self._timer.at(due_ns - self._monotonic_offset_ns, lambda: self._live(peer, due_ns))

    def _live(self, peer: Peer, planned_ns: int) -> None:
        if self._planned.get(id(peer)) != planned_ns:
            return  # it was planned earlier than this
        del self._planned[id(peer)]
        try:
            now_ns = self._clock.now_ns()
            due_ns = peer.next_due_ns()
            if due_ns <= now_ns:
                said = peer.advance(now_ns)
                self._send(peer.name, said)
                if said:
                    self.late.add((now_ns - due_ns) / 1e6)
            self._plan(peer)
        except Exception as fault:  # noqa: BLE001 - handed to whoever waits in `until`
            self._fail(fault)

    # --- heavy peers ------------------------------------------------------------------------

    async def _run_heavy(self, peer: Any) -> None:
        loop = asyncio.get_running_loop()
        while (due_ns := peer.next_due_ns()) < NEVER_NS:
            ready: Callable[[], int] = getattr(peer, "ready_ns", peer.next_due_ns)
            await self._timer.until(min(ready(), due_ns) - self._monotonic_offset_ns)
            said = await loop.run_in_executor(self._worker, peer.advance, due_ns)
            late_ns = self._clock.now_ns() - due_ns
            if late_ns < 0:
                await self._timer.until(due_ns - self._monotonic_offset_ns)
            self._send(peer.name, said)
            self.frames_late.add(max(late_ns, 0) / 1e6)

    def _heavy_ended(self, task: asyncio.Future[None]) -> None:
        if not task.cancelled() and (fault := task.exception()) is not None:
            self._fail(fault)

    def _fail(self, fault: BaseException) -> None:
        if not self._failure.done():
            self._failure.set_exception(fault)

    # --- links ------------------------------------------------------------------------------

    def _send(self, link: str, said: list[AnyMessage]) -> None:
        for message in said:
            self._room.sends.note(message, self._clock.now_ns())
            self._links[link].send(message, urgent=isinstance(message, _URGENT))
            self.sent[message.name] += 1

    def _hearer(self, link: str) -> Callable[[AnyMessage], None]:
        listeners = [peer for peer in self._peers if peer.name == link]

        def hear(message: AnyMessage) -> None:
            self.received[link] += 1
            now_ns = message.receive_time_ns  # of its last byte, not of our turn to look at it
            for peer in listeners:
                if getattr(peer, "heavy", False):
                    accepted = asyncio.get_running_loop().run_in_executor(self._worker, peer.accept, message, now_ns)
                    accepted.add_done_callback(self._heavy_ended)
                else:
                    peer.accept(message, now_ns)
                    self._plan(peer)

        return hear

    def _noter(self, link: str) -> Callable[[bool, str, str], None]:
        def note(up: bool, peer: str, reason: str) -> None:
            if up and self._impatience is None:
                self._impatience = asyncio.get_running_loop().call_later(PATIENCE_S, self._begin)
            print(f"sim: {link} {'up' if up else 'down'} {peer} {reason}".rstrip(), file=sys.stderr, flush=True)

        return note

    def _begin(self) -> None:
        """Somebody is there, but no console: hands move without their operator."""
        self._room.truth.world.operator_begins(self._clock.now_ns())

    def _loser(self, link: str) -> Callable[[str, int, str], None]:
        def lose(stream: str, count: int, reason: str) -> None:
            self.lost[f"{link}/{stream}: {reason}"] += count

        return lose


def _bound(row: LinkRow, binds: Mapping[str, str]) -> LinkRow:
    if row.id not in binds:
        return row
    return LinkRow(id=row.id, kind=row.kind, mode=row.mode, address=binds[row.id], options=row.options)
