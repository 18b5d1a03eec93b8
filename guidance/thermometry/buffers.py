"""Memory that is used again: fresh pages cost more than the whole pass.

A set of arrays is lent; when the last reference to any of them (or to a view of them) is gone, its memory
returns to the pool. So what has been handed out is never written again, and no copy is needed.
"""

import weakref
from typing import Any

import numpy as np
from numpy.typing import NDArray

ALIGN = 64
SPARE_MAX = 4  # per size; more than that goes back to the system
Block = tuple[memoryview, int]  # memory, and where its first aligned byte is


def spaced(count: int, size: int) -> int:
    """Bytes that `count` values of `size` bytes take, up to where the next array may begin."""
    return -(-count * size // ALIGN) * ALIGN


class BufferPool:
    """Lends blocks of memory, of which arrays are views."""

    def __init__(self) -> None:
        self._spare: dict[int, list[Block]] = {}
        self._lent: dict[int, tuple[Any, int, Block]] = {}

    def take(self, total: int) -> NDArray[np.uint8]:
        """`total` uninitialised bytes, aligned."""
        spare = self._spare.setdefault(total, [])
        block = spare.pop() if spare else _new(total)
        memory, start = block
        lent = np.frombuffer(memory, np.uint8, total, start)  # the base of every view: it dies with the last one
        reference = weakref.ref(lent, self._give_back)
        self._lent[id(reference)] = (reference, total, block)
        return lent

    def _give_back(self, reference: object) -> None:
        _, total, block = self._lent.pop(id(reference))
        spare = self._spare[total]
        if len(spare) < SPARE_MAX:
            spare.append(block)


def _new(total: int) -> Block:
    fresh = np.empty(total + ALIGN, np.uint8)
    return fresh.data, -fresh.ctypes.data % ALIGN
