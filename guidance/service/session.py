"""One session of the service: set up from a configuration, run, summed up."""

import asyncio
import contextlib
import gc
import os
import secrets
import signal
import sys
import time
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from devices.clock import SystemClock
from devices.mqtt.broker import EmbeddedBroker
from devices.mqtt.outbox import MemoryOutbox, Outbox
from devices.priority import LOOP, keep_processors_awake, take_priority, take_usual_priority
from devices.tasks import end_tasks
from guidance.core import Core
from guidance.events import AnyEvent, Effect
from guidance.load import recording_header
from guidance.plan import Plan
from guidance.recording.disk import new_name
from guidance.recording.journal import Journal
from guidance.recording.outbox import JournalOutbox
from guidance.recording.writer import Recorder
from guidance.safety.limits import Limit
from guidance.safety.rules import RULES, Rule
from guidance.service.health import SelfWatch
from guidance.service.keeper import Keeper
from guidance.service.lifeline import Lifeline, is_armed
from guidance.service.results import ResultFiles
from guidance.service.room import Room
from guidance.service.summary import Logbook, summarise
from guidance.settings import RoomSettings

APART = ("show",)  # lanes with a process of their own, where a room is run for its devices
SWITCH_S = 0.0001  # how long another thread may hold the interpreter before the loop gets it back
COLLECT_S = 30.0
STOP_S = 0.4  # at the end: how long the devices have to confirm their STOP before the supervisor takes over


class Session:
    """A room that runs until it is told to end. `async with` opens and closes everything."""

    def __init__(
        self,
        settings: RoomSettings,
        plan: Plan | None,
        limits: dict[str, Limit],
        record: Path | None = None,
        ends_alone: bool = False,
        lasting: bool = False,
        rules: tuple[Rule, ...] = RULES,
        apart: Collection[str] = (),
    ) -> None:
        """`apart`: lanes that work in a process of their own.

        `rules`: the hazard table; only a fault campaign judges by another.

        `lasting`: the room's one journal goes on over restarts, so that no alarm is lost; else it is a new one.

        `record`: the operator's own choice of a file; otherwise a name is generated in the settings' folder.

        `ends_alone`: the session ends when its supervisor is gone (a demonstration must leave nothing behind).
        """
        self.clock = SystemClock()
        self.core = Core(settings, plan, limits, rules)
        self._record = record
        self._header = recording_header(settings, plan, limits)
        self._ended = asyncio.Event()
        self._live = asyncio.Event()
        self._brokers: list[EmbeddedBroker] = []
        self._collector: asyncio.Task[None] | None = None
        self._ends_alone = ends_alone
        self._lifeline: Lifeline | None = None
        self._lasting = lasting
        self._apart = apart
        self.journal: Journal | None = None
        self._watch: asyncio.Task[None] | None = None
        self._awake: int | None = None

    async def __aenter__(self) -> "Session":
        settings = self.core.settings
        recorder = self._recorder()
        for row in settings.links:
            if row.kind == "mqtt" and row.mode == "listen":
                host, _, port = row.address.rpartition(":")
                broker = EmbeddedBroker(host, int(port))
                await broker.start()
                self._brokers.append(broker)
        outbox, keeper = self._open_journal(recorder)
        self.room = Room(self.core, self.clock, outbox, recorder, keeper, self._apart)
        self.book = Logbook(self.room)
        self.room.watchers.append(self._see)
        self.room.watchers.append(ResultFiles(Path(settings.recording.folder) / "results").see)
        await self.room.start()
        self._lifeline = Lifeline.from_environment(self.room, self.end if self._ends_alone else None)
        sys.setswitchinterval(SWITCH_S)
        asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(2, "aside", take_usual_priority))
        self.room.hastened = take_priority(LOOP)
        self._awake = keep_processors_awake()
        self.room.awake = self._awake is not None
        gc.disable()
        self._collector = asyncio.create_task(self._collect())
        self._watch = asyncio.create_task(self._self_watch(recorder, outbox, keeper).run(), name="self-watch")
        self.started_ns = self.clock.now_ns()
        return self

    def _open_journal(self, recorder: Recorder | None) -> tuple[Outbox, Keeper | None]:
        """The journal beside the recording; a room that records nothing keeps its alerts in memory only."""
        if recorder is None:
            return MemoryOutbox(), None
        settings = self.core.settings
        fresh = new_name(time.time_ns(), secrets.token_hex(4), "journal")
        name = f"{settings.room}.journal" if self._lasting else fresh
        self.journal = Journal(recorder.path.parent, name)
        feeds = frozenset(row.id for row in settings.links if row.kind == "mqtt")
        outbox = JournalOutbox(self.journal)
        return outbox, Keeper(self.journal, feeds)

    def _self_watch(self, recorder: Recorder | None, outbox: Outbox, keeper: Keeper | None) -> SelfWatch:
        settings = self.core.settings
        lost = [keeper, outbox if isinstance(outbox, JournalOutbox) else None]
        return SelfWatch(
            self.clock,
            self.room.handle,
            recorder=recorder,
            journal=self.journal,
            unwritten=lambda: sum(row.unwritten for row in lost if row is not None),
            feeds={row.id: outbox for row in settings.links if row.kind == "mqtt"},
            plan=self.core.plan,
            plan_folder=Path(settings.plan).parent if settings.plan else None,
        )

    def _recorder(self) -> Recorder | None:
        if self._record is not None:
            return Recorder(self._record.parent, self._header, name=self._record.name)
        row = self.core.settings.recording
        return Recorder(Path(row.folder), self._header) if row.enabled else None

    async def __aexit__(self, *exc: object) -> None:
        ending = [task for task in (self._collector, self._watch) if task is not None]
        await end_tasks(ending)
        for task in ending:
            with contextlib.suppress(asyncio.CancelledError):
                task.result()
        gc.enable()
        take_usual_priority()
        if self._awake is not None:
            os.close(self._awake)
        await self._stop_devices()
        if self._lifeline is not None:
            self._lifeline.close()
        await self.room.stop()
        for broker in self._brokers:
            await broker.stop()
        if self.journal is not None:
            await asyncio.to_thread(self.journal.close)

    async def _stop_devices(self) -> None:
        """A service that ends while armed stops its devices first."""
        if not is_armed(self.core):
            return
        confirmed = asyncio.Event()

        def see(event: AnyEvent, effects: Sequence[Effect]) -> None:
            if self.core.stops.all_confirmed:
                confirmed.set()

        self.room.watchers.append(see)
        self.room.act("STOP", "service", reason="the service ends")
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(STOP_S):
                await confirmed.wait()

    async def _collect(self) -> None:
        while True:
            await asyncio.sleep(COLLECT_S)
            gc.collect(1)

    def end(self) -> None:
        """Ask `run` to return."""
        self._ended.set()
        self._live.set()

    def _see(self, event: AnyEvent, effects: Sequence[Effect]) -> None:
        if not self._live.is_set() and all(state.received for state in self.core.streams.values()):
            self._live.set()

    async def all_live(self) -> None:
        """Return once every stream has spoken, or `end` was called."""
        await self._live.wait()

    async def run(self, duration_s: float | None) -> dict[str, Any]:
        """Run for `duration_s` (None: until `end`) and return the summary."""
        began_ns = self.clock.now_ns()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(duration_s):
                await self._ended.wait()
        return summarise(self.room, self.book, (self.clock.now_ns() - began_ns) / 1e9)


def on_signals(end: Callable[[], None]) -> None:
    """SIGINT and SIGTERM end the session; further ones change nothing."""
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, end)
