"""Where a pose's time goes in the service: the legs of every pose of a burst, from its last byte to its books.

    .venv/bin/python -m scripts.pose_legs [SECONDS]

The demonstration room with four tools at 100 Hz, which come as one burst every 10 ms. Medians in microseconds; `waited`
counts from the moment at which the bytes were read, and holds the poses of the same read that went before.
"""

import asyncio
import sys
import time
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import uvloop

from devices.messages import Pose
from guidance.core import Core
from guidance.demo import run_demo
from guidance.events import AnyEvent, Arrival, Effect, Send
from guidance.service.room import Room

SECONDS = 20.0
WARM_BURSTS = 100
NEXT_BURST_NS = 5_000_000  # a pause longer than this ends a burst
COLUMNS = ("pose of the burst", "read after", "waited", "core", "console", "bus", "books", "whole")


class Legs:
    """Stands around the core and the links of a room and notes when each pose passed them."""

    def __init__(self) -> None:
        self.bursts: list[list[dict[str, float]]] = []
        self._row: dict[str, float] = {}
        self._read_ns = 0

    def around(self) -> None:
        """Take the times from now on."""
        accept, send, step = Core.accept, Room._send, Room._step

        def timed_accept(core: Core, event: AnyEvent) -> list[Effect]:
            began_ns = time.perf_counter_ns()
            effects = accept(core, event)
            self._row |= {"began": began_ns, "core": time.perf_counter_ns() - began_ns}
            return effects

        def timed_send(room: Room, event: AnyEvent, sent: Send) -> None:
            began_ns = time.perf_counter_ns()
            send(room, event, sent)
            self._row[sent.link] = time.perf_counter_ns() - began_ns

        def timed_step(room: Room, event: AnyEvent) -> None:
            self._row = {}
            step(room, event)
            if isinstance(event, Arrival) and isinstance(event.message, Pose):
                ended_ns = time.perf_counter_ns()
                self._note(event.now_ns + ended_ns - room.clock.now_ns(), ended_ns)

        Core.accept, Room._send, Room._step = timed_accept, timed_send, timed_step  # type: ignore[method-assign]

    def _note(self, read_ns: int, ended_ns: int) -> None:
        if read_ns - self._read_ns > NEXT_BURST_NS:
            self.bursts.append([])
        self._read_ns = read_ns
        row, burst = self._row, self.bursts[-1]
        row |= {"read": read_ns, "waited": row["began"] - read_ns, "whole": ended_ns - read_ns}
        row["books"] = row["whole"] - row["waited"] - sum(row.get(leg, 0.0) for leg in ("core", "console", "bus"))
        row["read after"] = read_ns - (burst[0]["read"] if burst else read_ns)
        burst.append(row)

    def rows(self) -> list[dict[str, Any]]:
        """Medians by place in the burst, of the bursts of the usual length: late ones come as one."""
        (usual, _), *_ = Counter(map(len, self.bursts)).most_common(1)
        whole = [burst for burst in self.bursts[WARM_BURSTS:] if len(burst) == usual]
        return [
            {COLUMNS[0]: place + 1} | {leg: _median([burst[place] for burst in whole], leg) for leg in COLUMNS[1:]}
            for place in range(usual)
        ]


def _median(rows: Sequence[dict[str, float]], leg: str) -> int:
    return round(float(np.median([row[leg] for row in rows if leg in row])) / 1e3)


def measure(seconds: float) -> list[dict[str, Any]]:
    """One row a place in the burst."""
    legs = Legs()
    legs.around()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(run_demo("hifu_liver", seconds, 1, browser=False))
    return legs.rows()


if __name__ == "__main__":
    for row in measure(float(sys.argv[1]) if len(sys.argv) > 1 else SECONDS):
        print(row)
