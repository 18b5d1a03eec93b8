"""A link in a crowd: how late an alert is with 200 slow and 8 full-rate clients, and what stuck readers add to it.

One row each for alerts beside nobody stuck, beside 20 readers that never read, for the memory that those cost, and
for how soon an ended connection is seen. The clients live in a process of their own (`guidance.bench.crowd`);
times run from the call of `send` to the decoded message there.
"""

import asyncio
import contextlib
import json
import socket
import statistics
import struct
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from time import monotonic_ns
from typing import Any

import numpy as np
import psutil
import uvloop

from devices.clock import SystemClock
from devices.messages import Alert, AlertKind, Image, Pose, Priority
from devices.openigtlink import OpenIGTLinkLink, OpenIGTLinkSettings

SLOW, FULL, STUCK = 200, 8, 20
POSE_HZ, TOOLS, IMAGE_HZ, ALERT_HZ = 100, 4, 25, 10
ALERT_MS, SEEN_MS, SILENT_MS = 20.0, 100.0, 3000.0  # what is to be reached: SAFETY figures of the project
STUCK_MIB = 64.0  # above the queues' own caps


@dataclass
class Served:
    """A crowd's report and what serving it took."""

    report: dict[str, Any]
    alerts: int
    queued_bytes: int = 0
    grown_mib: float = 0.0
    link: dict[str, Any] = field(default_factory=dict)

    def uncounted(self) -> list[str]:
        """Where what the link says it sent to a peer is not what that peer got, by type."""
        sent: dict[tuple[str, str], int] = {}
        for row in self.link["streams"]:
            if row["direction"] == "out" and row["count"]:
                key = (row["peer"], row["name"].partition("/")[0])
                sent[key] = sent.get(key, 0) + row["count"]
        faults = []
        for peer, counts in zip(self.report["names"], (*self.report["slow"], *self.report["full"]), strict=True):
            told = {kind: count for (name, kind), count in sent.items() if name == peer}
            if told != counts:
                faults.append(f"{peer}: told {told}, got {counts}")
        return faults


@contextlib.asynccontextmanager
async def listening(**options: Any) -> AsyncIterator[tuple[OpenIGTLinkLink, list[tuple[bool, str, str]]]]:
    """A link that listens on loopback, and what it says of its peers."""
    changes: list[tuple[bool, str, str]] = []
    link = OpenIGTLinkLink(
        OpenIGTLinkSettings(id="crowd", mode="listen", port=0, **options),
        clock=SystemClock(),
        on_message=lambda message: None,
        on_change=lambda *change: changes.append(change),
        on_loss=lambda *_: None,
    )
    await link.start()
    try:
        yield link, changes
    finally:
        await link.stop()


def alert(sequence: int) -> Alert:
    """An alert that says when it was sent."""
    return Alert(
        name="T1.rib-4", room="crowd", priority=Priority.HIGH, kind=AlertKind.PHYSIOLOGICAL, state="active",
        text="too hot", reaction="STOP", advice="wait", first_ns=monotonic_ns(), sequence=sequence,
    )  # fmt: skip


