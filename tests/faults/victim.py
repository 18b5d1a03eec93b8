"""A small real service that arms a therapy device and then breaks on demand.

SIGUSR1 blocks the loop, SIGUSR2 the interpreter lock.
"""

import asyncio
import ctypes
import os
import signal
import sys
import threading
import time

from devices.clock import SystemClock
from devices.mqtt.outbox import MemoryOutbox
from guidance.core import Core
from guidance.load import config_file
from guidance.safety.limits import load_limits
from guidance.safety.phases import Phase
from guidance.service.lifeline import Lifeline
from guidance.service.room import Room
from guidance.settings import parse_settings

HANG_S = 1.0


def settings(port: int, delivery: str) -> dict[str, object]:
    return {
        "room": "victim",
        "procedure": "victim",
        "links": [{"id": "therapy", "kind": "openigtlink", "address": f"127.0.0.1:{port}", "role": "therapy"}],
        "streams": [{"name": "Therapy", "link": "therapy", "kind": "reading", "period_ms": 100.0}],
        "therapy": {"link": "therapy", "power_w": 10.0, "options": {"supervisor": delivery}},
        "outputs": [{"kind": "command", "to": ["therapy"]}],
        "recording": {"enabled": False},
    }


def hold_gil() -> None:
    threading.Thread(target=lambda: ctypes.PyDLL(None).usleep(round(HANG_S * 1e6)), daemon=True).start()


async def main(port: int, delivery: str) -> None:
    limits = load_limits(config_file("safety", "limits"))
    room = Room(Core(parse_settings(settings(port, delivery), "victim"), None, limits), SystemClock(), MemoryOutbox())
    await room.start()
    lifeline = Lifeline.from_environment(room)
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, ended.set)
    loop.add_signal_handler(signal.SIGUSR1, lambda: time.sleep(HANG_S))
    loop.add_signal_handler(signal.SIGUSR2, hold_gil)
    told = False
    while not ended.is_set():
        for verb in ("ACKNOWLEDGE", "RESET", "ARM", "START"):
            if not told and room.core.treatment.phase is not Phase.TREATING:
                room.act(verb, "operator", **(room.core.treatment.shown() if verb == "START" else {}))
                await asyncio.sleep(0.02)
        if room.core.treatment.phase is Phase.TREATING and not told:
            told = True
            await asyncio.sleep(0.05)
            os.write(1, b"treating\n")
        await asyncio.sleep(0.05)
        if told and room.core.treatment.phase is Phase.STOPPED and room.core.stops.all_confirmed:
            break
    os.write(1, f"phase {room.core.treatment.phase.value}\n".encode())
    if lifeline is not None:
        lifeline.close()
    await room.stop()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), sys.argv[2]))
