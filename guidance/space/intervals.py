"""How large an error can be, said with a confidence that holds.

An error vector has covariance sum_i s_i^2 C_i, where some s_i^2 are known beforehand and others are
measured with few degrees of freedom (the fiducial registration error of N points has 3 N - 6). Its
squared length over its expectation follows, to Satterthwaite's approximation (1946), an F
distribution whose first parameter comes from the shape of the covariance and whose second from
the measured parts. With a plain normal or chi-squared bound 95 % would cover 86-92 % of the truth.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import special


@dataclass(frozen=True, eq=False)
class ErrorPart:
    """One independent source: covariance (3, 3) mm2 and the degrees of freedom that its size was measured with."""

    covariance_mm2: NDArray[np.float64]
    degrees: float = math.inf  # infinite: known beforehand

    @staticmethod
    def isotropic(sigma_mm: float, degrees: float = math.inf) -> "ErrorPart":
        """`sigma_mm` along every axis."""
        return ErrorPart(np.eye(3) * sigma_mm**2, degrees)


def error_bound_mm(parts: Sequence[ErrorPart], confidence: float = 0.95) -> float:
    """Length that the sum of the errors stays below with `confidence`."""
    if not 0.0 < confidence < 1.0:
        raise ValueError(f"confidence {confidence} is not between 0 and 1")
    total = np.sum([part.covariance_mm2 for part in parts], axis=0)
    trace = float(np.trace(total))
    if trace <= 0.0:
        return 0.0
    shape = trace**2 / float((total**2).sum())
    measured = sum(float(np.trace(part.covariance_mm2)) ** 2 / part.degrees for part in parts)
    if measured == 0.0:
        return math.sqrt(trace * float(special.chdtri(shape, 1.0 - confidence)) / shape)
    return math.sqrt(trace * float(special.fdtri(shape, trace**2 / measured, confidence)))


def rms_mm(parts: Sequence[ErrorPart]) -> float:
    """Expected (root mean square) length of the sum of the errors."""
    return math.sqrt(sum(float(np.trace(part.covariance_mm2)) for part in parts))
