"""The room, live: links and lanes around the core, every step recorded in the order it was taken."""

import asyncio
import gc
from collections import deque
from collections.abc import Callable, Collection, Sequence
from functools import partial

import msgspec

from devices.clock import Clock
from devices.errors import DeviceError
from devices.messages import Acknowledgement, AnyMessage, Overlay
from devices.mqtt.outbox import Outbox
from guidance.core import Core
from guidance.events import Act, AnyEvent, Arrival, Effect, Job, JobDone, LinkChange, Loss, Send, Tick
from guidance.lanes import LANES, Workbench, replaced, warm_up
from guidance.recording.writer import Recorder
from guidance.safety.treatment import Verdict
from guidance.service.apart import Apart
from guidance.service.keeper import Keeper
from guidance.service.lanes import LaneThread
from guidance.service.links import AnyLink, Ears, build
from guidance.service.meter import Meter
from guidance.settings import IMAGES

Watcher = Callable[[AnyEvent, Sequence[Effect]], None]


class Room:
    """Drives one core over sockets. `watchers` (console, metrics) see every step after it was carried out."""

    def __init__(
        self,
        core: Core,
        clock: Clock,
        outbox: Outbox,
        recorder: Recorder | None = None,
        keeper: Keeper | None = None,
        apart: Collection[str] = (),
    ) -> None:
        """`keeper`: the room's journal; with one, nothing is acknowledged before it is on the disk.

        `apart`: lanes that work in a process of their own.
        """
        self.core = core
        self.keeper = keeper
        self.clock = clock
        self.recorder = recorder
        self.watchers: list[Watcher] = []
        self.hastened = False  # the loop's thread runs before others
        self.awake = False  # idle processors are kept from sleeping
        settings = core.settings
        self.meter = Meter(frozenset(row.name for row in settings.streams if row.kind in IMAGES))
        self.links: dict[str, AnyLink] = {
            row.id: build(row, settings, clock, Ears(row.id, self._message, self._change, self._lost), outbox)
            for row in settings.links
        }
        self.lanes: dict[str, LaneThread] = {}
        self._apart = tuple(apart)
        self._elsewhere: dict[str, Apart] = {}
        self._pending: deque[AnyEvent] = deque()
        self._pictures: deque[tuple[AnyEvent, Send]] = deque()
        self._busy = False
        self._tick_ns = round(settings.tick_ms * 1e6)
        self._due_ns = 0
        self._timer: asyncio.TimerHandle | None = None

    async def start(self) -> None:
        """Warm up, start lanes and links, then the tick: nothing compiles or collects garbage once data flow."""
        settings, plan = self.core.settings, self.core.plan
        self._elsewhere = {lane: Apart(lane, settings, plan) for lane in self._apart}
        await asyncio.to_thread(warm_up, settings, plan, [lane for lane in LANES if lane not in self._apart])
        for bench in self._elsewhere.values():
            await asyncio.to_thread(bench.wait_until_warm)
        gc.collect()
        gc.freeze()
        here = Workbench(settings, plan)
        self.lanes = {
            name: LaneThread(name, self._elsewhere.get(name, here), self.clock, self._finished) for name in LANES
        }
        for link in self.links.values():
            await link.start()
        self._due_ns = self.clock.now_ns()
        self._tick()

    async def stop(self) -> None:
        """Stop the tick, the lanes, the links and the recorder, in this order."""
        if self._timer is not None:
            self._timer.cancel()
        for lane in self.lanes.values():
            await asyncio.to_thread(lane.close)
        for bench in self._elsewhere.values():
            await asyncio.to_thread(bench.close)
        while self._pictures:
            self._send(*self._pictures.popleft())
        for link in self.links.values():
            await link.stop()
        if self.recorder is not None:
            await asyncio.to_thread(self.recorder.close)

    def act(
        self, verb: str, actor: str, console: str = "", role: str = "operator", **values: float | int | str | bool
    ) -> Verdict:
        """An operator's act from the console, already authenticated; the core's verdict. Never from a watcher."""
        now_ns = self.clock.now_ns()
        self.handle(Act(now_ns=now_ns, verb=verb, actor=actor, console=console, role=role, values=values))
        return self.core.last_verdict

    def handle(self, event: AnyEvent) -> None:
        """Take one event through the core and carry out its effects; events that follow from it come after it."""
        self._pending.append(event)
        if self._busy:
            return
        self._busy = True
        try:
            while self._pending:
                self._step(self._pending.popleft())
        finally:
            self._busy = False

    def _step(self, event: AnyEvent) -> None:
        effects = self.core.accept(event)
        confirmations: list[Send] = []
        for effect in effects:
            if not isinstance(effect, Send):
                self._submit(effect)
            elif isinstance(effect.message, Overlay):
                self._put_off(event, effect)
            elif self.keeper is not None and isinstance(effect.message, Acknowledgement):
                confirmations.append(effect)
            else:
                self._send(event, effect)
        if self.keeper is not None:
            sequence = self.keeper.keep(event, effects, self.core.treatment.phase)
            for send in confirmations:
                self.keeper.when_synced(sequence, partial(self._send, event, send))
        self.meter.finished(event)
        if self.recorder is not None:
            self.recorder.append(event, effects)
        for watcher in self.watchers:
            watcher(event, effects)

    def _send(self, event: AnyEvent, send: Send) -> None:
        try:
            self.links[send.link].send(send.message, send.urgent)
        except DeviceError as fault:
            self._lost(send.link, send.message.name, 1, f"not sent: {fault}")
            return
        self.meter.sent(event, send, self.clock.now_ns())

    def _put_off(self, event: AnyEvent, send: Send) -> None:
        """Pictures leave one a turn of the loop: a pose that has come meanwhile goes first."""
        if not self._pictures:
            asyncio.get_running_loop().call_soon(self._send_picture)
        self._pictures.append((event, send))

    def _send_picture(self) -> None:
        if not self._pictures:  # the room has ended
            return
        self._send(*self._pictures.popleft())
        if self._pictures:
            asyncio.get_running_loop().call_soon(self._send_picture)

    async def kept(self) -> None:
        """Return once everything that was said and done so far is on the disk: what was asked may be called done."""
        if self.keeper is not None:
            await self.keeper.all_synced()

    def _submit(self, job: Job) -> None:
        self.meter.submitted(job)
        old = self.lanes[job.lane].submit(job)
        if old is not None:
            self._pending.append(replaced(old, self.clock.now_ns()))

    def _message(self, link: str, message: AnyMessage) -> None:
        self.handle(Arrival(now_ns=message.receive_time_ns, link=link, message=message))

    def _change(self, link: str, up: bool, peer: str, reason: str) -> None:
        self.handle(LinkChange(now_ns=self.clock.now_ns(), link=link, up=up, peer=peer, reason=reason))

    def _lost(self, link: str, stream: str, count: int, reason: str) -> None:
        self.handle(Loss(now_ns=self.clock.now_ns(), link=link, stream=stream, count=count, reason=reason))

    def _finished(self, done: JobDone) -> None:
        self.handle(msgspec.structs.replace(done, now_ns=self.clock.now_ns()))

    def _tick(self) -> None:
        now_ns, wall_ns = self.clock.both_ns()
        self.meter.loop_late.add(max(now_ns - self._due_ns, 0))
        try:
            self.handle(Tick(now_ns=now_ns, wall_ns=wall_ns))
        finally:  # a fault in one step is told by the loop; time goes on
            self._due_ns = max(self._due_ns + self._tick_ns, now_ns)
            self._timer = asyncio.get_running_loop().call_later((self._due_ns - now_ns) / 1e9, self._tick)

    def describe(self) -> dict[str, str]:
        """Addresses of all links, for people and for programs that connect."""
        return {
            name: link.address if isinstance(link.address, str) else ":".join(map(str, link.address))
            for name, link in self.links.items()
        }
