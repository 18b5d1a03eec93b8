"""Where the organ is in the image plane: its shift against the most frequented position, by normalised correlation."""

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

TRACK_PX = 28  # side of the square whose magnitude is tracked
SEARCH_PX = 9
LIKENESS_MIN = 0.5
SETTLE_FRAMES = 25  # before the rest position is known
REST_SHARE = 4  # one frame in so many is taken to show the organ at rest


class OrganShift:
    """Shift of the organ, px, of the square around `centre` (row, column) in a few slices."""

    def __init__(self, centre: tuple[int, int]) -> None:
        self._centre = centre
        self._first: list[NDArray[np.float32]] = []
        self._seen: list[tuple[float, float]] = []
        self._rest: tuple[float, float] | None = None

    def update(self, planes: NDArray[np.floating[Any]]) -> tuple[float, float] | None:
        """(columns, rows) for the magnitude of a few slices.

        None until the rest position is known, and where the organ is not found: likeness below LIKENESS_MIN.
        """
        half, far = TRACK_PX // 2, TRACK_PX // 2 + SEARCH_PX
        rows, columns = planes.shape[1:]
        row, column = (max(far, min(c, n - far)) for c, n in zip(self._centre, (rows, columns), strict=True))
        wide = np.ascontiguousarray(planes[:, row - far : row + far, column - far : column + far], np.float32)
        if not self._first:
            inner = slice(SEARCH_PX, SEARCH_PX + 2 * half)
            self._first = [np.ascontiguousarray(plane[inner, inner]) for plane in wide]
        maps = [cv2.matchTemplate(w, f, cv2.TM_CCOEFF_NORMED) for w, f in zip(wide, self._first, strict=True)]
        likeness = np.mean(maps, axis=0)
        y, x = np.unravel_index(int(np.argmax(likeness)), likeness.shape)
        if likeness[y, x] < LIKENESS_MIN:
            return None
        dx = x - SEARCH_PX + _vertex(likeness[y, max(x - 1, 0) : x + 2])
        dy = y - SEARCH_PX + _vertex(likeness[max(y - 1, 0) : y + 2, x])
        if self._rest is None:
            self._seen.append((dx, dy))
            if len(self._seen) < SETTLE_FRAMES:
                return None
            self._rest = _densest(np.array(self._seen))
        return float(dx - self._rest[0]), float(dy - self._rest[1])


def _vertex(three: NDArray[np.floating[Any]]) -> float:
    """Where the parabola through three values is highest, from the middle one; 0 at the edge of the search."""
    if three.size < 3:
        return 0.0
    bend = float(three[0] - 2.0 * three[1] + three[2])
    return 0.5 * float(three[0] - three[2]) / bend if bend < 0.0 else 0.0


def _densest(values: NDArray[np.float64]) -> tuple[float, float]:
    """Middle of the closest points, along the axis that varies most.

    A quarter of them: of a breath whose rest is longer than its turn (sin^4), half would reach 0.5 mm into the way.
    """
    axis = int(np.argmax(values.std(axis=0)))
    order = values[np.argsort(values[:, axis])]
    count = len(order) // REST_SHARE
    widths = order[count:, axis] - order[: len(order) - count, axis]
    best = int(np.argmin(widths))
    x, y = order[best : best + count + 1].mean(axis=0)
    return float(x), float(y)
