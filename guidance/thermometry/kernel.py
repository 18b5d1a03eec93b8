"""The per-frame pass as one fused, blocked kernel without the GIL.

Same inputs and outputs as `plain.plain_pass`, in float32. Each block of a row goes through a few
short loops over scratch that stays in the first-level cache, so that every loop vectorises;
arctangent and power of two are polynomials (Chebyshev interpolation; largest error 1.8e-8 rad and
2e-9 relative, before rounding to float32).
"""

import math
from typing import Any

import numpy as np
from llvmlite import ir  # type: ignore[import-untyped]
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic
from numpy.typing import NDArray

from guidance.thermometry.buffers import BufferPool, spaced
from guidance.thermometry.golden import golden_inputs
from guidance.thermometry.plain import GRADED_BIT, MISSED_MASK, PLAUSIBLE_C, PassInputs, PassOutputs

BLOCK = 1024
_F = np.float32
_PI, _HALF_PI = _F(math.pi), _F(math.pi / 2)
_LN2, _LOG2E = _F(math.log(2.0)), _F(1.0 / math.log(2.0))
_PER_LN2, _PER_LN4 = _F(1.0 / math.log(2.0)), _F(0.5 / math.log(2.0))
_BREAK_C, _TWO_BREAKS_C, _CLAMP = _F(43.0), _F(86.0), _F(25.0)
_TOP, _COLDEST = _F(2.0**25), _F(-60.0)
_HUGE, _ROUND = _F(1e37), _F(1.5 * 2.0**23)
_COLD_C = _F(39.0)  # the dose rate is 0.4 % of a minute a minute
_NEAR_C = _F(0.004)  # below this step the rate at the middle is used: the difference would cancel
_COLDEST_C, _WARMEST_C = (_F(value) for value in PLAUSIBLE_C)
_ZERO, _ONE, _HALF, _INF, _NAN = _F(0.0), _F(1.0), _F(0.5), _F(np.inf), _F(np.nan)
# Scratch rows of BLOCK values in one array: their distance is known, so no loop needs an overlap check.
_CHANGE, _THERMAL, _POWER, _RATE, _GAIN, _SPREAD = (np.uint64(row * BLOCK) for row in range(6))
_TWO, _NEXT = np.uint64(2), np.uint64(1)
_GRADED = np.uint8(GRADED_BIT)
_MISSED, _I1, _I6, _I7 = (np.int32(v) for v in (MISSED_MASK, 1, 6, 7))
OPTIONS = {"nogil": True, "cache": True, "fastmath": {"contract"}, "error_model": "numpy"}
_A = tuple(
    _F(c)
    for c in (
        0.9999999817886541,
        -0.33333036709275443,
        0.19991872028912389,
        -0.14197797792604977,
        0.10618370631313427,
        -0.07456854814158088,
        0.04213762345019933,
        -0.015731249036827034,
        0.002766283480395766,
    )
)
_E = tuple(
    _F(c)
    for c in (
        1.0,
        0.6931471880262273,
        0.2402210748530968,
        0.05550357114222094,
        0.009676031918255982,
        0.001339086336353527,
    )
)
_D = tuple(
    _F(c)
    for c in (
        1.0,
        0.9999885628576832,
        0.49983177993004213,
        0.16575354509787973,
        0.03939016204316503,
        0.005618000303881979,
    )
)


@njit(**OPTIONS)
def _arctangent(ratio):  # type: ignore[no-untyped-def]
    """atan on [0, 1]."""
    u = ratio * ratio
    high = (((_A[8] * u + _A[7]) * u + _A[6]) * u + _A[5]) * u + _A[4]
    return ((((high * u + _A[3]) * u + _A[2]) * u + _A[1]) * u + _A[0]) * ratio


@njit(**OPTIONS)
def arc(x, y):  # type: ignore[no-untyped-def]
    """atan2(y, x); NaN for (0, 0)."""
    ax, ay = abs(x), abs(y)
    high = ax if ax > ay else ay
    low = ay if ax > ay else ax
    angle = _arctangent(low / high)
    angle = _HALF_PI - angle if ay > ax else angle
    angle = _PI - angle if x < _ZERO else angle
    return -angle if y < _ZERO else angle


