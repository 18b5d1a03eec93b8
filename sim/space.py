"""Small rigid-body helpers of the simulator's own (RAS, mm, column vectors)."""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float64]
Matrix = NDArray[np.float64]


def vector(values: Sequence[float]) -> Vector:
    """A float64 vector of three numbers."""
    array = np.asarray(values, dtype=np.float64)
    if array.shape != (3,):
        raise ValueError(f"expected three numbers, got {values!r}")
    return array


def matrix(rows: Sequence[Sequence[float]]) -> Matrix:
    """A float64 (4, 4) matrix from nested rows."""
    array = np.asarray(rows, dtype=np.float64)
    if array.shape != (4, 4):
        raise ValueError(f"expected 4 rows of 4 numbers, got shape {array.shape}")
    return array


def unit(direction: Vector) -> Vector:
    """The direction with length one."""
    length = math.sqrt(float(direction @ direction))
    if length == 0:
        raise ValueError("a direction must not be zero")
    return direction / length


def cross(a: Vector, b: Vector) -> Vector:
    """Vector product of two vectors of three (np.cross takes 25 times as long)."""
    ax, ay, az = a.tolist()
    bx, by, bz = b.tolist()
    return np.array((ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx))


def looking_along(axis: Vector, up: Vector) -> NDArray[np.float64]:
    """Rotation (3, 3) whose z column is `axis` and whose x column lies as near to `up` as it can."""
    z = unit(axis)
    x = up - z * float(up @ z)
    if float(x @ x) < 1e-12:
        other = z[[2, 0, 1]]
        x = other - z * float(other @ z)
    x = unit(x)
    return np.array((x, cross(z, x), z)).T


def pose(rotation: NDArray[np.float64], translation: Vector) -> Matrix:
    """A (4, 4) rigid matrix."""
    result = np.eye(4)
    result[:3, :3] = rotation
    result[:3, 3] = translation
    return result


def rotation_vector(turn_rad: Vector) -> NDArray[np.float64]:
    """Rotation (3, 3) about `turn_rad` by its length (Rodrigues)."""
    angle = math.sqrt(float(turn_rad @ turn_rad))
    if angle < 1e-12:
        return np.eye(3)
    x, y, z = turn_rad / angle
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    turned: NDArray[np.float64] = np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * (cross @ cross)
    return turned


def inverse(fixed_from_moving: Matrix) -> Matrix:
    """Inverse of a rigid matrix."""
    result = np.eye(4)
    result[:3, :3] = fixed_from_moving[:3, :3].T
    result[:3, 3] = -fixed_from_moving[:3, :3].T @ fixed_from_moving[:3, 3]
    return result
