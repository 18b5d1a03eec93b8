"""Campaign S: from evidence to STOP bytes in a room in trouble: busy cores, readers that do not read, a slow disk.

The service is the live one over sockets, its devices behind proxies. Evidence is a real message, put among those of
a device: the energy device reports a fault, or a picture shows a guarded structure above its limit. Time runs from
before its bytes are written to the service's socket until STOP has been read at the energy device's end, so
that both ways through the kernel are in it.
"""

import asyncio
import os
import socket
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import psutil
import uvloop
from rich.console import Console
from rich.table import Table

from devices.messages import AnyMessage, Image, Reading, Status
from devices.openigtlink import OpenIGTLinkLink, encode, to_wire
from guidance.events import AnyEvent, Arrival
from guidance.faults.row import Stage
from guidance.faults.socket_run import READY_S, TRIES, SocketRoom
from guidance.faults.trouble import busy, slow_disk
from guidance.safety.phases import Phase
from guidance.safety.rules import Reaction
from guidance.service.session import APART
from guidance.settings import parse_settings

READERS = 20
READER_BYTES = 4096  # of a reader's own buffer in the kernel
PATIENCE_S = 3600.0  # before a reader that does not read is closed, which would end its load
SYNC_S = 0.4  # under the limit of rule C3s, which would block the next arming
P99_MS, MAX_MS = 20.0, 100.0
NEVER_S = 2.0
STOP_BYTES = b"STOP\0"  # a command's name in its field; a permit only says "STOPPED"
LIMIT_C = 42.0  # of the guard: one step within what tracking of a voxel believes must reach it
WARM_C = 2.8  # by so much a guard is warmer in one picture
KINDS = {"report": ("therapy", "H2"), "picture": ("mr", "T1")}  # evidence -> link, rule
REPORTS = "TherapyStatus"  # by this name the energy device speaks of itself
FAULT, WELL = 10, 1  # OpenIGTLink status codes: not ready, well
WAIT_S = (0.02, 0.08)  # after the device's own message, so that ours falls between two of its


class BusyRoom(SocketRoom):
    """A campaign's room that records, and shows maps and poses to readers that do not read."""

    def __init__(self, folder: Path, readers: int, without: str) -> None:
        super().__init__(1, without, APART)
        values = self._settings.model_dump()
        view = {"id": "view", "kind": "openigtlink", "mode": "listen", "options": {"write_stall_s": PATIENCE_S}}
        values["links"] = [*values["links"], view]
        shown = [{"kind": "overlay", "to": ["view"], "views": ["coronal"]}, {"kind": "guided_pose", "to": ["view"]}]
        values["outputs"] = [*values["outputs"], *shown]
        reports = {"name": REPORTS, "link": "therapy", "kind": "status", "period_ms": 1000.0}
        values["streams"] = [*values["streams"], reports]
        values["recording"] = {"folder": str(folder), "enabled": True}
        for row in values["guards"]:
            row |= {"limit_c": LIMIT_C, "limit_cem43_min": 1e6}  # judged by temperature, hundreds of times
        self._settings = parse_settings(values, "campaign S")
        self._newest: dict[str, AnyMessage] = {}
        self._arrived: dict[str, asyncio.Event] = {link: asyncio.Event() for link, _ in KINDS.values()}
        self._stopped: asyncio.Future[int] | None = None
        self._readers = [socket.socket() for _ in range(readers)]

    async def fill(self) -> None:
        """Follow the devices, and let readers connect that never read; return once all of them stand still."""
        self.session.room.watchers.append(self._see)
        self.proxies["therapy"].heard = self._hear
        view = self._view()
        for reader in self._readers:
            reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, READER_BYTES)
            reader.connect(view.address)
        async with asyncio.timeout(60.0):
            while self.standing_still() < len(self._readers):
                await self._message_of("therapy")

    def leave(self) -> None:
        """Close the readers."""
        for reader in self._readers:
            reader.close()

    def _view(self) -> OpenIGTLinkLink:
        view = self.session.room.links["view"]
        assert isinstance(view, OpenIGTLinkLink)
        return view

    def standing_still(self) -> int:
        """Readers for whom something has been dropped because they do not read."""
        return len({row["peer"] for row in self._view().describe()["streams"] if row["dropped"]})

    def _see(self, event: AnyEvent, effects: object) -> None:
        if isinstance(event, Arrival) and event.link in self._arrived and isinstance(event.message, Image | Reading):
            self._newest[event.link] = event.message
            self._arrived[event.link].set()

    def _hear(self, data: bytes) -> None:
        if STOP_BYTES in data and self._stopped is not None and not self._stopped.done():
            self._stopped.set_result(time.perf_counter_ns())

    async def trial(self, seed: int) -> tuple[str, float | None, str]:
        """One STOP: (kind of evidence, ms or None, what went wrong or "")."""
        kind = list(KINDS)[seed % len(KINDS)]
        link, rule = KINDS[kind]
        wait_s = float(np.random.default_rng([seed, 19]).uniform(*WAIT_S))
        if not await self._treats(link, wait_s):
            return kind, None, f"not treating: {'; '.join(self.session.core.last_verdict.reasons)}"
        data = _packed(self._evidence(self._newest[link], round(wait_s * 1e9)))
        self._stopped = asyncio.get_running_loop().create_future()
        began_ns = time.perf_counter_ns()
        await self.proxies[link].pass_on(data)
        try:
            async with asyncio.timeout(NEVER_S):
                late_ms = (await self._stopped - began_ns) / 1e6
        except TimeoutError:
            present = [alarm.id for alarm in self.session.core.judge.shown()]
            return kind, None, f"no STOP; {self.session.core.treatment.phase.value}, {present}"
        causes = self._causes()
        if kind == "report":
            await self.proxies[link].pass_on(_packed(_report(self._newest[link], round(WAIT_S[1] * 1e9), WELL)))
        return kind, late_ms, "" if rule in causes else f"STOP by {sorted(causes)}"

    async def _treats(self, link: str, wait_s: float) -> bool:
        """Return while energy flows, so long after a message of this link; False where that does not come about."""
        for _ in range(TRIES):
            if not await self.treat():
                return False
            await self._message_of(link)
            await asyncio.sleep(wait_s)
            if self.session.core.treatment.phase is Phase.TREATING:
                return True
        return False

    def _causes(self) -> set[str]:
        """Rules whose condition asks for STOP now."""
        return {alarm.rule.id for alarm in self.session.core.judge.present(Reaction.STOP)}

    async def _message_of(self, link: str) -> None:
        """Return with the next reading or picture of this link."""
        self._arrived[link].clear()
        async with asyncio.timeout(READY_S):
            await self._arrived[link].wait()

    def _evidence(self, message: AnyMessage, later_ns: int) -> AnyMessage:
        """A later message of the same device that must stop the room."""
        if isinstance(message, Reading):
            return _report(message, later_ns, FAULT)
        assert isinstance(message, Image) and self._plan is not None
        guarded = self._plan.structure(self._settings.guards[0].structure)
        mask = guarded.mask(message.frame_from_image_mm, message.pixels.shape)
        warmer = Stage(self._settings, 0, mask).rad_per_c() * WARM_C
        pixels = message.pixels * np.exp(1j * warmer * mask).astype(message.pixels.dtype)
        at_ns = message.device_time_ns + later_ns
        return msgspec.structs.replace(message, device_time_ns=at_ns, number=message.number + 1, pixels=pixels)