async def speak(link: OpenIGTLinkLink, ended: asyncio.Event) -> int:
    """Poses, images and alerts at their rates until `ended`; the number of alerts."""
    picture = Image(
        name="US", pixels=np.ones((1, 512, 512), np.uint8), frame="RAS", frame_from_image_mm=np.eye(4)
    )  # fmt: skip
    loop = asyncio.get_running_loop()
    due, tick, alerts = loop.time(), 0, 0
    while not ended.is_set():
        for tool in range(TOOLS):
            name = f"Tool{tool}ToTracker"
            link.send(Pose(name=name, moving=f"Tool{tool}", fixed="Tracker", fixed_from_moving=np.eye(4)))
        if tick % (POSE_HZ // IMAGE_HZ) == 0:
            link.send(picture)
        if tick % (POSE_HZ // ALERT_HZ) == 0:
            link.send(alert(alerts), urgent=True)
            alerts += 1
        tick += 1
        due = max(due + 1 / POSE_HZ, loop.time() - 0.1)
        await asyncio.sleep(max(due - loop.time(), 0))
    return alerts


async def serve(
    slow: int, full: int, stuck: int, seconds: float, sample: Callable[[OpenIGTLinkLink], None] | None = None
) -> Served:
    """Serve one crowd; stuck readers are kept, to see what they cost. `sample` is called once a second."""
    async with listening(**({"write_stall_s": 3600.0} if stuck else {})) as (link, _):
        process = psutil.Process()
        before = process.memory_info().rss
        arguments = [str(link.address[1]), str(slow), str(full), str(stuck)]
        crowd = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "guidance.bench.crowd", *arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            limit=2**26,
        )  # fmt: skip
        assert crowd.stdin is not None
        assert crowd.stdout is not None
        await crowd.stdout.readline()
        while len(link.peers) < slow + full + stuck:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        ended = asyncio.Event()
        speaking = asyncio.create_task(speak(link, ended))
        until = asyncio.get_running_loop().time() + seconds
        while asyncio.get_running_loop().time() < until:
            if sample is not None:
                sample(link)
            await asyncio.sleep(1.0)
        queued_bytes = link.describe()["queued_bytes"]
        ended.set()
        alerts = await speaking
        await asyncio.sleep(min(0.1 * seconds, 2.0))
        row = link.describe()
        crowd.stdin.write(b"\n")
        report = json.loads(await crowd.stdout.readline())
        await crowd.wait()
        grown = (process.memory_info().rss - before) / 2**20
        return Served(report, alerts, queued_bytes, grown, dict(row))


async def seen(count: int) -> list[float]:
    """How long after a FIN or RST the link says so, ms each."""
    loop = asyncio.get_running_loop()
    took: list[float] = []
    async with listening() as (link, changes):
        for turn in range(count):
            peer = socket.socket()
            peer.setblocking(False)
            await loop.sock_connect(peer, link.address)
            while not link.peers:  # noqa: ASYNC110
                await asyncio.sleep(0.001)
            if turn % 2:
                peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            told = len(changes)
            began = monotonic_ns()
            peer.close()
            while len(changes) == told:  # noqa: ASYNC110
                await asyncio.sleep(0)
            took.append((monotonic_ns() - began) / 1e6)
    return took


async def black_hole() -> float:
    """How long a peer that falls silent without a word is taken for live, ms, with a tracker's settings."""
    loop = asyncio.get_running_loop()
    async with listening(idle_limit_s=2.5) as (link, changes):
        peer = socket.socket()
        peer.setblocking(False)
        await loop.sock_connect(peer, link.address)
        began = monotonic_ns()
        while not any(not up for up, _, _ in changes):  # noqa: ASYNC110
            await asyncio.sleep(0.005)
        peer.close()
        return (monotonic_ns() - began) / 1e6


def rows(quick: bool) -> list[dict[str, Any]]:
    """The table; every row's peer is the figure to reach, so that ratio 1 is just enough."""
    seconds = 4.0 if quick else 15.0
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        alone = runner.run(serve(SLOW, FULL, 0, seconds))
        beside = runner.run(serve(SLOW, FULL, STUCK, seconds))
        ended = runner.run(seen(20 if quick else 200))
        hole = runner.run(black_hole())
    size = f"{SLOW} at 10 Hz, {FULL} at full rate"
    found = [
        _row("alert p99", size, _p99(alone), ALERT_MS),
        _row("alert p99", f"{size}, {STUCK} never read", _p99(beside), ALERT_MS),
        _row("FIN or RST seen, longest", f"{len(ended)} peers", max(ended), SEEN_MS),
        _row("black hole seen", "silent tracker", hole, SILENT_MS),
    ]
    found[1]["mib"] = {"grown": round(beside.grown_mib, 1), "queued": round(beside.queued_bytes / 2**20, 1)}
    for served, row in ((alone, found[0]), (beside, found[1])):
        row["clients"] = _clients(served)
    return found


def _p99(served: Served) -> float:
    late_ms: list[float] = served.report["late_ms"]
    return statistics.quantiles(late_ms, n=100)[98]


def _clients(served: Served) -> dict[str, int]:
    """The least that any client of a kind got, and how many were cut off."""
    slow, full = served.report["slow"], served.report["full"]
    return {
        "least bundles of a slow client": min((row.get("TDATA", 0) for row in slow), default=0),
        "least poses of a full client": min((row.get("TRANSFORM", 0) for row in full), default=0),
        "least images of a full client": min((row.get("IMAGE", 0) for row in full), default=0),
        "alerts sent": served.alerts,
        "least alerts of any client": min(row.get("STRING", 0) for row in (*slow, *full)),
        "cut off": len(served.report["ended"]),
    }


def _row(name: str, size: str, ours_ms: float, bound_ms: float) -> dict[str, Any]:
    ratio = ours_ms / bound_ms
    return {
        "name": name, "size": size, "ours_ms": ours_ms, "peer": "figure to reach", "peer_ms": bound_ms,
        "ratio": ratio, "limit": 1.0, "ok": ratio <= 1.0,
    }  # fmt: skip
