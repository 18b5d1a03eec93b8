"""Nearest patterns: what followed the moments of the past that looked most like now."""

import numpy as np
from numba import njit


@njit(cache=True, nogil=True)
def similar_increments(history, count, recent, ahead, windows, neighbours, level):  # type: ignore[no-untyped-def]
    """Increment (windows, coordinates) that followed the nearest patterns, one estimate for each window length.

    `history` (at least `count`, coordinates) is on an even grid; `recent` (longest window, coordinates) is the
    pattern to look for, newest first. Patterns are compared relative to their newest sample, so that a slow shift
    of the mean does not hide them; `level` weighs the newest position itself. `ahead` is in grid steps and may be
    fractional. Mean of the `neighbours` nearest, weighted by inverse distance.
    """
    coordinates, kinds, longest = history.shape[1], windows.shape[0], recent.shape[0]
    most = neighbours.max()
    distance = np.full((kinds, most), np.inf)
    place = np.zeros((kinds, most), np.int64)
    whole = int(np.ceil(ahead))
    for p in range(longest - 1, count - whole):
        total = 0.0
        for c in range(coordinates):
            d = level * (history[p, c] - recent[0, c])
            total += d * d
        kind = 0
        for lag in range(1, longest):
            for c in range(coordinates):
                d = (history[p - lag, c] - history[p, c]) - (recent[lag, c] - recent[0, c])
                total += d * d
            if lag + 1 == windows[kind]:
                mean, k = total / windows[kind], neighbours[kind]
                if mean < distance[kind, k - 1]:
                    i = k - 1
                    while i > 0 and distance[kind, i - 1] > mean:
                        distance[kind, i], place[kind, i] = distance[kind, i - 1], place[kind, i - 1]
                        i -= 1
                    distance[kind, i], place[kind, i] = mean, p
                kind += 1
    low = int(np.floor(ahead))
    share = ahead - low
    increments = np.zeros((kinds, coordinates))
    for kind in range(kinds):
        weights = 0.0
        for i in range(neighbours[kind]):
            if not np.isfinite(distance[kind, i]):
                break
            weight = 1.0 / (np.sqrt(distance[kind, i]) + 0.01)
            p = place[kind, i]
            weights += weight
            for c in range(coordinates):
                then = history[p + low, c] + share * (history[p + whole, c] - history[p + low, c])
                increments[kind, c] += weight * (then - history[p, c])
        if weights > 0:
            increments[kind] /= weights
    return increments
