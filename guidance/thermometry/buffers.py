"""Memory that is used again: fresh pages cost more than the whole pass.

A set of arrays is lent; when the last reference to any of them (or to a view of them) is gone, its memory
returns to the pool. So what has been handed out is never written again, and no copy is needed.
"""

import weakref
from math import prod

import numpy as np
from numpy.typing import NDArray

ALIGN = 64
SPARE_MAX = 4  # per size; more than that goes back to the system


class BufferPool:
    """Lends arrays of float32, uint8 and bool that share one block of memory."""

    def __init__(self) -> None:
        self._spare: dict[int, list[NDArray[np.uint8]]] = {}

    def take(self, shape: tuple[int, ...], dtypes: tuple[type[np.generic], ...]) -> tuple[NDArray[np.generic], ...]:
        """One uninitialised array of `shape` for each of `dtypes`."""
        count = prod(shape)
        sizes = [-(-count * np.dtype(dtype).itemsize // ALIGN) * ALIGN for dtype in dtypes]
        total = sum(sizes) + ALIGN
        spare = self._spare.setdefault(total, [])
        block = spare.pop() if spare else np.empty(total, np.uint8)
        lent = np.frombuffer(block.data, np.uint8)  # every view has this array as its base: it dies with the last one
        weakref.finalize(lent, _give_back, spare, block).atexit = False
        start = -lent.ctypes.data % ALIGN
        arrays = []
        for dtype, size in zip(dtypes, sizes, strict=True):
            arrays.append(lent[start : start + count * np.dtype(dtype).itemsize].view(dtype).reshape(shape))
            start += size
        return tuple(arrays)


def _give_back(spare: list[NDArray[np.uint8]], block: NDArray[np.uint8]) -> None:
    if len(spare) < SPARE_MAX:
        spare.append(block)
