"""Memory that is used again: fresh pages cost more than the whole pass.

A set of arrays is lent; when the last reference to any of them (or to a view of them) is gone, its memory
returns to the pool. So what has been handed out is never written again, and no copy is needed.
"""

import weakref
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

ALIGN = 64
SPARE_MAX = 4  # per layout; more than that goes back to the system
Layout = tuple[int, list[tuple[int, int, np.dtype[Any]]]]


class BufferPool:
    """Lends sets of arrays that share one block of memory each."""

    def __init__(self) -> None:
        self._layouts: dict[tuple[tuple[int, ...], tuple[type[np.generic], ...]], Layout] = {}
        self._spare: dict[int, list[NDArray[np.uint8]]] = {}

    def take(self, shape: tuple[int, ...], dtypes: tuple[type[np.generic], ...]) -> tuple[NDArray[Any], ...]:
        """One uninitialised array of `shape` for each of `dtypes`."""
        key = (shape, dtypes)
        if key not in self._layouts:
            self._layouts[key] = _layout(prod(shape), dtypes)
        total, parts = self._layouts[key]
        spare = self._spare.setdefault(total, [])
        block = spare.pop() if spare else np.empty(total, np.uint8)
        lent = np.frombuffer(block.data, np.uint8)  # the base of every view: it dies with the last one
        weakref.finalize(lent, _give_back, spare, block).atexit = False
        start = -block.ctypes.data % ALIGN
        return tuple(lent[start + a : start + b].view(dtype).reshape(shape) for a, b, dtype in parts)


def _layout(count: int, dtypes: tuple[type[np.generic], ...]) -> Layout:
    parts, start = [], 0
    for dtype in map(np.dtype, dtypes):
        parts.append((start, start + count * dtype.itemsize, dtype))
        start += -(-count * dtype.itemsize // ALIGN) * ALIGN
    return start + ALIGN, parts


def _give_back(spare: list[NDArray[np.uint8]], block: NDArray[np.uint8]) -> None:
    if len(spare) < SPARE_MAX:
        spare.append(block)
