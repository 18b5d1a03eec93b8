"""Pose arithmetic whose bits are the same on every machine.

A recording must replay to the same bytes anywhere, so nothing here calls BLAS or the system's
mathematics library (both choose instructions by processor). Only + - * / and sqrt are used, in a
fixed order, without contraction; the polynomials are those of fdlibm (Sun Microsystems, 1993).
Kernels carry their signatures: they are compiled when imported and never later.
"""

import math
from collections.abc import Callable
from typing import ParamSpec, TypeVar, cast

import numba
import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float64]
Matrix = NDArray[np.float64]

F8 = numba.float64
V = numba.types.Array(F8, 1, "C", readonly=True)  # a writable array is accepted as well
M = numba.types.Array(F8, 2, "C", readonly=True)
V_OUT = F8[::1]
M_OUT = F8[:, ::1]

_P = ParamSpec("_P")
_R = TypeVar("_R")


def kernel(*signatures: object) -> Callable[[Callable[_P, _R]], Callable[_P, _R]]:
    """`numba.njit` without the GIL, cached on disk, for exactly these signatures."""

    def compiled(function: Callable[_P, _R]) -> Callable[_P, _R]:
        return cast(Callable[_P, _R], numba.njit(list(signatures), nogil=True, cache=True)(function))

    return compiled


@kernel(F8(F8, F8))
def arctan2(y: float, x: float) -> float:
    """Angle of (x, y) in radians, -pi..pi, within 2 ulp; 0 at the origin."""
    a, b = abs(y), abs(x)
    if a == 0.0 and b == 0.0:
        return 0.0
    t = a / b if a <= b else b / a
    base = 0.0
    if t > 0.41421356237309503:
        base = 0.7853981633974483
        t = (t - 1.0) / (t + 1.0)
    z = t * t
    w = z * z
    even = 3.65315727442169155270e-02
    odd = 1.62858201153657823623e-02
    even = 4.97687799461593236017e-02 + z * (-even + z * odd)
    p = 6.66107313738753120669e-02 + z * (-5.83357013379057348645e-02 + z * even)
    p = 9.09088713343650656196e-02 + z * (-7.69187620504482999495e-02 + z * p)
    p = (
        3.33333333333329318027e-01
        + z * (-1.99999999998764832476e-01)
        + w * (1.42857142725034663711e-01 + z * (-1.11111104054623557880e-01 + z * p))
    )
    r = base + (t - t * (z * p))
    if a > b:
        r = 1.5707963267948966 - r
    if x < 0.0:
        r = 3.141592653589793 - r
    return r if y >= 0.0 else -r


@kernel(F8(F8))
def sine(angle: float) -> float:
    """sin for 0 <= angle <= pi, within 2 ulp."""
    if angle > 2.356194490192345:
        angle = 3.141592653589793 - angle
    if angle > 0.7853981633974483:
        z = (angle - 1.5707963267948966) ** 2
        p = 2.48015872894767294178e-05 + z * (
            -2.75573143513906633035e-07 + z * (2.08757232129817482790e-09 - z * 1.13596475577881948265e-11)
        )
        p = 4.16666666666666019037e-02 + z * (-1.38888888888741095749e-03 + z * p)
        return 1.0 - (0.5 * z - z * z * p)
    z = angle * angle
    p = 2.75573137070700676789e-06 + z * (-2.50507602534068634195e-08 + z * 1.58969099521155010221e-10)
    p = 8.33333333332248946124e-03 + z * (-1.98412698298579493134e-04 + z * p)
    return angle + angle * z * (-1.66666666666666324348e-01 + z * p)


@kernel(F8(F8))
def arccos(cosine: float) -> float:
    """acos with the argument clamped to -1..1, radians."""
    c = min(1.0, max(-1.0, cosine))
    return arctan2(math.sqrt((1.0 - c) * (1.0 + c)), c)


@kernel(numba.void(M, M, M_OUT))
def compose_into(a: Matrix, b: Matrix, out: Matrix) -> None:
    """`out` = a @ b for (4, 4) affine matrices; `out` may not be `a` or `b`."""
    for i in range(3):
        for j in range(4):
            s = a[i, 0] * b[0, j] + a[i, 1] * b[1, j] + a[i, 2] * b[2, j]
            out[i, j] = s + a[i, 3] if j == 3 else s
    out[3, 0] = out[3, 1] = out[3, 2] = 0.0
    out[3, 3] = 1.0


@kernel(numba.void(M, M_OUT))
def invert_into(m: Matrix, out: Matrix) -> None:
    """`out` = inverse of a (4, 4) affine matrix (rotation, scale, shear); a singular one gives infinities."""
    c00 = m[1, 1] * m[2, 2] - m[1, 2] * m[2, 1]
    c01 = m[1, 2] * m[2, 0] - m[1, 0] * m[2, 2]
    c02 = m[1, 0] * m[2, 1] - m[1, 1] * m[2, 0]
    det = m[0, 0] * c00 + m[0, 1] * c01 + m[0, 2] * c02
    k = 1.0 / det if det != 0.0 else math.inf
    out[0, 0], out[1, 0], out[2, 0] = c00 * k, c01 * k, c02 * k
    out[0, 1] = (m[0, 2] * m[2, 1] - m[0, 1] * m[2, 2]) * k
    out[1, 1] = (m[0, 0] * m[2, 2] - m[0, 2] * m[2, 0]) * k
    out[2, 1] = (m[0, 1] * m[2, 0] - m[0, 0] * m[2, 1]) * k
    out[0, 2] = (m[0, 1] * m[1, 2] - m[0, 2] * m[1, 1]) * k
    out[1, 2] = (m[0, 2] * m[1, 0] - m[0, 0] * m[1, 2]) * k
    out[2, 2] = (m[0, 0] * m[1, 1] - m[0, 1] * m[1, 0]) * k
    for i in range(3):
        out[i, 3] = -(out[i, 0] * m[0, 3] + out[i, 1] * m[1, 3] + out[i, 2] * m[2, 3])
        out[3, i] = 0.0
    out[3, 3] = 1.0


