"""What the rim measures of itself and tells the core: disks, journal, alert feed, files of the plan."""

import asyncio
from collections.abc import Callable, Mapping
from pathlib import Path

from devices.clock import Clock
from devices.mqtt.outbox import Outbox
from guidance.events import Health
from guidance.plan import Plan
from guidance.plan.identity import changed_files
from guidance.recording.journal import Journal
from guidance.recording.writer import Recorder

PERIOD_S = 0.25
PLAN_EVERY = 40  # periods
MB = 1e6


class SelfWatch:
    """Measures every 250 ms; `tell` hands the event to the room. A watch that dies makes its facts stale."""

    def __init__(
        self,
        clock: Clock,
        tell: Callable[[Health], None],
        *,
        recorder: Recorder | None,
        journal: Journal | None,
        unwritten: Callable[[], int],
        feeds: Mapping[str, Outbox],
        plan: Plan | None,
        plan_folder: Path | None,
    ) -> None:
        self._clock, self._tell = clock, tell
        self._recorder, self._journal, self._unwritten = recorder, journal, unwritten
        self._feeds, self._plan, self._plan_folder = feeds, plan, plan_folder
        self._synced = (0, 0)  # (sequence, since when it stands there though records wait)
        self._periods = 0

    async def run(self) -> None:
        """Measure until cancelled."""
        while True:
            await self.measure()
            await asyncio.sleep(PERIOD_S)

    async def measure(self) -> None:
        """Once."""
        now_ns = self._clock.now_ns()
        if self._recorder is not None:
            state = self._recorder.health()
            self._say("recorder", {
                "record_free_mb": state.free_bytes / MB,
                "record_sync_ms": max(state.last_fsync_ms, state.sync_running_ms),
                "record_lost": float(state.lost + bool(state.error)),
            })  # fmt: skip
        if self._journal is not None:
            self._say("journal", self._journal_facts(self._journal, now_ns))
        for link, outbox in self._feeds.items():
            oldest = outbox.pending(1)
            age_ms = (now_ns - oldest[0].device_time_ns) / 1e6 if oldest else 0.0
            self._say(link, {"alert_age_ms": age_ms})
        if self._plan is not None and self._plan_folder is not None and self._periods % PLAN_EVERY == 0:
            edited = await asyncio.to_thread(changed_files, self._plan, self._plan_folder)
            self._say(self._plan.name, {"plan_edited_files": float(len(edited))})
        self._periods += 1

    def _journal_facts(self, journal: Journal, now_ns: int) -> dict[str, float]:
        state = journal.health()
        sequence, since_ns = self._synced
        stuck = state.waiting > 0 and state.synced_up_to == sequence
        self._synced = (state.synced_up_to, since_ns if stuck and since_ns else now_ns if state.waiting else 0)
        waiting_ms = (now_ns - self._synced[1]) / 1e6 if self._synced[1] else 0.0
        return {
            "record_free_mb": state.free_bytes / MB,
            "record_sync_ms": max(state.last_sync_ms, waiting_ms),
            "record_lost": float(self._unwritten() + bool(state.error)),
        }

    def _say(self, source: str, facts: dict[str, float]) -> None:
        self._tell(Health(now_ns=self._clock.now_ns(), source=source, facts=facts))
