"""The keeper of the journal: what people and devices said and did, on the disk before anybody is told *confirmed*.

STOP and alert bytes have left before a record of them is even queued; only acknowledgements wait.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence

from devices.messages import Acknowledgement, Alert, AnyMessage, Command
from guidance.errors import RecordingError
from guidance.events import Act, AnyEvent, Arrival, Effect, Send
from guidance.recording.journal import Journal
from guidance.recording.outbox import Acted, Entry, Moved, Said, pack_entry
from guidance.safety.phases import Phase

BEATS = frozenset({"LEASE", "BEAT", "HELD"})  # acts that only renew something; their lapse is an alarm
KEPT_COMMANDS = 4096


class Keeper:
    """Writes one room's journal. All methods in the loop's thread; none blocks.

    `feeds`: links whose outbox already keeps their alerts in this journal. `unwritten` counts
    records that the journal refused; whatever waits for them is never confirmed.
    """

    def __init__(self, journal: Journal, feeds: frozenset[str] = frozenset()) -> None:
        self.journal = journal
        self.unwritten = 0
        self._feeds = feeds
        self._loop = asyncio.get_running_loop()
        self._phase = Phase.STOPPED
        self._told: deque[tuple[str, int, str]] = deque(maxlen=KEPT_COMMANDS)
        self._newest = 0
        self._waiting: deque[tuple[int, Callable[[], None]]] = deque()
        journal.on_synced = self._synced_in_thread

    def keep(self, event: AnyEvent, effects: Sequence[Effect], phase: Phase) -> int:
        """Queue what this step said and did; the sequence that must be on the disk before it is confirmed."""
        entries = [*self._heard(event), *self._said(event, effects)]
        if phase is not self._phase:
            entries.append(Moved(self._phase.value, phase.value, event.now_ns))
            self._phase = phase
        sequence = 0
        for entry in entries:
            try:
                self._newest = sequence = self.journal.append(pack_entry(entry))
            except RecordingError:
                self.unwritten += 1
                return -1
        return sequence

    def when_synced(self, sequence: int, tell: Callable[[], None]) -> None:
        """Call `tell` once `sequence` is on the disk; never for -1, which no disk has."""
        if sequence >= 0:
            self._waiting.append((sequence, tell))
            self._synced()

    async def all_synced(self) -> None:
        """Return once everything kept so far is on the disk."""
        done = asyncio.Event()
        self.when_synced(self._newest, done.set)
        await done.wait()

    def _heard(self, event: AnyEvent) -> list[Entry]:
        if isinstance(event, Act):
            return [] if event.verb in BEATS else [Acted(event)]
        if isinstance(event, Arrival) and isinstance(event.message, Command | Acknowledgement):
            beat = isinstance(event.message, Command) and event.message.verb in BEATS
            return [] if beat else [Said(event.link, event.message, event.now_ns)]
        return []

    def _said(self, event: AnyEvent, effects: Sequence[Effect]) -> list[Entry]:
        rows: list[Entry] = []
        alerts: dict[int, Alert] = {}
        for effect in effects:
            if not isinstance(effect, Send):
                continue
            if isinstance(effect.message, Alert):
                alerts[effect.message.sequence] = effect.message
            elif self._is_new(effect.link, effect.message):
                rows.append(Said(effect.link, effect.message, event.now_ns))
        kept = any(isinstance(e, Send) and e.link in self._feeds and isinstance(e.message, Alert) for e in effects)
        return rows if kept else [*rows, *(Said("", alert, event.now_ns) for alert in alerts.values())]

    def _is_new(self, link: str, message: AnyMessage) -> bool:
        """Acknowledgements, and commands the first time: permits and repetitions of a STOP are no news."""
        if isinstance(message, Acknowledgement):
            return message.verb not in BEATS
        if not isinstance(message, Command) or message.verb == "PERMIT":
            return False
        key = (link, message.command_id, message.verb)
        if key in self._told:
            return False
        self._told.append(key)
        return True

    def _synced_in_thread(self, sequence: int) -> None:
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._synced)

    def _synced(self) -> None:
        while self._waiting and self._waiting[0][0] <= self.journal.synced_up_to:
            self._waiting.popleft()[1]()