@njit(**OPTIONS)
def _power_of_two(x):  # type: ignore[no-untyped-def]
    """2^x for x in [-126, 127]: adding _ROUND leaves the nearest integer in the low bits."""
    rounded = x + _ROUND
    f = x - (rounded - _ROUND)
    p = ((((_E[5] * f + _E[4]) * f + _E[3]) * f + _E[2]) * f + _E[1]) * f + _E[0]
    shift = np.int32(np.float32(rounded).view(np.int32) << np.int32(23))
    return np.int32(np.float32(p).view(np.int32) + shift).view(np.float32)


@njit(**OPTIONS)
def _phase(image, reference, at, count, scratch, scale, noise2, share, per_floor2):  # type: ignore[no-untyped-def]
    """Phase difference in degC, thermal variance (infinite without signal), reference power of one block."""
    broken = np.int32(0)
    for j in range(count):
        k = _TWO * (at + j)
        a, b, c, d = image[k], image[k + _NEXT], reference[k], reference[k + _NEXT]
        scratch[_CHANGE + j] = scale * arc(a * c + b * d, b * c - a * d)
        m, r = (a * a + b * b) * per_floor2, (c * c + d * d) * per_floor2
        present = (m > _ONE) & (r > _ONE) & (m * r < _HUGE)
        scratch[_POWER + j] = r
        scratch[_THERMAL + j] = noise2 * (r + share * m) / (m * r) if present else _INF
        broken = np.int32(broken + np.int32(0 if m < _INF else 1))
    return broken


@intrinsic
def _prefetch(typing_context, array, index):  # type: ignore[no-untyped-def]
    """Asks for the cache line of array[index]; results do not depend on it."""

    def generate(context, builder, signature, values):  # type: ignore[no-untyped-def]
        data = context.make_array(signature.args[0])(context, builder, values[0]).data
        line = builder.bitcast(builder.gep(data, [values[1]]), ir.IntType(8).as_pointer())
        number = ir.IntType(32)
        kind = ir.FunctionType(ir.VoidType(), [line.type, number, number, number])
        function = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0")
        builder.call(function, [line, number(0), number(3), number(1)])
        return context.get_dummy_value()

    return types.void(array, index), generate


@njit(**OPTIONS)
def _ahead(array, first, count):  # type: ignore[no-untyped-def]
    """Asks for the cache lines of array[first : first + count], float32, while other work goes on."""
    for k in range(first, min(first + count, array.size), 16):
        _prefetch(array, k)


