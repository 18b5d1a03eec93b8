"""Drift of the field over the tissue, as a polynomial in degC.

Reweighted least squares with weights 1 / (1 + r^2), r the residual in degC: heated tissue loses
its say. At most 30 iterations, stop below 0.01 degC. Voxels whose running mean has left the
drift for longer than noise explains (heat that lasts) are left out altogether. A fixed sample of
the tissue is enough: 1024 voxels at 0.3 degC give the mean to 0.01 degC.
"""

import numpy as np
from numba import njit, types
from numpy.typing import NDArray

from guidance.thermometry.functions import OPTIONS, arc, prefetch
from guidance.thermometry.kernel import flat

MAX_ITERATIONS = 30
STOP_C = 0.01
TERMS = (1, 3, 6)  # how many of 1, x, y, x^2, xy, y^2 belong to order 0, 1, 2
SAMPLES_MAX = 1024
RUN = 16  # voxels taken together: two cache lines of complex64
MEMORY = np.float32(0.15)  # share of the newest frame in the running mean
LEAVE_SIGMAS = np.float32(1.2)
KEEP_SHARE_MIN = 0.25
NO_DRIFT = (0.0, 0.0, 0.0, 0.0, 0.0, 0.0)
_ZERO, _ONE = np.float32(0.0), np.float32(1.0)
_IN = types.Array(types.float32, 1, "C", readonly=True)
_SIX = types.UniTuple(types.float64, 6)


