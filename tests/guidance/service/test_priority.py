"""Who runs before whom: the loop before its lanes, these before all else; afterwards everything is as usual."""

import asyncio
import os
import sys
import threading
from pathlib import Path

import pytest

from devices.priority import LANE, LOOP, USUAL, take_priority


def niceness() -> dict[str, int]:
    """Of every thread of this process, by its name; threads that Python did not start by their number."""
    names = {row.native_id: row.name for row in threading.enumerate()}
    numbers = [int(row.name) for row in Path("/proc/self/task").iterdir()] if sys.platform == "linux" else []
    return {names.get(number, str(number)): os.getpriority(os.PRIO_PROCESS, number) for number in numbers}


def can_hasten() -> bool:
    """Whether this system lets a thread go first; tried on a thread that ends at once."""
    answers: list[bool] = []
    trial = threading.Thread(target=lambda: answers.append(take_priority(LOOP)))
    trial.start()
    trial.join()
    return answers[0]


async def test_the_loop_and_its_lanes_go_first_nothing_else_does_and_it_ends_with_the_session(service) -> None:
    loop = threading.current_thread().name
    usual = {USUAL, niceness().get(loop, USUAL)}
    more = [{"id": "bus", "kind": "zeromq", "mode": "listen", "address": "127.0.0.1:0"}]
    room = (await service.open(more_links=more)).room
    await asyncio.gather(*(asyncio.to_thread(os.getpid) for _ in range(4)))  # started by the loop, which goes first
    first = {name: nice for name, nice in niceness().items() if nice not in usual}
    assert room.hastened == can_hasten()
    assert first == ({loop: LOOP} | {f"lane-{name}": LANE for name in room.lanes} if room.hastened else {})
    await service.close()
    assert set(niceness().values()) <= usual


def can_stay_awake() -> bool:
    """Whether this system lets a program keep its processors awake."""
    try:
        os.close(os.open("/dev/cpu_dma_latency", os.O_WRONLY))
    except OSError:
        return False
    return True


async def test_processors_are_kept_awake_while_the_session_lasts(service) -> None:
    session = await service.open()
    assert session.room.awake == can_stay_awake()
    held = session._awake
    assert (held is not None) == session.room.awake
    await service.close()
    if held is not None:
        with pytest.raises(OSError, match="Bad file"):
            os.fstat(held)
