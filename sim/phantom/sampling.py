"""Values between the nodes of a volume [x, y, z].

Temperature is sampled cubically (Catmull-Rom, Keys 1981): a straight line between two nodes cuts the top off a hot
spot, by 0.2 degC for a focus of 4 mm on a grid of 1 mm, and a peak that breathes through the grid would lose 7 % of
its dose to nothing but the sampling.
"""

import numpy as np
from numba import njit
from numpy.typing import NDArray


@njit(nogil=True, cache=True)  # type: ignore[untyped-decorator]
def _taps(t: float) -> tuple[float, float, float, float]:
    """Weights of the nodes at -1, 0, 1 and 2 for a place `t` in 0..1 (Keys 1981, a = -1/2)."""
    a = t * (-0.5 + t * (1.0 - 0.5 * t))
    b = 1.0 + t * t * (-2.5 + 1.5 * t)
    c = t * (0.5 + t * (2.0 - 1.5 * t))
    return a, b, c, 1.0 - a - b - c


@njit(nogil=True, cache=True)  # type: ignore[untyped-decorator]
def smooth_at(volume: NDArray[np.float64], x: float, y: float, z: float) -> float:
    """The cubic through the nodes at index (x, y, z); 0 where fewer than two nodes lie on a side."""
    nx, ny, nz = volume.shape
    if x < 1 or y < 1 or z < 1 or x >= nx - 2 or y >= ny - 2 or z >= nz - 2:
        return 0.0
    i, j, k = int(x), int(y), int(z)
    across, along, up = _taps(x - i), _taps(y - j), _taps(z - k)
    total = 0.0
    for p in range(4):
        for q in range(4):
            line = 0.0
            for r in range(4):
                line += up[r] * volume[i - 1 + p, j - 1 + q, k - 1 + r]
            total += across[p] * along[q] * line
    return total


@njit(nogil=True, cache=True)  # type: ignore[untyped-decorator]
def smooth_samples(volume: NDArray[np.float64], index: NDArray[np.float64]) -> NDArray[np.float32]:
    """`smooth_at` for each row of `index` (n, 3), as float32 (n,)."""
    out = np.empty(index.shape[0], np.float32)
    for n in range(index.shape[0]):
        out[n] = smooth_at(volume, index[n, 0], index[n, 1], index[n, 2])
    return out