@kernel(numba.void(M, M, M_OUT))
def apply_into(m: Matrix, points: NDArray[np.float64], out: NDArray[np.float64]) -> None:
    """`out` (N, 3) = points (N, 3) carried by the (4, 4) matrix."""
    for n in range(points.shape[0]):
        x, y, z = points[n, 0], points[n, 1], points[n, 2]
        for i in range(3):
            out[n, i] = m[i, 0] * x + m[i, 1] * y + m[i, 2] * z + m[i, 3]


@kernel(numba.void(M, V_OUT))
def quaternion_into(m: Matrix, q: Vector) -> None:
    """Unit quaternion (w, x, y, z) of the rotation in a (4, 4) or (3, 3) matrix (Shepperd 1978)."""
    trace = m[0, 0] + m[1, 1] + m[2, 2]
    big = 0
    for i in range(1, 3):
        if m[i, i] > m[big, big]:
            big = i
    if trace > m[big, big]:
        q[0] = 1.0 + trace
        q[1], q[2], q[3] = m[2, 1] - m[1, 2], m[0, 2] - m[2, 0], m[1, 0] - m[0, 1]
    else:
        i, j, k = big, (big + 1) % 3, (big + 2) % 3
        q[1 + i] = 1.0 + m[i, i] - m[j, j] - m[k, k]
        q[1 + j] = m[i, j] + m[j, i]
        q[1 + k] = m[i, k] + m[k, i]
        q[0] = m[k, j] - m[j, k]
    norm = math.sqrt(q[0] * q[0] + q[1] * q[1] + q[2] * q[2] + q[3] * q[3])
    for n in range(4):
        q[n] /= norm


@kernel(numba.void(V, M_OUT))
def rotation_into(q: Vector, m: Matrix) -> None:
    """Writes the rotation of a unit quaternion (w, x, y, z) into the upper left of `m`."""
    w, x, y, z = q[0], q[1], q[2], q[3]
    m[0, 0], m[0, 1], m[0, 2] = 1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)
    m[1, 0], m[1, 1], m[1, 2] = 2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)
    m[2, 0], m[2, 1], m[2, 2] = 2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)


@kernel(numba.void(M, M, F8, M_OUT))
def interpolate_into(a: Matrix, b: Matrix, weight: float, out: Matrix) -> None:
    """Pose between `a` (weight 0) and `b` (weight 1): SLERP on the shortest arc, linear position."""
    p, q = np.empty(4), np.empty(4)
    quaternion_into(a, p)
    quaternion_into(b, q)
    dot = p[0] * q[0] + p[1] * q[1] + p[2] * q[2] + p[3] * q[3]
    sign = 1.0 if dot >= 0.0 else -1.0
    dx, sx = 0.0, 0.0
    for n in range(4):  # half the arc from its chord: exact for the smallest angles too
        d, s = p[n] - sign * q[n], p[n] + sign * q[n]
        dx += d * d
        sx += s * s
    theta = 2.0 * arctan2(math.sqrt(dx), math.sqrt(sx))
    u, v = 1.0 - weight, weight
    if theta > 1e-9:
        k = sine(theta)
        u, v = sine(u * theta) / k, sine(v * theta) / k
    norm = 0.0
    for n in range(4):
        p[n] = u * p[n] + v * sign * q[n]
        norm += p[n] * p[n]
    norm = math.sqrt(norm)
    for n in range(4):
        p[n] /= norm
    rotation_into(p, out)
    for i in range(3):
        out[i, 3] = (1.0 - weight) * a[i, 3] + weight * b[i, 3]
        out[3, i] = 0.0
    out[3, 3] = 1.0


@kernel(F8(M, M))
def angle_between(a: Matrix, b: Matrix) -> float:
    """Angle in radians of the rotation that takes the orientation of `a` to that of `b`."""
    p, q = np.empty(4), np.empty(4)
    quaternion_into(a, p)
    quaternion_into(b, q)
    dx, sx = 0.0, 0.0
    sign = 1.0 if p[0] * q[0] + p[1] * q[1] + p[2] * q[2] + p[3] * q[3] >= 0.0 else -1.0
    for n in range(4):
        dx += (p[n] - sign * q[n]) ** 2
        sx += (p[n] + sign * q[n]) ** 2
    return 4.0 * arctan2(math.sqrt(dx), math.sqrt(sx))


def compose(a: Matrix, b: Matrix) -> Matrix:
    """a @ b for (4, 4) float64 C-contiguous affine matrices, a new array."""
    out = np.empty((4, 4))
    compose_into(a, b, out)
    return out


def invert(m: Matrix) -> Matrix:
    """Inverse of a (4, 4) float64 C-contiguous affine matrix, a new array."""
    out = np.empty((4, 4))
    invert_into(m, out)
    return out


def apply(m: Matrix, points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Points (N, 3) or one point (3,) carried by the (4, 4) matrix, a new array."""
    given = np.ascontiguousarray(points, dtype=np.float64)
    rows = given.reshape(-1, 3)
    out = np.empty_like(rows)
    apply_into(m, rows, out)
    return out.reshape(given.shape)
