"""Runs the victim under the supervisor and measures, at a simulated therapy device, when STOP arrives."""

import asyncio
import contextlib
import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from devices.clock import SystemClock
from devices.messages import AnyMessage, Command
from devices.openigtlink import OpenIGTLinkLink, OpenIGTLinkSettings
from guidance.service.lifeline import COMMAND_ID
from sim.phantom.world import World, WorldSettings
from sim.therapy_device import TherapyDevice

SUPERVISOR = Path(__file__).with_name("supervise_victim.py")
KINDS = {
    "stopped": signal.SIGSTOP,
    "killed": signal.SIGKILL,
    "loop_blocked": signal.SIGUSR1,
    "gil_held": signal.SIGUSR2,
}


class DeviceOnSocket:
    """The simulated device behind a listening link; says when each STOP of the supervisor came."""

    def __init__(self, clients: int, faults: dict[str, float]) -> None:
        self._clock = SystemClock()
        self._device = TherapyDevice(
            name="therapy",
            world=World(WorldSettings(), seed=1, start_ns=self._clock.now_ns()),
            rng=np.random.default_rng(1),
            start_ns=self._clock.now_ns(),
            faults=faults,
        )
        self.stops_s: list[float] = []
        self.stopped = asyncio.Event()
        self.link = OpenIGTLinkLink(
            OpenIGTLinkSettings(id="therapy", mode="listen", port=0, header_version=2, max_clients=clients),
            clock=self._clock,
            on_message=self._hear,
            on_change=lambda up, peer, reason: None,
            on_loss=lambda stream, count, reason: None,
        )

    def _hear(self, message: AnyMessage) -> None:
        if isinstance(message, Command) and message.verb == "STOP" and message.command_id > COMMAND_ID:
            self.stops_s.append(time.monotonic())
            self.stopped.set()
        self._device.accept(message, self._clock.now_ns())
        self._speak()

    def _speak(self) -> None:
        for said in self._device.advance(self._clock.now_ns()):
            self.link.send(said, urgent=True)

    @property
    def state(self) -> str:
        return str(self._device.state)

    async def live(self) -> None:
        while True:
            self._speak()
            await asyncio.sleep(0.02)


async def one_fault(kind: str, delivery: str, faults: dict[str, float] | None = None) -> dict[str, Any]:
    """Break an armed service in one way; `stop_ms` from the fault to the supervisor's STOP at the device."""
    device = DeviceOnSocket(clients=1 if delivery == "takeover" else 8, faults=faults or {})
    await device.link.start()
    living = asyncio.create_task(device.live())
    process = await asyncio.create_subprocess_exec(
        sys.executable, str(SUPERVISOR), str(device.link.address[1]), delivery, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    rows: list[dict[str, Any]] = []
    words: list[str] = []
    child = 0

    async def hear_until(word: str) -> None:
        nonlocal child
        assert process.stdout is not None
        async for raw in process.stdout:
            line = raw.decode().strip()
            if line.startswith("{"):
                rows.append(json.loads(line))
                child = rows[-1].get("child", child)
            else:
                words.append(line)
            if word and line.startswith(word):
                return

    try:
        await asyncio.wait_for(hear_until("treating"), 30)
        fault_s = time.monotonic()
        os.kill(child, KINDS[kind])
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(device.stopped.wait(), 2.0)
        emitting = device.state
        if kind == "stopped" and delivery == "second_client":
            await asyncio.sleep(0.1)
            os.kill(child, signal.SIGCONT)
        await asyncio.wait_for(hear_until(""), 15)
        code = await asyncio.wait_for(process.wait(), 5)
    finally:
        if process.returncode is None:
            process.kill()
        living.cancel()
        await asyncio.gather(living, return_exceptions=True)
        await device.link.stop()
    stop_ms = (device.stops_s[0] - fault_s) * 1e3 if device.stops_s else float("inf")
    return {"kind": kind, "delivery": delivery, "stop_ms": stop_ms, "state": emitting, "code": code, "rows": rows,
            "words": words, "stops": len(device.stops_s)}  # fmt: skip
