"""The room in virtual time: the same core and lanes against peers that time is told to.

Hours pass in minutes, and the same seed gives the same bytes: there is no thread, no socket and
no clock here, only a queue of what is due.
"""

import heapq
import itertools
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence

import msgspec

from devices.messages import AnyMessage
from devices.peer import NEVER_NS, Peer
from guidance.core import Core
from guidance.events import AnyEvent, Arrival, Effect, Job, JobDone, LinkChange, Send, Tick
from guidance.lanes import LANES, Workbench, replaced
from guidance.units import ms

TRANSPORT_NS = ms(0.2)  # from a device's send to our receive stamp, and back
LANE_COST_NS = {
    "thermometry": ms(6.0),
    "frame": ms(5.0),
    "planes": ms(8.0),
    "cine": ms(10.0),
}  # a job's time on the lane
OTHER_COST_NS = ms(5.0)

Watcher = Callable[[AnyEvent, Sequence[Effect]], None]
SentHook = Callable[[AnyMessage, int], None]


class _Lane:
    """A lane in virtual time: first-in first-out, one job at a time, waiting jobs replaced by slot."""

    def __init__(self) -> None:
        self.waiting: OrderedDict[str, Job] = OrderedDict()
        self.busy = False
        self.held_until_ns = 0  # brings nothing before then


class VirtualRoom:
    """Drives `core` against `peers` from `start_ns`. `watchers` see every step; `on_sent` every device message."""

    def __init__(
        self,
        core: Core,
        peers: Iterable[Peer],
        start_ns: int,
        on_sent: SentHook = lambda message, now_ns: None,
        workbench: Workbench | None = None,
    ) -> None:
        self.core = core
        self.now_ns = start_ns
        self.watchers: list[Watcher] = []
        self._on_sent = on_sent
        self._workbench = workbench or Workbench(core.settings, core.plan)
        self._lanes = {name: _Lane() for name in LANES}
        self._peers: dict[str, list[Peer]] = {}
        for peer in peers:
            self._peers.setdefault(peer.name, []).append(peer)
        self._order = itertools.count()
        self._queue: list[tuple[int, int, Callable[[], None]]] = []
        self._wakes: dict[int, int] = {}  # id of peer -> time of its scheduled wake-up
        self._wall_offset_ns = 0
        self._stalled_until_ns = 0
        self._tick_ns = ms(core.settings.tick_ms)
        for link in core.settings.links:
            self._at(start_ns, self._taker(LinkChange(now_ns=start_ns, link=link.id, up=True, reason="virtual")))
        self._at(start_ns, self._tick)
        for row in self._peers.values():
            for peer in row:
                self._wake(peer)

    def run_until(self, end_ns: int) -> None:
        """Let time pass up to and including `end_ns`."""
        while self._queue and self._queue[0][0] <= end_ns:
            self.now_ns, _, action = heapq.heappop(self._queue)
            action()
        self.now_ns = max(self.now_ns, end_ns)

    def take(self, event: AnyEvent) -> None:
        """One event through the core; its effects are carried out in virtual time."""
        pending = [event]
        while pending:
            event = pending.pop(0)
            effects = self.core.accept(event)
            for effect in effects:
                if isinstance(effect, Send):
                    self._send(effect)
                else:
                    pending += self._submit(effect)
            for watcher in self.watchers:
                watcher(event, effects)

    def at(self, when_ns: int, event: AnyEvent) -> None:
        """Let `event` happen at `when_ns`."""
        self._at(when_ns, self._taker(event))

    def call(self, when_ns: int, action: Callable[[], None]) -> None:
        """Do something to the room at `when_ns`."""
        self._at(when_ns, action)

    def step_wall(self, step_ns: int) -> None:
        """Step the wall clock; service time does not move."""
        self._wall_offset_ns += step_ns

    def stall(self, until_ns: int) -> None:
        """Stand still from now on: what happens meanwhile is met at `until_ns`, as in a loop that was blocked."""
        self._stalled_until_ns = until_ns

    def hang(self, lane: str, until_ns: int) -> None:
        """Let what a lane does, or takes up next, be done at `until_ns` and not before."""
        self._lanes[lane].held_until_ns = until_ns

    def _meet(self, event: AnyEvent) -> None:
        """Take it, or wait until the room moves again."""
        until_ns = self._stalled_until_ns
        if self.now_ns >= until_ns:
            self.take(event)
            return
        late = msgspec.structs.replace(event, now_ns=until_ns)
        if isinstance(late, Arrival):
            message = msgspec.structs.replace(late.message, receive_time_ns=until_ns)
            late = msgspec.structs.replace(late, message=message)
        self._at(until_ns, self._taker(late))

    def _at(self, when_ns: int, action: Callable[[], None]) -> None:
        heapq.heappush(self._queue, (when_ns, next(self._order), action))

    def _taker(self, event: AnyEvent) -> Callable[[], None]:
        return lambda: self._meet(event)

    def _tick(self) -> None:
        if self.now_ns < self._stalled_until_ns:
            self._at(self._stalled_until_ns, self._tick)
            return
        self.take(Tick(now_ns=self.now_ns, wall_ns=self.now_ns + self._wall_offset_ns))
        self._at(self.now_ns + self._tick_ns, self._tick)

    def _wake(self, peer: Peer) -> None:
        due = max(peer.next_due_ns(), self.now_ns)
        if due < NEVER_NS and self._wakes.get(id(peer)) != due:
            self._wakes[id(peer)] = due
            self._at(due, lambda: self._advance(peer, due))

    def _advance(self, peer: Peer, due_ns: int) -> None:
        if self._wakes.get(id(peer)) != due_ns:
            return  # woken earlier by a message; a newer wake-up stands
        del self._wakes[id(peer)]
        for message in peer.advance(self.now_ns):
            self._on_sent(message, self.now_ns)
            arrives = self.now_ns + TRANSPORT_NS
            stamped = msgspec.structs.replace(message, receive_time_ns=arrives)
            self._at(arrives, self._taker(Arrival(now_ns=arrives, link=peer.name, message=stamped)))
        self._wake(peer)

    def _send(self, send: Send) -> None:
        for peer in self._peers.get(send.link, ()):
            self._at(self.now_ns + TRANSPORT_NS, self._deliverer(peer, send.message))

    def _deliverer(self, peer: Peer, message: AnyMessage) -> Callable[[], None]:
        def deliver() -> None:
            peer.accept(message, self.now_ns)
            self._wake(peer)

        return deliver

    def _submit(self, job: Job) -> list[JobDone]:
        lane = self._lanes[job.lane]
        key = job.slot or f"#{job.number}"
        old = lane.waiting.pop(key, None)
        lane.waiting[key] = job
        self._start(lane)
        return [] if old is None else [replaced(old, self.now_ns)]

    def _start(self, lane: _Lane) -> None:
        if lane.busy or not lane.waiting:
            return
        _, job = lane.waiting.popitem(last=False)
        lane.busy = True
        done = self._workbench.run(job, self.now_ns)
        finished = self.now_ns + LANE_COST_NS.get(job.kind, OTHER_COST_NS)
        self._at(finished, lambda: self._finish(lane, msgspec.structs.replace(done, now_ns=finished)))

    def _finish(self, lane: _Lane, done: JobDone) -> None:
        if self.now_ns < lane.held_until_ns:  # it hangs
            late = msgspec.structs.replace(done, now_ns=lane.held_until_ns)
            self._at(lane.held_until_ns, lambda: self._finish(lane, late))
            return
        lane.busy = False
        self._start(lane)
        self._meet(done)
