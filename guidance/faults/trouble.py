"""What makes a machine slow: busy cores, and a disk whose syncs take long."""

import contextlib
import multiprocessing
import os
import time
from collections.abc import Iterator
from typing import Any


def _burn() -> None:
    parent = os.getppid()
    while os.getppid() == parent:  # however that one ends
        sum(range(10_000))


@contextlib.contextmanager
def busy(cores: int) -> Iterator[None]:
    """Processes that keep so many cores busy."""
    burners = [multiprocessing.get_context("spawn").Process(target=_burn, daemon=True) for _ in range(cores)]
    for burner in burners:
        burner.start()
    try:
        yield
    finally:
        for burner in burners:
            burner.terminate()
            burner.join()


@contextlib.contextmanager
def slow_disk(seconds: float) -> Iterator[list[float]]:
    """Every sync of this process takes so much longer; how long each took."""
    sync, took = os.fdatasync, []

    def late(fd: Any) -> None:
        began = time.monotonic()
        time.sleep(seconds)
        sync(fd)
        took.append(time.monotonic() - began)

    os.fdatasync = late
    try:
        yield took
    finally:
        os.fdatasync = sync
