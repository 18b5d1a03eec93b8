"""The per-frame pass as one fused, blocked kernel without the GIL.

Same inputs and outputs as `plain.plain_pass`, in float32. A block goes through two or three loops that vectorise: the
map, the dose (of cold or of warm tissue) and the marks. Each loop works in groups of constant length, between which it
asks the memory for what comes some groups later: arithmetic and transfer overlap.
"""

import math
from typing import Any

import numpy as np
from numba import njit, types
from numpy.typing import NDArray

from guidance.thermometry.buffers import BufferPool, spaced
from guidance.thermometry.functions import OPTIONS, arc, decay, power_of_two, prefetch
from guidance.thermometry.golden import golden_inputs
from guidance.thermometry.plain import GRADED_BIT, MISSED_MASK, PLAUSIBLE_C, PassInputs, PassOutputs

BLOCK, GROUP, AHEAD = 1024, 64, 256  # voxels; a block is whole groups
_F = np.float32
_LN2 = _F(math.log(2.0))
_PER_LN2, _PER_LN4 = _F(1.0 / math.log(2.0)), _F(0.5 / math.log(2.0))
_BREAK_C, _TWO_BREAKS_C, _CLAMP = _F(43.0), _F(86.0), _F(25.0)
_TOP, _COLDEST = _F(2.0**25), _F(-60.0)
_HUGE = _F(1e37)
_COLD_C = _F(39.0)  # the dose rate is 0.4 % of a minute a minute
_NEAR_C = _F(0.004)  # below this step the rate at the middle is used: the difference would cancel
_COLDEST_C, _WARMEST_C = (_F(value) for value in PLAUSIBLE_C)
_ZERO, _ONE, _HALF, _INF, _NAN = _F(0.0), _F(1.0), _F(0.5), _F(np.inf), _F(np.nan)
_TWO, _NEXT, _LINE = np.uint64(2), np.uint64(1), np.uint64(16)
_GROUP, _AHEAD, _BLOCK = np.uint64(GROUP), np.uint64(AHEAD), np.uint64(BLOCK)
_GRADED = np.uint8(GRADED_BIT)
_MISSED, _I0, _I1, _I6, _I7 = (np.int32(v) for v in (MISSED_MASK, 0, 1, 6, 7))
INLINED = OPTIONS | {"inline": "always"}


