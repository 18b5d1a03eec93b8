"""Hand-eye calibration: how a sensor sits on what carries it, from motions that both saw (A X = X B).

A first solution by OpenCV (Park and Martin 1994), then all motions together by robust least squares.
"""

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.optimize import least_squares
from scipy.spatial.transform import Rotation

from guidance.exact import Matrix

SPAN_DEG = 30.0
LEVER_MM = 100.0  # weighs angles against lengths: an angle counts as its arc at this distance


@dataclass(frozen=True, eq=False)
class HandEye:
    """`hand_from_eye` (4, 4); residuals of `base_from_target` over all poses; span of the hand's turns."""

    hand_from_eye: Matrix
    base_from_target: Matrix
    rms_mm: float
    rms_deg: float
    span_deg: float

    def faults(self, rms_mm: float = 1.5, rms_deg: float = 1.0, span_deg: float = SPAN_DEG) -> list[str]:
        """Why it must not be used; empty where it may."""
        rows = [
            (self.rms_mm > rms_mm, f"residual {self.rms_mm:.2f} mm is above {rms_mm:.2f} mm"),
            (self.rms_deg > rms_deg, f"residual {self.rms_deg:.2f} deg is above {rms_deg:.2f} deg"),
            (self.span_deg < span_deg, f"the hand turned {self.span_deg:.0f} deg only, {span_deg:.0f} are needed"),
        ]
        return [text for failed, text in rows if failed]


def calibrate_hand_eye(base_from_hand: NDArray[np.float64], eye_from_target: NDArray[np.float64]) -> HandEye:
    """From pairs of poses (N, 4, 4): the hand in its base, and a target fixed to the base in the eye. N >= 3.

    ValueError for unpaired or too few poses, or turns about fewer than two axes.
    """
    hands, targets = np.asarray(base_from_hand, np.float64), np.asarray(eye_from_target, np.float64)
    if hands.shape != targets.shape or hands.ndim != 3 or hands.shape[1:] != (4, 4) or len(hands) < 3:
        raise ValueError(f"poses {hands.shape} and {targets.shape} are not pairs of (N, 4, 4) with N >= 3")
    turns = Rotation.from_matrix(hands[:, :3, :3])
    moves = (turns[0].inv() * turns).as_rotvec()
    spread = np.linalg.svd(moves, compute_uv=False)
    if spread[1] < math.radians(2.0):
        raise ValueError("the hand turned about one axis only: the calibration cannot be told")
    turn, shift = cv2.calibrateHandEye(
        list(hands[:, :3, :3]),
        list(hands[:, :3, 3]),
        list(targets[:, :3, :3]),
        list(targets[:, :3, 3]),
        method=cv2.CALIB_HAND_EYE_PARK,
    )
    first = np.eye(4)
    first[:3, :3], first[:3, 3] = turn, np.asarray(shift).ravel()
    base = hands[0] @ first @ targets[0]
    found = least_squares(
        _residuals, np.concatenate([_vector(first), _vector(base)]), args=(hands, targets), loss="soft_l1", f_scale=2.0
    )
    rest = _residuals(found.x, hands, targets).reshape(-1, 6)
    span = float(np.degrees(np.sqrt((moves**2).sum(axis=1)).max()))
    return HandEye(
        _matrix(found.x[:6]),
        _matrix(found.x[6:]),
        float(np.sqrt((rest[:, 3:] ** 2).sum(axis=1).mean())),
        float(np.degrees(np.sqrt((rest[:, :3] ** 2).sum(axis=1).mean()) / LEVER_MM)),
        span,
    )


def _residuals(
    values: NDArray[np.float64], hands: NDArray[np.float64], targets: NDArray[np.float64]
) -> NDArray[np.float64]:
    eye, base = _matrix(values[:6]), _matrix(values[6:])
    error = np.linalg.inv(base) @ hands @ eye @ targets
    angles = Rotation.from_matrix(error[:, :3, :3]).as_rotvec() * LEVER_MM
    found: NDArray[np.float64] = np.concatenate([angles, error[:, :3, 3]], axis=1).ravel()
    return found


def _vector(matrix: Matrix) -> NDArray[np.float64]:
    return np.concatenate([Rotation.from_matrix(matrix[:3, :3]).as_rotvec(), matrix[:3, 3]])


def _matrix(values: NDArray[np.float64]) -> Matrix:
    matrix = np.eye(4)
    matrix[:3, :3] = Rotation.from_rotvec(values[:3]).as_matrix()
    matrix[:3, 3] = values[3:]
    return matrix