@njit(**OPTIONS)
def _drift(grid, at, count, scratch, drift):  # type: ignore[no-untyped-def]
    """Takes the drift polynomial, its constant apart, off one block, row by row."""
    rows, columns = grid
    for line in range(at // columns, (at + count - 1) // columns + 1):
        y = _F(2.0) * _F(line % rows) / _F(max(rows - 1, 1)) - _ONE if rows > 1 else _ZERO
        d0, d1, d2 = y * (drift[2] + drift[5] * y), drift[1] + drift[4] * y, drift[3]
        per_column = _F(2.0) / _F(max(columns - 1, 1))
        left = line * columns
        for j in range(max(left - at, 0), min(left + columns - at, count)):
            x = _F(at + j - left) * per_column - _ONE if columns > 1 else _ZERO
            scratch[j] -= d0 + x * (d1 + d2 * x)


@njit(**OPTIONS)
def _temperature(last, before, out, at, count, scratch, t0, lead, turn, drift):  # type: ignore[no-untyped-def]
    """Temporal unwrapping: degC of one block."""
    per_turn = _ONE / turn
    lost = np.int32(0)
    for j in range(count):
        t, t_before = last[at + j], before[at + j]
        change = scratch[_CHANGE + j] - drift
        slope = (t - t_before) * lead
        expected = t + (slope if slope == slope else _ZERO)
        expected = expected if expected < _WARMEST_C else _WARMEST_C
        expected = (expected if expected > _COLDEST_C else _COLDEST_C) - t0
        turns = np.rint((expected - change) * per_turn) if t == t else _ZERO
        change += turn * (turns if turns == turns else _ZERO)
        present = scratch[_THERMAL + j] < _INF
        out[at + j] = t0 + change if present else _NAN
        lost = np.int32(lost + np.int32(0 if present else np.int32(t == t)))
    return lost


@njit(**OPTIONS)
def _sigma(model, out_sigma, out_valid, at, count, scratch, display):  # type: ignore[no-untyped-def]
    """Standard deviation and validity of one block."""
    if model.size == 1:
        extra = model[0] * model[0]
        for j in range(count):
            sigma = np.sqrt(scratch[_THERMAL + j] + extra)
            out_sigma[at + j] = sigma
            out_valid[at + j] = np.uint8(sigma <= display)
    else:
        for j in range(count):
            sigma = np.sqrt(scratch[_THERMAL + j] + model[at + j] * model[at + j])
            out_sigma[at + j] = sigma
            out_valid[at + j] = np.uint8(sigma <= display)


@njit(**OPTIONS)
def _decay(x):  # type: ignore[no-untyped-def]
    """exp(-x) for x in [0, 6.4]."""
    t = _F(-0.125) * x
    p = ((((_D[5] * t + _D[4]) * t + _D[3]) * t + _D[2]) * t + _D[1]) * t + _D[0]
    p *= p
    p *= p
    return p * p


@njit(**OPTIONS)
def _rate(now, last, at, count, scratch):  # type: ignore[no-untyped-def]
    """Mean CEM43 rate of one block for temperature linear from `last` to `now`."""
    for j in range(count):
        a, b = last[at + j] - _BREAK_C, now[at + j] - _BREAK_C
        step = b - a
        ca = a if a < _CLAMP else _CLAMP
        cb = b if b < _CLAMP else _CLAMP
        ea = _power_of_two(ca if ca > _COLDEST else _COLDEST)
        eb = _power_of_two(cb if cb > _COLDEST else _COLDEST)
        la, ha = (ea if ea < _ONE else _ONE), (ea if ea > _ONE else _ONE)
        lb, hb = (eb if eb < _ONE else _ONE), (eb if eb > _ONE else _ONE)
        rise = (hb - ha) * _PER_LN2 + (lb * lb - la * la) * _PER_LN4
        rise += ((b - cb) - (a - ca)) * _TOP
        middle = _HALF * (ea + eb)
        middle = middle if middle > _ONE else middle * middle
        scratch[_RATE + j] = middle if abs(step) < _NEAR_C else rise / step


@njit(**OPTIONS)
def _mark(marks, now, sigma, out, at, count, sigma_dose, stepping):  # type: ignore[no-untyped-def]
    """The marks of one block."""
    for j in range(count):
        before = np.int32(marks[at + j])
        graded = np.int32(sigma[at + j] <= sigma_dose)
        counted = graded & (before >> _I6) & stepping
        missed = (before & _MISSED) + (stepping & (counted ^ _I1))
        missed -= missed >> _I6
        hot = (before >> _I7) | (counted & np.int32(now[at + j] >= _BREAK_C))
        out[at + j] = np.uint8(missed | (graded << _I6) | (hot << _I7))


@njit(**OPTIONS)
def _unbias(now, last, sigma, marks, at, count, scratch, step_min, noise2, sigma_dose):  # type: ignore[no-untyped-def]
    """Dose gained and its variance from independent noise, both without the mean effect of noise."""
    for j in range(count):
        log_r2 = _LN2 * _LN2 if now[at + j] + last[at + j] >= _TWO_BREAKS_C else _F(4.0) * _LN2 * _LN2
        shared = noise2 / scratch[_POWER + j]
        own = log_r2 * (sigma[at + j] * sigma[at + j] - shared)
        factor = _decay(own * (_F(1.0 / 3.0) + own * _F(1.0 / 360.0)) + _HALF * log_r2 * shared)
        counted = (sigma[at + j] <= sigma_dose) & ((marks[at + j] & _GRADED) != 0)
        gain = scratch[_RATE + j] * (step_min * factor) if counted else _ZERO
        scratch[_GAIN + j] = gain
        scratch[_SPREAD + j] = (gain - gain * _decay(own)) * gain if counted else _ZERO


@njit(**OPTIONS)
def _is_cold(now, last, sigma, at, count, sigma_dose):  # type: ignore[no-untyped-def]
    """Whether every voxel of the block that can count stays below _COLD_C, at both ends of the step."""
    warm = np.int32(0)
    for j in range(count):
        graded = sigma[at + j] <= sigma_dose
        warm = np.int32(warm | np.int32(graded & ((now[at + j] > _COLD_C) | (last[at + j] > _COLD_C))))
    return warm == np.int32(0)


@njit(**OPTIONS)
def _cold_gain(now, last, sigma, marks, at, count, scratch, step_min, sigma_dose):  # type: ignore[no-untyped-def]
    """`_rate` and `_unbias` for a block below _COLD_C: one exponential, rate of the middle with its curvature.

    The dose grows by less than 0.4 % of a minute a minute: the effect of noise on it (to the safe
    side) and its variance are left out.
    """
    for j in range(count):
        step = now[at + j] - last[at + j]
        middle = now[at + j] + last[at + j] - _TWO_BREAKS_C
        middle = middle if middle > _COLDEST else _COLDEST
        q = _F(4.0) * _LN2 * _LN2 * step * step
        rate = _power_of_two(middle) * (_ONE + q * (_F(1.0 / 24.0) + q * _F(1.0 / 1920.0)))
        counted = (sigma[at + j] <= sigma_dose) & ((marks[at + j] & _GRADED) != 0)
        scratch[_GAIN + j] = rate * step_min if counted else _ZERO
        scratch[_SPREAD + j] = _ZERO


@njit(**OPTIONS)
def _accumulate(dose, variance, out_dose, out_variance, at, count, scratch):  # type: ignore[no-untyped-def]
    for j in range(count):
        out_dose[at + j] = dose[at + j] + scratch[_GAIN + j]
        out_variance[at + j] = variance[at + j] + scratch[_SPREAD + j]


_IN = types.Array(types.float32, 1, "C", readonly=True)
_MARKS_IN, _MARKS_OUT = types.Array(types.uint8, 1, "C", readonly=True), types.uint8[::1]
_SIGNATURE = types.UniTuple(types.int64, 2)(
    types.UniTuple(types.int64, 2),
    types.UniTuple(_IN, 2),
    types.UniTuple(_IN, 4),
    _MARKS_IN,
    _IN,
    _MARKS_OUT,
    types.int64,
    types.int64,
    types.UniTuple(types.float64, 16),
)


@njit(_SIGNATURE, **OPTIONS)
def _pass(grid, images, maps, marks, model, block, step, small, numbers):  # type: ignore[no-untyped-def]
    """One frame, arrays flat; counts the voxels that lost the temperature they had and those not finite.

    `block` takes the answers: four maps of float32, `step` bytes apart, then validity and marks, `small` bytes apart.

    Positions are unsigned: a sign would cost a check for negative indices in every loop.
    """
    image, reference = images
    last, before, dose, variance = maps
    size = 4 * last.size
    temperature, sigma = block[:size].view(np.float32), block[step : step + size].view(np.float32)
    out_dose = block[2 * step : 2 * step + size].view(np.float32)
    out_variance = block[3 * step : 3 * step + size].view(np.float32)
    valid, marks_out = block[4 * step : 4 * step + last.size], block[block.size - small :][: last.size]
    scale, noise2, share, per_floor2 = _F(numbers[0]), _F(numbers[1]), _F(numbers[2]), _F(numbers[3])
    t0, lead, turn, step_min = _F(numbers[4]), _F(numbers[5]), _F(numbers[6]), _F(numbers[7])
    display, sigma_dose = _F(numbers[8]), _F(numbers[9])
    drift = (_F(numbers[10]), _F(numbers[11]), _F(numbers[12]), _F(numbers[13]), _F(numbers[14]), _F(numbers[15]))
    scratch = np.empty(6 * BLOCK, np.float32)
    stepping = np.int32(1) if step_min > _ZERO else np.int32(0)
    curved = False
    for term in range(1, 6):
        curved |= drift[term] != _ZERO
    lost, broken = 0, 0
    for first in range(0, last.size, BLOCK):
        at, n = np.uint64(first), np.uint64(min(BLOCK, last.size - first))
        soon = first + BLOCK
        _ahead(image, 2 * soon, 2 * BLOCK)
        broken += _phase(image, reference, at, n, scratch, scale, noise2, share, per_floor2)
        if curved:
            _drift(grid, first, min(BLOCK, last.size - first), scratch, drift)
        _ahead(last, soon, BLOCK)
        _ahead(temperature, soon, BLOCK)
        lost += _temperature(last, before, temperature, at, n, scratch, t0, lead, turn, drift[0])
        _ahead(before, soon, BLOCK)
        _sigma(model, sigma, valid, at, n, scratch, display)
        _ahead(reference, 2 * soon, 2 * BLOCK)
        _ahead(sigma, soon, BLOCK)
        if _is_cold(temperature, last, sigma, at, n, sigma_dose):
            _cold_gain(temperature, last, sigma, marks, at, n, scratch, step_min, sigma_dose)
        else:
            _rate(temperature, last, at, n, scratch)
            _unbias(temperature, last, sigma, marks, at, n, scratch, step_min, noise2 * share, sigma_dose)
        _ahead(dose, soon, BLOCK)
        _ahead(variance, soon, BLOCK)
        _accumulate(dose, variance, out_dose, out_variance, at, n, scratch)
        _ahead(out_dose, soon, BLOCK)
        _ahead(out_variance, soon, BLOCK)
        _mark(marks, temperature, sigma, marks_out, at, n, sigma_dose, stepping)
    return lost, broken


_POOL = BufferPool()


def flat(array: NDArray[Any], dtype: type[np.generic]) -> NDArray[Any]:
    """The array as one native, C-contiguous line of `dtype`: numba misreads any other form in silence."""
    kind = array.dtype
    if kind.type is dtype and kind.isnative and array.flags.c_contiguous:
        return array.reshape(-1)
    return np.ascontiguousarray(array, dtype=dtype).reshape(-1)


def fused_pass(given: PassInputs) -> PassOutputs:
    """`plain_pass` as one fused pass in float32. Inputs may have any layout and byte order and may be read-only."""
    shape = given.image.shape
    scale, floor2 = given.degrees_per_radian, max(given.floor, 1e-15) ** 2
    step, small = spaced(given.image.size, 4), spaced(given.image.size, 1)
    block = _POOL.take(4 * step + 2 * small)
    numbers = (
        scale,
        (scale * given.noise) ** 2 / floor2,
        given.reference_share,
        1.0 / floor2,
        given.t0_c,
        given.lead,
        2.0 * math.pi * abs(scale),
        given.step_min,
        given.sigma_display_c,
        given.sigma_dose_c,
        *given.drift_c,
    )
    lost, broken = _pass(
        (shape[1], shape[2]),
        (flat(given.image, np.complex64).view(np.float32), flat(given.reference, np.complex64).view(np.float32)),
        (
            flat(given.last_c, np.float32),
            flat(given.before_c, np.float32),
            flat(given.dose_min, np.float32),
            flat(given.variance, np.float32),
        ),
        flat(given.marks, np.uint8),
        flat(given.model_c, np.float32),
        block,
        step,
        small,
        numbers,
    )
    return PassOutputs(
        temperature_c=np.ndarray(shape, np.float32, block, 0),
        sigma_c=np.ndarray(shape, np.float32, block, step),
        valid=np.ndarray(shape, np.bool_, block, 4 * step),
        dose_min=np.ndarray(shape, np.float32, block, 2 * step),
        variance=np.ndarray(shape, np.float32, block, 3 * step),
        marks=np.ndarray(shape, np.uint8, block, 4 * step + small),
        not_finite=broken,
        lost=lost,
    )


def warm_up() -> None:
    """Touch the kernel once: it is compiled (or read from the cache) when this module is imported."""
    fused_pass(golden_inputs())
