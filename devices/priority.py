"""How soon the kernel lets a thread run when more want to than there are cores.

A loop that waits for its turn behind pictures in the making is late by whole time slices (3 ms). Raising needs
CAP_SYS_NICE or a `nice` limit; without it everything works and is late now and then.
"""

import os
import struct
import sys
import threading

WATCH, LOOP, LANE, USUAL = -20, -15, -10, 0  # nice values: who must never wait, the loop, its lanes, all else


def take_priority(nice: int) -> bool:
    """Give the calling thread this nice value; False where that is not allowed or not known (only Linux has it)."""
    if sys.platform != "linux":
        return False
    try:
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), nice)
    except PermissionError:
        return False
    return True


def keep_processors_awake() -> int | None:
    """Ask the kernel that idle processors wake at once, until the descriptor that this returns is closed.

    A processor that slept wakes late and works slowly at first. None where that is not permitted or not known
    (Linux's PM quality of service; cyclictest does the same).
    """
    try:
        descriptor = os.open("/dev/cpu_dma_latency", os.O_WRONLY | os.O_CLOEXEC)
    except OSError:
        return None
    os.write(descriptor, struct.pack("i", 0))
    return descriptor


def take_usual_priority() -> None:
    """For threads that a hastened one starts: they inherit its priority otherwise."""
    take_priority(USUAL)
