"""Poses: what a valid one is, and what lies between two of them."""

import math

import numba
import numpy as np

from guidance.exact import F8, M, Matrix, angle_between, interpolate_into, kernel

POSE_TOLERANCE = 1e-3  # of orthonormality, absolute, per element of R^T R (SAFETY.md K3)
POSE_RANGE_MM = 10_000.0  # no tracker of a room sees further

_FAULTS = ("", "not finite", "last row is not 0 0 0 1", "not orthonormal", "mirrored (determinant -1)", "out of range")


@kernel(numba.int64(M, F8, F8))
def _fault(m: Matrix, tolerance: float, range_mm: float) -> int:
    for i in range(4):
        for j in range(4):
            if not math.isfinite(m[i, j]):
                return 1
    if abs(m[3, 0]) > 1e-9 or abs(m[3, 1]) > 1e-9 or abs(m[3, 2]) > 1e-9 or abs(m[3, 3] - 1.0) > 1e-9:
        return 2
    for i in range(3):
        for j in range(3):
            dot = m[0, i] * m[0, j] + m[1, i] * m[1, j] + m[2, i] * m[2, j]
            if abs(dot - (1.0 if i == j else 0.0)) > tolerance:
                return 3
    cross = (
        m[0, 0] * (m[1, 1] * m[2, 2] - m[1, 2] * m[2, 1])
        - m[0, 1] * (m[1, 0] * m[2, 2] - m[1, 2] * m[2, 0])
        + m[0, 2] * (m[1, 0] * m[2, 1] - m[1, 1] * m[2, 0])
    )
    if cross < 0.0:
        return 4
    if math.sqrt(m[0, 3] * m[0, 3] + m[1, 3] * m[1, 3] + m[2, 3] * m[2, 3]) > range_mm:
        return 5
    return 0


def is_rigid(matrix: Matrix, range_mm: float = POSE_RANGE_MM, tolerance: float = POSE_TOLERANCE) -> str:
    """ "" where `matrix` is a possible pose, otherwise the name of its first fault.

    Checked in order: shape (4, 4), finite, last row, orthonormal within `tolerance`, determinant
    +1, position within `range_mm` of the origin.
    """
    if matrix.shape != (4, 4):
        return f"shape {matrix.shape}, not (4, 4)"
    return _FAULTS[_fault(np.ascontiguousarray(matrix, dtype=np.float64), tolerance, range_mm)]


def slerp(first: Matrix, second: Matrix, weight: float) -> Matrix:
    """Pose (4, 4) between `first` (weight 0) and `second` (weight 1).

    Rotation by SLERP on the shortest arc (Shoemake 1985), position linear. ValueError for a
    weight outside 0..1: poses are never extrapolated.
    """
    if not 0.0 <= weight <= 1.0:
        raise ValueError(f"weight {weight} would extrapolate; it must lie in 0..1")
    out = np.empty((4, 4))
    interpolate_into(np.ascontiguousarray(first, np.float64), np.ascontiguousarray(second, np.float64), weight, out)
    return out


def rotation_angle_deg(first: Matrix, second: Matrix) -> float:
    """Angle in degrees between the orientations of two (4, 4) poses."""
    a, b = np.ascontiguousarray(first, np.float64), np.ascontiguousarray(second, np.float64)
    return math.degrees(angle_between(a, b))
