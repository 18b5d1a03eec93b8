"""What one thermometry frame costs from its bytes to the overlay, as a share of the frame time.

The room `hifu_liver` runs in virtual time (128x128x5 complex, 5 Hz, hybrid baseline, box of the heating followed); each
lane's job is timed while it runs, the bytes of its frames are decoded beside it. The lanes work in parallel in a real
room, so the sum is an upper bound of the work, not a latency: that is in `guidance bench room`.
"""

import statistics
import time
from typing import Any

import numpy as np

from devices.messages import Image
from devices.openigtlink.framer import Decoder, encode
from devices.openigtlink.incoming import to_domain
from devices.openigtlink.naming import Naming
from devices.openigtlink.outgoing import to_wire
from guidance.core import Core
from guidance.events import AnyEvent, Arrival, Job, JobDone
from guidance.lanes import Workbench
from guidance.load import config_file, load_room
from guidance.trial import EPOCH_NS, build_peers
from guidance.units import NS_PER_S
from guidance.virtual import VirtualRoom

PROCEDURE, STREAM = "hifu_liver", "MR"
STEPS = ("thermometry", "heating", "planes")
SECONDS, QUICK_SECONDS = 16.0, 8.0


class TimedWorkbench(Workbench):
    """A workbench that keeps how long each job took, by kind, from the first temperature on."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.took_ms: dict[str, list[float]] = {}
        self._warm = False

    def run(self, job: Job, started_ns: int) -> JobDone:
        """As it is, and timed."""
        began = time.perf_counter()
        done = super().run(job, started_ns)
        took = 1e3 * (time.perf_counter() - began)
        if self._warm:
            self.took_ms.setdefault(job.kind, []).append(took)
        self._warm |= job.kind == "thermometry" and done.facts.get("state") == "ok"
        return done


def decode_ms(frames: list[Image]) -> float:
    """Median milliseconds from the bytes of a frame to its message."""
    taken = []
    for frame in frames:
        data = b"".join(bytes(part) for wire in to_wire(frame, 2) for part in encode(wire))
        began = time.perf_counter()
        messages = [m for wire in Decoder().feed(data) for m in to_domain(wire, 1, Naming())]
        taken.append(1e3 * (time.perf_counter() - began))
        assert isinstance(messages[0], Image)
    return statistics.median(taken)


def rows(quick: bool) -> list[dict[str, Any]]:
    """One row a step and their sum; `peer_ms` is the frame time, `ratio` the share of it."""
    settings, plan, limits = load_room(config_file("procedures", PROCEDURE))
    simulated = build_peers(PROCEDURE, 1, EPOCH_NS)
    bench = TimedWorkbench(settings, plan)
    room = VirtualRoom(Core(settings, plan, limits), simulated.peers, EPOCH_NS, workbench=bench)
    frames: list[Image] = []

    def watch(event: AnyEvent, effects: object) -> None:
        if isinstance(event, Arrival) and isinstance(event.message, Image) and np.iscomplexobj(event.message.pixels):
            frames.append(event.message)

    room.watchers.append(watch)
    room.run_until(EPOCH_NS + round((QUICK_SECONDS if quick else SECONDS) * NS_PER_S))
    frame_ms = next(stream.period_ms for stream in settings.streams if stream.name == STREAM)
    steps = {"decode": decode_ms(frames)}
    steps |= {kind: statistics.median(bench.took_ms[kind]) for kind in STEPS if kind in bench.took_ms}
    size = "x".join(str(n) for n in frames[-1].pixels.shape[::-1])
    return [_row(name, size, value, frame_ms) for name, value in (*steps.items(), ("all", sum(steps.values())))]


def _row(name: str, size: str, value: float, frame_ms: float) -> dict[str, Any]:
    row = {"name": f"frame to overlay: {name}", "size": size, "ours_ms": value, "peer": "frame time"}
    return row | {"peer_ms": frame_ms, "ratio": value / frame_ms, "limit": None, "ok": value < frame_ms}
