"""Memory that is used again: fresh pages cost more than the whole pass.

A set of arrays is lent; when the last reference to any of them (or to a view of them) is gone, its memory
returns to the pool. So what has been handed out is never written again, and no copy is needed.
"""

import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

ALIGN = 64
SPARE_MAX = 4  # per layout; more than that goes back to the system
Layout = tuple[int, list[tuple[int, np.dtype[Any]]]]
Loan = tuple["weakref.ref[NDArray[np.uint8]]", NDArray[np.uint8]]


class BufferPool:
    """Lends sets of arrays that share one block of memory each."""

    def __init__(self) -> None:
        self._layouts: dict[tuple[int, tuple[type[np.generic], ...]], Layout] = {}
        self._spare: dict[int, list[NDArray[np.uint8]]] = {}
        self._lent: dict[int, Loan] = {}

    def take(self, count: int, dtypes: tuple[type[np.generic], ...]) -> tuple[NDArray[Any], ...]:
        """One uninitialised line of `count` values for each of `dtypes`."""
        key = (count, dtypes)
        if key not in self._layouts:
            self._layouts[key] = _layout(count, dtypes)
        total, parts = self._layouts[key]
        spare = self._spare.setdefault(total, [])
        block = spare.pop() if spare else np.empty(total, np.uint8)
        lent = np.frombuffer(block.data, np.uint8)  # the base of every view: it dies with the last one
        self._lent[id(lent)] = (weakref.ref(lent, self._end_of(id(lent))), block)
        start = -block.ctypes.data % ALIGN
        return tuple(np.ndarray(count, dtype, lent, start + offset) for offset, dtype in parts)

    def _end_of(self, loan: int) -> Callable[[object], None]:
        def give_back(_: object) -> None:
            _, block = self._lent.pop(loan)
            spare = self._spare[block.size]
            if len(spare) < SPARE_MAX:
                spare.append(block)

        return give_back


def _layout(count: int, dtypes: tuple[type[np.generic], ...]) -> Layout:
    parts, start = [], 0
    for dtype in map(np.dtype, dtypes):
        parts.append((start, dtype))
        start += -(-count * dtype.itemsize // ALIGN) * ALIGN
    return start + ALIGN, parts
