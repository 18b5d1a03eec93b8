"""Timers that fire within tens of microseconds without spinning.

asyncio's and uvloop's own timers are rounded to milliseconds; a Linux timerfd read by the loop is
not. Elsewhere the loop's timers serve, and sending jitters by about a millisecond.
"""

import asyncio
import ctypes
import heapq
import os
import time
from collections.abc import Callable

_CLOCK_MONOTONIC = 1
_TFD_TIMER_ABSTIME = 1


class _Timespec(ctypes.Structure):
    _fields_ = [("seconds", ctypes.c_long), ("nanoseconds", ctypes.c_long)]


class _Itimerspec(ctypes.Structure):
    _fields_ = [("interval", _Timespec), ("value", _Timespec)]


class Timer:
    """Calls back at CLOCK_MONOTONIC times, in order of time, in the loop's thread."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._heap: list[tuple[int, int, Callable[[], None]]] = []
        self._count = 0
        self._armed_ns = 0
        self._handle: asyncio.TimerHandle | None = None
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._descriptor = -1
        if hasattr(self._libc, "timerfd_create"):
            self._descriptor = self._libc.timerfd_create(_CLOCK_MONOTONIC, os.O_NONBLOCK | os.O_CLOEXEC)
        if self._descriptor >= 0:
            loop.add_reader(self._descriptor, self._fired)

    def at(self, monotonic_ns: int, callback: Callable[[], None]) -> None:
        """Call `callback` at `monotonic_ns`, at once if that is past."""
        self._count += 1
        heapq.heappush(self._heap, (monotonic_ns, self._count, callback))
        self._arm()

    async def until(self, monotonic_ns: int) -> None:
        """Wait until `monotonic_ns`."""
        done: asyncio.Future[None] = self._loop.create_future()

        def finish() -> None:
            if not done.done():
                done.set_result(None)

        self.at(monotonic_ns, finish)
        await done

    def close(self) -> None:
        """Forget every callback."""
        self._heap.clear()
        if self._handle is not None:
            self._handle.cancel()
        if self._descriptor >= 0:
            self._loop.remove_reader(self._descriptor)
            os.close(self._descriptor)
            self._descriptor = -1

    def _arm(self) -> None:
        if not self._heap or self._heap[0][0] == self._armed_ns:
            return
        self._armed_ns = self._heap[0][0]
        if self._descriptor < 0:
            if self._handle is not None:
                self._handle.cancel()
            wait_s = max(self._armed_ns - time.monotonic_ns(), 0) / 1e9
            self._handle = self._loop.call_later(wait_s, self._run)
            return
        seconds, nanoseconds = divmod(max(self._armed_ns, 1), 1_000_000_000)
        when = _Itimerspec(_Timespec(0, 0), _Timespec(seconds, nanoseconds))
        if self._libc.timerfd_settime(self._descriptor, _TFD_TIMER_ABSTIME, ctypes.byref(when), None) != 0:
            raise OSError(ctypes.get_errno(), "timerfd_settime failed")

    def _fired(self) -> None:
        try:
            os.read(self._descriptor, 8)
        except BlockingIOError:
            return  # armed anew between the event and the call
        self._run()

    def _run(self) -> None:
        self._armed_ns = 0
        now_ns = time.monotonic_ns()
        while self._heap and self._heap[0][0] <= now_ns:
            heapq.heappop(self._heap)[2]()
        self._arm()