@njit(**OPTIONS)
def _drift(grid, at, count, plane, drift):  # type: ignore[no-untyped-def]
    """The drift polynomial of one block, row by row."""
    rows, columns = grid
    for line in range(at // columns, (at + count - 1) // columns + 1):
        y = _F(2.0) * _F(line % rows) / _F(max(rows - 1, 1)) - _ONE if rows > 1 else _ZERO
        d0, d1, d2 = y * (drift[2] + drift[5] * y), drift[1] + drift[4] * y, drift[3]
        per_column = _F(2.0) / _F(max(columns - 1, 1))
        left = line * columns
        for j in range(max(left - at, 0), min(left + columns - at, count)):
            x = _F(at + j - left) * per_column - _ONE if columns > 1 else _ZERO
            plane[j] = drift[0] + (d0 + x * (d1 + d2 * x))


@njit(**INLINED)
def _map_group(frame, out, sigma_out, valid, first, count, row, numbers):  # type: ignore[no-untyped-def]
    """Temperature, sigma and validity of one group: phase difference and temporal unwrapping.

    `row` is where the group stands in the rows of `extra`: the drift, and from _BLOCK on the variance of the baseline.
    Tells whether a voxel has no signal, and whether one that can count is above _COLD_C at an end of the step.
    """
    image, reference, last, before, extra = frame
    scale, noise2, share, per_floor2, t0, lead, turn, display, sigma_dose = numbers
    per_turn = _ONE / turn
    absent, warm = _I0, _I0
    for j in range(count):
        i = first + np.uint64(j)
        k = _TWO * i
        a, b, c, d = image[k], image[k + _NEXT], reference[k], reference[k + _NEXT]
        change = scale * arc(a * c + b * d, b * c - a * d) - extra[row + np.uint64(j)]
        m, r = (a * a + b * b) * per_floor2, (c * c + d * d) * per_floor2
        both = m * r
        present = (m > _ONE) & (r > _ONE) & (both < _HUGE)
        thermal = noise2 * (r + share * m) / both if present else _INF
        t = last[i]
        slope = (t - before[i]) * lead
        expected = t + (slope if slope == slope else _ZERO)
        expected = expected if expected < _WARMEST_C else _WARMEST_C
        expected = (expected if expected > _COLDEST_C else _COLDEST_C) - t0
        change += turn * (np.rint((expected - change) * per_turn) if t == t else _ZERO)
        now = t0 + change if present else _NAN
        sigma = np.sqrt(thermal + extra[row + _BLOCK + np.uint64(j)])
        out[i], sigma_out[i], valid[i] = now, sigma, np.uint8(sigma <= display)
        most = t if t > now else now
        absent = np.int32(absent | np.int32(_I0 if present else _I1))
        warm = np.int32(warm | np.int32(_I1 if (sigma <= sigma_dose) & (most > _COLD_C) else _I0))
    return absent, warm


@njit(**OPTIONS)
def _map(frame, out, sigma_out, valid, at, count, numbers):  # type: ignore[no-untyped-def]
    """`_map_group` over one block."""
    image, reference, last, before, _ = frame
    absent, warm = _I0, _I0
    for group in range(count // _GROUP):
        row = np.uint64(group) * _GROUP
        soon = at + row + _AHEAD
        for line in range(np.uint64(0), _GROUP, _LINE):
            for k in (_TWO * (soon + line), _TWO * (soon + line) + _LINE):
                prefetch(image, k)
                prefetch(reference, k)
            prefetch(last, soon + line)
            prefetch(before, soon + line)
            prefetch(out, soon + line)
            prefetch(sigma_out, soon + line)
        some, hot = _map_group(frame, out, sigma_out, valid, at + row, GROUP, row, numbers)
        absent, warm = np.int32(absent | some), np.int32(warm | hot)
    row = count // _GROUP * _GROUP
    if row < count:
        some, hot = _map_group(frame, out, sigma_out, valid, at + row, count - row, row, numbers)
        absent, warm = np.int32(absent | some), np.int32(warm | hot)
    return absent, warm


@njit(**OPTIONS)
def _count(image, last, now, at, count):  # type: ignore[no-untyped-def]
    """How many voxels of one block lost the temperature they had, and how many are not finite."""
    lost, broken = _I0, _I0
    for j in range(count):
        i = at + np.uint64(j)
        a, b = image[_TWO * i], image[_TWO * i + _NEXT]
        lost = np.int32(lost + np.int32(_I1 if (now[i] != now[i]) & (last[i] == last[i]) else _I0))
        broken = np.int32(broken + np.int32(_I0 if a * a + b * b < _INF else _I1))
    return lost, broken


@njit(**OPTIONS)
def _power(reference, at, count, per_floor2, power):  # type: ignore[no-untyped-def]
    """Power of the reference over one block."""
    for j in range(count):
        k = _TWO * (at + np.uint64(j))
        c, d = reference[k], reference[k + _NEXT]
        power[j] = (c * c + d * d) * per_floor2


@njit(**INLINED)
def _rate(now, last):  # type: ignore[no-untyped-def]
    """Mean CEM43 rate below the clamp for temperature linear from `last` to `now`, and the share of time at it."""
    a, b = last - _BREAK_C, now - _BREAK_C
    step = b - a
    ca = a if a < _CLAMP else _CLAMP
    cb = b if b < _CLAMP else _CLAMP
    ea = power_of_two(ca if ca > _COLDEST else _COLDEST)
    eb = power_of_two(cb if cb > _COLDEST else _COLDEST)
    la, ha = (ea if ea < _ONE else _ONE), (ea if ea > _ONE else _ONE)
    lb, hb = (eb if eb < _ONE else _ONE), (eb if eb > _ONE else _ONE)
    rise = (hb - ha) * _PER_LN2 + (lb * lb - la * la) * _PER_LN4
    over = (b - cb) - (a - ca)
    middle = _HALF * (ea + eb)
    middle = middle if middle > _ONE else middle * middle
    still, per_step = abs(step) < _NEAR_C, _ONE / step
    share = (_ONE if middle >= _TOP else _ZERO) if still else over * per_step
    return (middle if middle < _TOP else _ZERO) if still else rise * per_step, share


@njit(**INLINED)
def _warm_group(frame, gains, first, count, row, numbers):  # type: ignore[no-untyped-def]
    """Dose of one group and its variance from independent noise, both without the mean effect of noise.

    At the clamp noise has no effect: only what was gained below it is corrected and varies.
    """
    last, now, sigma, marks, power = frame
    dose, variance, out_dose, out_variance = gains
    step_min, noise2, sigma_dose = numbers
    for j in range(count):
        i = first + np.uint64(j)
        log_r2 = _LN2 * _LN2 if now[i] + last[i] >= _TWO_BREAKS_C else _F(4.0) * _LN2 * _LN2
        counted = (sigma[i] <= sigma_dose) & ((marks[i] & _GRADED) != 0)
        shared = noise2 / power[row + np.uint64(j)] if counted else _ZERO
        own = log_r2 * (sigma[i] * sigma[i] - shared) if counted else _ZERO
        factor = decay(own * (_F(1.0 / 3.0) + own * _F(1.0 / 360.0)) + _HALF * log_r2 * shared)
        below, share = _rate(now[i], last[i])
        raised = below * (step_min * factor) if counted else _ZERO
        out_dose[i] = dose[i] + (raised + share * (_TOP * step_min) if counted else _ZERO)
        out_variance[i] = variance[i] + (raised - raised * decay(own)) * raised


@njit(**INLINED)
def _cold_group(frame, gains, first, count, numbers):  # type: ignore[no-untyped-def]
    """Dose of one group below _COLD_C: one exponential, rate of the middle with its curvature.

    The dose grows by less than 0.4 % of a minute a minute: the effect of noise on it (to the safe
    side) and its variance are left out.
    """
    last, now, sigma, marks, _ = frame
    dose, variance, out_dose, out_variance = gains
    step_min, _, sigma_dose = numbers
    for j in range(count):
        i = first + np.uint64(j)
        step = now[i] - last[i]
        middle = now[i] + last[i] - _TWO_BREAKS_C
        middle = middle if middle > _COLDEST else _COLDEST
        q = _F(4.0) * _LN2 * _LN2 * step * step
        rate = power_of_two(middle) * (_ONE + q * (_F(1.0 / 24.0) + q * _F(1.0 / 1920.0)))
        counted = (sigma[i] <= sigma_dose) & ((marks[i] & _GRADED) != 0)
        out_dose[i] = dose[i] + (rate * step_min if counted else _ZERO)
        out_variance[i] = variance[i]


@njit(**INLINED)
def _dose_ahead(gains, soon):  # type: ignore[no-untyped-def]
    dose, variance, out_dose, out_variance = gains
    for line in range(np.uint64(0), _GROUP, _LINE):
        prefetch(dose, soon + line)
        prefetch(variance, soon + line)
        prefetch(out_dose, soon + line)
        prefetch(out_variance, soon + line)


@njit(**OPTIONS)
def _warm(frame, gains, at, count, numbers):  # type: ignore[no-untyped-def]
    """`_warm_group` over one block."""
    for group in range(count // _GROUP):
        first = at + np.uint64(group) * _GROUP
        _dose_ahead(gains, first + _AHEAD)
        _warm_group(frame, gains, first, GROUP, np.uint64(group) * _GROUP, numbers)
    row = count // _GROUP * _GROUP
    _warm_group(frame, gains, at + row, count - row, row, numbers)


@njit(**OPTIONS)
def _cold(frame, gains, at, count, numbers):  # type: ignore[no-untyped-def]
    """`_cold_group` over one block."""
    for group in range(count // _GROUP):
        first = at + np.uint64(group) * _GROUP
        _dose_ahead(gains, first + _AHEAD)
        _cold_group(frame, gains, first, GROUP, numbers)
    row = count // _GROUP * _GROUP
    _cold_group(frame, gains, at + row, count - row, numbers)


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
    extra, power = np.empty(2 * BLOCK, np.float32), np.empty(BLOCK, np.float32)
    extra[:BLOCK], extra[BLOCK:] = drift[0], model[0] * model[0]
    stepping = _I1 if step_min > _ZERO else _I0
    curved = False
    for term in range(1, 6):
        curved |= drift[term] != _ZERO
    frame = (image, reference, last, before, extra)
    seen = (last, temperature, sigma, marks, power)
    gains = (dose, variance, out_dose, out_variance)
    of_map = (scale, noise2, share, per_floor2, t0, lead, turn, display, sigma_dose)
    of_dose = (step_min, noise2 * share, sigma_dose)
    lost, broken = 0, 0
    for first in range(0, last.size, BLOCK):
        count = min(BLOCK, last.size - first)
        at, n = np.uint64(first), np.uint64(count)
        if curved:
            _drift(grid, first, count, extra, drift)
        if model.size > 1:
            for j in range(count):
                extra[BLOCK + j] = model[first + j] * model[first + j]
        absent, warm = _map(frame, temperature, sigma, valid, at, n, of_map)
        if absent:
            found = _count(image, last, temperature, at, n)
            lost, broken = lost + found[0], broken + found[1]
        if warm:
            _power(reference, at, n, per_floor2, power)
            _warm(seen, gains, at, n, of_dose)
        else:
            _cold(seen, gains, at, n, of_dose)
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