def _report(message: AnyMessage, later_ns: int, code: int) -> Status:
    """What a device says of itself, so much later than `message`."""
    return Status(name=REPORTS, device_time_ns=message.device_time_ns + later_ns, code=code)


def _packed(message: AnyMessage) -> bytes:
    return b"".join(bytes(part) for wire in to_wire(message, 2) for part in encode(wire, 2))


async def _measure(
    seeds: Iterable[int], readers: int, without: str, out: Console
) -> tuple[dict[str, list[float]], int, str]:
    """Milliseconds by kind of evidence, how many trials went wrong, and the load in words."""
    times: dict[str, list[float]] = {kind: [] for kind in KINDS}
    wrong = 0
    with tempfile.TemporaryDirectory(prefix="guidance-faults-") as folder:
        async with BusyRoom(Path(folder), readers, without) as room:
            await room.fill()
            psutil.cpu_percent()
            for seed in seeds:
                kind, late_ms, fault = await room.trial(seed)
                times[kind] += [] if late_ms is None else [late_ms]
                wrong += bool(fault)
                if fault:
                    out.print(f"seed {seed} ({kind}): {fault}", highlight=False)
            load = f"cores {psutil.cpu_percent():.0f} % busy, {room.standing_still()} readers stood still"
            load += "" if room.session.room.hastened else ", the loop could not take priority"
            room.leave()
    return times, wrong, load


def run_stops(
    seeds: Iterable[int], without: str, out: Console, readers: int = READERS, cores: int | None = None
) -> dict[str, Any]:
    """Measure and show it; `ok` when every evidence stopped the room and p99 and worst are inside their limits.

    `cores`: how many to keep busy (None: all).
    """
    cores = os.cpu_count() or 1 if cores is None else cores
    with busy(cores), slow_disk(SYNC_S) as syncs, asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        times, wrong, load = runner.run(_measure(seeds, readers, without, out))
    load += f", {len(syncs)} syncs of {min(syncs, default=0.0) * 1e3:.0f} to {max(syncs, default=0.0) * 1e3:.0f} ms"
    rows = [
        _row(kind, found) for kind, found in (*times.items(), ("all", [ms for row in times.values() for ms in row]))
    ]
    shown = Table(title=f"evidence to STOP bytes at the device; {load}")
    for name in rows[0]:
        shown.add_column(name, justify="left" if name == "evidence" else "right")
    for row in rows:
        shown.add_row(*map(str, row.values()))
    out.print(shown)
    ok = not wrong and all(row["ok"] for row in rows)
    return {"campaign": "S", "load": load, "wrong": wrong, "rows": rows, "ok": ok}


def _row(kind: str, times: list[float]) -> dict[str, Any]:
    shares = np.percentile(times, [50.0, 99.0, 100.0]).tolist() if times else [None, None, None]
    p50, p99, most = (None if ms is None else round(ms, 2) for ms in shares)
    row = {"evidence": kind, "count": len(times), "p50_ms": p50, "p99_ms": p99, "p99_limit_ms": P99_MS}
    ok = p99 is not None and most is not None and p99 <= P99_MS and most <= MAX_MS
    return row | {"max_ms": most, "max_limit_ms": MAX_MS, "ok": ok}
