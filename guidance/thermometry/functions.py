"""Functions of the compiled passes: polynomials in float32 that vectorise, and a hint to the cache.

Chebyshev interpolation; largest error of the arctangent 1.8e-8 rad, of the power of two 2e-9 relative, before
rounding to float32.
"""

import math
from typing import Any

import numpy as np
from llvmlite import ir  # type: ignore[import-untyped]
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic

_F = np.float32
_PI, _HALF_PI = _F(math.pi), _F(math.pi / 2)
_ZERO = _F(0.0)
_ROUND = _F(1.5 * 2.0**23)
OPTIONS: dict[str, Any] = {"nogil": True, "cache": True, "fastmath": {"contract"}, "error_model": "numpy"}
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
_PER_LN2, _FEWEST = _F(1.0 / math.log(2.0)), _F(-126.0)


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
def power_of_two(x):  # type: ignore[no-untyped-def]
    """2^x for x in [-126, 127]: adding _ROUND leaves the nearest integer in the low bits."""
    rounded = x + _ROUND
    f = x - (rounded - _ROUND)
    p = ((((_E[5] * f + _E[4]) * f + _E[3]) * f + _E[2]) * f + _E[1]) * f + _E[0]
    shift = np.int32(np.float32(rounded).view(np.int32) << np.int32(23))
    return np.int32(np.float32(p).view(np.int32) + shift).view(np.float32)


@njit(**OPTIONS)
def decay(x):  # type: ignore[no-untyped-def]
    """exp(-x) for x from 0 on; beyond 87 it stays at 2^-126."""
    exponent = -_PER_LN2 * x
    return power_of_two(exponent if exponent > _FEWEST else _FEWEST)


@intrinsic
def prefetch(typing_context, array, index):  # type: ignore[no-untyped-def]
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
