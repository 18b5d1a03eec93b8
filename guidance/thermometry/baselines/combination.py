"""The arithmetic of the linear baselines: phases, a robust fit, the frame that the fit foretells.

One thread, no GIL, float32 with sums in float64: several lanes share the machine. Voxels are flat lists; complex
pixels are pairs of float32.
"""

import math

import numpy as np
from numba import njit, types

from guidance.thermometry.drift import solve_symmetric
from guidance.thermometry.functions import OPTIONS, arc

SUMMED = {**OPTIONS, "fastmath": {"contract", "reassoc"}}
BLOCK = 256  # voxels whose design fits the first-level cache
_F = np.float32
_ZERO, _ONE, _TWO = _F(0.0), _F(1.0), _F(2.0)
_PER_TURN, _TURN_HIGH, _TURN_LOW = _F(0.5 / math.pi), _F(6.28125), _F(2.0 * math.pi - 6.28125)
# Taylor series of sine and cosine on a quarter of the angle, |angle| <= pi / 4: below float32's rounding.
_S = tuple(_F(c) for c in (1.0, -1.0 / 6.0, 1.0 / 120.0, -1.0 / 5040.0, 1.0 / 362880.0))
_C = tuple(_F(c) for c in (1.0, -0.5, 1.0 / 24.0, -1.0 / 720.0, 1.0 / 40320.0))
# Compiled at import, not with the first frame.
_IN, _INDEX = types.Array(types.float32, 1, "C", readonly=True), types.Array(types.int64, 1, "C", readonly=True)
_TABLE = types.Array(types.float32, 2, "C", readonly=True)


@njit(types.void(_IN, _IN, _INDEX, types.float32[::1]), **OPTIONS)
def phases(image, mean, index, out):  # type: ignore[no-untyped-def]
    """Phase (rad) of `image` against `mean` at the voxels `index`; NaN where either is 0 or not finite."""
    for j in range(index.size):
        k = 2 * index[j]
        a, b, c, d = image[k], image[k + 1], mean[k], mean[k + 1]
        out[j] = arc(a * c + b * d, b * c - a * d)


@njit(types.void(_TABLE, _IN, types.float32[:, ::1]), **OPTIONS)
def wrapped_less(phase, less, out):  # type: ignore[no-untyped-def]
    """Rows of `phase` (rad) less `less`, in half a turn to either side; NaN where either is."""
    for row in range(phase.shape[0]):
        for j in range(less.size):
            rest = phase[row, j] - less[j]
            turns = np.rint(rest * _PER_TURN)
            out[row, j] = (rest - turns * _TURN_HIGH) - turns * _TURN_LOW


@njit(**OPTIONS)
def _combine(design, solution, first, out):  # type: ignore[no-untyped-def]
    """The combination at the columns of `design` from `first`, as many as `out` has."""
    for j in range(out.size):
        out[j] = _ZERO
    for term in range(design.shape[0]):
        factor = _F(solution[term])
        row = design[term, first : first + out.size]
        for j in range(out.size):
            out[j] += factor * row[j]


@njit(**SUMMED)
def _dot(one, two):  # type: ignore[no-untyped-def]
    total = _ZERO
    for j in range(one.size):
        total += one[j] * two[j]
    return total


@njit(**OPTIONS)
def _add_normal(design, first, values, weight, normal):  # type: ignore[no-untyped-def]
    """Adds one block of `design` to the normal equations [A | b], lower triangle."""
    terms, count = design.shape[0], weight.size
    weighted = np.empty(count, np.float32)
    for one in range(terms):
        row = design[one, first : first + count]
        for j in range(count):
            weighted[j] = weight[j] * row[j]
        normal[one, terms] += _dot(weighted, values)
        for two in range(one + 1):
            normal[one, two] += _dot(weighted, design[two, first : first + count])


@njit(types.float64[::1](_TABLE, _IN, _IN, types.float64[::1], types.float64, types.int64), **OPTIONS)
def fit(design, values, say, precision, outlier_rad, iterations):  # type: ignore[no-untyped-def]
    """Coefficients (float64) of `values` (rad) on the rows of `design`: reweighted ridge.

    Weights say / (1 + (rest / outlier_rad)^2); `precision` is the prior of each coefficient, with mean 0. A value that
    is NaN has no say. Each iteration solves for the step that remains, so rounding does not stay.
    """
    terms, count = design.shape
    solution = np.zeros(terms)
    normal = np.empty((terms, terms + 1))
    rest, weight = np.empty(BLOCK, np.float32), np.empty(BLOCK, np.float32)
    per_outlier = _ONE / _F(outlier_rad)
    for _ in range(iterations):
        normal[:, :] = 0.0
        for first in range(0, count, BLOCK):
            size = min(BLOCK, count - first)
            left, own = rest[:size], weight[:size]
            _combine(design, solution, first, left)
            for j in range(size):
                left[j] = values[first + j] - left[j]
                known = left[j] == left[j]
                left[j] = left[j] if known else _ZERO
                outside = left[j] * per_outlier
                own[j] = say[first + j] / (_ONE + outside * outside) if known else _ZERO
            _add_normal(design, first, left, own, normal)
        for one in range(terms):
            normal[one, one] += precision[one]
            normal[one, terms] -= precision[one] * solution[one]
            for two in range(one):
                normal[two, one] = normal[one, two]
        steps = solve_symmetric(normal)
        for term in range(terms):
            solution[term] += steps[term]
    return solution


@njit(**OPTIONS)
def _turned(phase):  # type: ignore[no-untyped-def]
    """Cosine and sine: those of a quarter of the angle, doubled twice."""
    turns = np.rint(phase * _PER_TURN)
    q = _F(0.25) * ((phase - turns * _TURN_HIGH) - turns * _TURN_LOW)
    u = q * q
    s = ((((_S[4] * u + _S[3]) * u + _S[2]) * u + _S[1]) * u + _S[0]) * q
    c = (((_C[4] * u + _C[3]) * u + _C[2]) * u + _C[1]) * u + _C[0]
    s, c = _TWO * s * c, _ONE - _TWO * s * s
    return _ONE - _TWO * s * s, _TWO * s * c


@njit(types.float32[::1](_TABLE, types.float64[::1], _IN, _INDEX, types.float32[::1]), **OPTIONS)
def foretell(basis, solution, mean, index, out):  # type: ignore[no-untyped-def]
    """Writes `mean` turned by the combination to the voxels `index` of `out`; the answer is that turn in rad."""
    turn = np.empty(index.size, np.float32)
    for first in range(0, index.size, BLOCK):
        _combine(basis, solution, first, turn[first : min(first + BLOCK, index.size)])
    for j in range(index.size):
        k = 2 * index[j]
        cosine, sine = _turned(turn[j])
        out[k] = mean[k] * cosine - mean[k + 1] * sine
        out[k + 1] = mean[k] * sine + mean[k + 1] * cosine
    return turn


@njit(types.float64(_IN, _IN, _IN, _IN, types.float64), **OPTIONS)
def misfit(measured, turn, variance, say, least):  # type: ignore[no-untyped-def]
    """Mean square (rad^2) of measured - turn beyond the thermal `variance`, at least the share `least` of that."""
    beyond, thermal = 0.0, 0.0
    for j in range(turn.size):
        rest = measured[j] - turn[j]
        if rest == rest:
            beyond += say[j] * (rest * rest - variance[j])
            thermal += say[j] * variance[j]
    weight = np.sum(say)
    return max(beyond, least * thermal) / weight if weight > 0.0 else 0.0