class DriftSample:
    """The tissue voxels on which drift is fitted: about SAMPLES_MAX at most, in runs, spread evenly."""

    def __init__(self, tissue: NDArray[np.bool_], order: int) -> None:
        rows, columns = tissue.shape[-2:]
        taken = np.flatnonzero(tissue)
        runs = np.unique(taken // RUN)
        keep = runs[:: max(1, -(-taken.size // SAMPLES_MAX))]
        self.index = taken[np.isin(taken // RUN, keep)]
        y = (self.index // columns % rows) * (2.0 / max(rows - 1, 1)) - 1.0
        x = (self.index % columns) * (2.0 / max(columns - 1, 1)) - 1.0
        basis = (np.ones_like(x), x, y, x * x, x * y, y * y)[: TERMS[order]]
        self._basis = np.stack(basis).astype(np.float32)
        self._mean_c = np.zeros(self.index.size, np.float32)

    def fit(
        self,
        image: NDArray[np.complex64],
        reference: NDArray[np.complex64],
        expected_c: NDArray[np.float32],
        scale: float,
        noise: float,
        start: tuple[float, ...],
    ) -> tuple[float, ...]:
        """Six coefficients (degC) of the drift of `image` against `reference`.

        `expected_c` is the temperature change of the last frame (NaN = none), towards which the
        phase is unwrapped, `scale` degC per radian, `start` the last answer; it stands where too
        few voxels are usable.
        """
        found: tuple[float, ...] = _fit(
            flat(image, np.complex64).view(np.float32),
            flat(reference, np.complex64).view(np.float32),
            flat(expected_c, np.float32),
            self.index,
            self._basis,
            self._mean_c,
            start,
            scale,
            noise,
        )
        return found


@njit(**OPTIONS)
def _gather(image, reference, expected, index, basis, start, scale, noise, change, sigma):  # type: ignore[no-untyped-def]
    """Change in degC, unwrapped, and its sigma for each voxel of the sample; NaN without signal."""
    size = index.size
    for j in range(0, size, RUN):
        n = np.uint64(index[j])
        for k in (np.uint64(2) * n, np.uint64(2) * n + np.uint64(RUN)):
            prefetch(image, k)
            prefetch(reference, k)
        prefetch(expected, n)
    taken, row = np.empty(5 * size, np.float32), np.uint64(size)
    for j in range(size):
        n = np.uint64(index[j])
        k, at = np.uint64(2) * n, np.uint64(j)
        taken[at], taken[at + row] = image[k], image[k + np.uint64(1)]
        taken[at + np.uint64(2) * row], taken[at + np.uint64(3) * row] = reference[k], reference[k + np.uint64(1)]
        taken[at + np.uint64(4) * row] = expected[n]
    for j in range(size):
        drift = _ZERO
        for term in range(basis.shape[0]):
            drift += np.float32(start[term]) * basis[term, j]
        sigma[j] = drift
    turn, degrees = np.float32(2.0 * np.pi * abs(scale)), np.float32(scale)
    thermal = np.float32(abs(scale) * noise)
    for j in range(size):
        at = np.uint64(j)
        a, b = taken[at], taken[at + row]
        c, d = taken[at + np.uint64(2) * row], taken[at + np.uint64(3) * row]
        value, drift = degrees * arc(a * c + b * d, b * c - a * d), sigma[j]
        towards = taken[at + np.uint64(4) * row] + drift
        turns = np.rint(((towards if towards == towards else drift) - value) / turn)
        change[j] = value + turn * turns
        sigma[j] = thermal / np.sqrt(a * a + b * b)


@njit(**OPTIONS)
def _select(change, sigma, mean_c):  # type: ignore[no-untyped-def]
    """Positions of the voxels that are fitted."""
    usable, quiet = 0, 0
    for j in range(change.size):
        good = (abs(change[j]) < np.inf) & (sigma[j] < np.inf)
        usable += good
        quiet += good & (abs(mean_c[j]) < LEAVE_SIGMAS * sigma[j])
    enough = quiet >= KEEP_SHARE_MIN * usable
    taken = np.empty(change.size, np.int64)
    count = 0
    for j in range(change.size):
        good = (abs(change[j]) < np.inf) & (sigma[j] < np.inf)
        if good & ((not enough) | (abs(mean_c[j]) < LEAVE_SIGMAS * sigma[j])):
            taken[count] = j
            count += 1
    return taken[:count]


@njit(nogil=True, cache=True, fastmath={"contract", "reassoc"})
def _weighted(weight, one, two):  # type: ignore[no-untyped-def]
    total = _ZERO
    for j in range(weight.size):
        total += weight[j] * one[j] * two[j]
    return total


@njit(nogil=True, cache=True)
def solve_symmetric(normal):  # type: ignore[no-untyped-def]
    """Solution of a small symmetric positive system [A | b]; a direction without support stays 0."""
    size = normal.shape[0]
    for one in range(size):
        pivot = normal[one, one]
        if pivot < 1e-6:
            normal[one, :] = 0.0
            normal[:, one] = 0.0
            normal[one, one] = 1.0
            continue
        for column in range(one, size + 1):
            normal[one, column] /= pivot
        for two in range(size):
            if two != one:
                factor = normal[two, one]
                for column in range(one, size + 1):
                    normal[two, column] -= factor * normal[one, column]
    return normal[:, size].copy()


@njit(**OPTIONS)
def _reweight(change, basis, answer):  # type: ignore[no-untyped-def]
    """Reweighted least squares from `answer`, which is replaced by the solution."""
    terms = basis.shape[0]
    normal = np.empty((terms, terms + 1))
    rest, weight = np.empty(change.size, np.float32), np.empty(change.size, np.float32)
    for _ in range(MAX_ITERATIONS):
        for j in range(change.size):
            rest[j] = change[j]
        for term in range(terms):
            for j in range(change.size):
                rest[j] -= np.float32(answer[term]) * basis[term, j]
        for j in range(change.size):
            weight[j] = _ONE / (_ONE + rest[j] * rest[j])
        for one in range(terms):
            normal[one, terms] = _weighted(weight, basis[one], rest)
            for two in range(one + 1):
                normal[one, two] = normal[two, one] = _weighted(weight, basis[one], basis[two])
        moved = 0.0
        steps = solve_symmetric(normal)
        for term in range(terms):
            answer[term] += steps[term]
            moved = max(moved, abs(steps[term]))
        if moved < STOP_C:
            break


@njit(
    _SIX(
        _IN,
        _IN,
        _IN,
        types.int64[::1],
        types.float32[:, ::1],
        types.float32[::1],
        _SIX,
        types.float64,
        types.float64,
    ),
    **OPTIONS,
)
def _fit(image, reference, expected, index, basis, mean_c, start, scale, noise):  # type: ignore[no-untyped-def]
    """The whole fit: from the last to the new coefficients; `mean_c` remembers who is warm."""
    size, terms = index.size, basis.shape[0]
    answer = np.array(start)
    change, sigma = np.empty(size, np.float32), np.empty(size, np.float32)
    _gather(image, reference, expected, index, basis, answer, scale, noise, change, sigma)
    taken = _select(change, sigma, mean_c)
    if taken.size < 4 * terms:
        return start
    values, design = np.empty(taken.size, np.float32), np.empty((terms, taken.size), np.float32)
    for j in range(taken.size):
        values[j] = change[taken[j]]
        for term in range(terms):
            design[term, j] = basis[term, taken[j]]
    _reweight(values, design, answer)
    for j in range(size):
        rest = change[j] - mean_c[j]
        for term in range(terms):
            rest -= np.float32(answer[term]) * basis[term, j]
        if abs(rest) < np.inf:
            mean_c[j] += MEMORY * rest
    return answer[0], answer[1], answer[2], answer[3], answer[4], answer[5]
