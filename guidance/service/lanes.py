"""Lane threads: first-in first-out work beside the loop, a waiting job replaced by a newer one of its slot."""

import asyncio
import threading
from collections import OrderedDict, deque
from collections.abc import Callable
from typing import Protocol

from devices.clock import Clock
from devices.priority import LANE, take_priority
from guidance.events import Job, JobDone


class Bench(Protocol):
    """What does the jobs of a lane: a workbench here, or one in another process."""

    def run(self, job: Job, started_ns: int) -> JobDone:
        """Do one job."""
        ...


class LaneThread:
    """One thread that runs the jobs of one lane in order and hands results to the loop.

    `on_done` is called in the loop thread. `replaced` counts jobs that never ran because a newer
    one of the same slot came; `busy_ns` is the time spent working.
    """

    def __init__(self, name: str, bench: Bench, clock: Clock, on_done: Callable[[JobDone], None]) -> None:
        self.name = name
        self.replaced = 0
        self.finished = 0
        self.busy_ns = 0
        self._bench = bench
        self._clock = clock
        self._on_done = on_done
        self._loop = asyncio.get_running_loop()
        self._waiting: OrderedDict[str, Job] = OrderedDict()
        self._ready = threading.Condition()
        self._closing = False
        self._finished_jobs: deque[JobDone] = deque()
        self._thread = threading.Thread(target=self._work, name=f"lane-{name}", daemon=True)
        self._thread.start()

    def submit(self, job: Job) -> Job | None:
        """Queue `job`; the job that it replaced, if one of its slot was waiting."""
        key = job.slot or f"#{job.number}"
        with self._ready:
            old = self._waiting.pop(key, None)
            self._waiting[key] = job
            self._ready.notify()
        if old is not None:
            self.replaced += 1
        return old

    def _work(self) -> None:
        take_priority(LANE)  # or it would be kept from running while it holds the interpreter that the loop wants
        while True:
            with self._ready:
                while not self._waiting and not self._closing:
                    self._ready.wait()
                if self._closing:
                    return
                _, job = self._waiting.popitem(last=False)
            started = self._clock.now_ns()
            done = self._bench.run(job, started)
            self.busy_ns += self._clock.now_ns() - started
            self.finished += 1
            self._finished_jobs.append(done)
            if not self._closing:
                self._loop.call_soon_threadsafe(self._deliver)

    def _deliver(self) -> None:
        while self._finished_jobs and not self._closing:
            self._on_done(self._finished_jobs.popleft())

    def close(self) -> None:
        """Drop what waits, finish the running job and join the thread."""
        with self._ready:
            self._closing = True
            self._waiting.clear()
            self._ready.notify()
        self._thread.join()
