"""Carrying what belongs to tissue along with it: maps, masks, baselines, plan structures.

Fields are (rows, columns, 2) px, x then y, with current(p + u(p)) = reference(p). *To the reference*: the value that
the tissue at reference position p has now, wherever it is. *To the current image*: where plan and masks lie now.
Temperatures are carried by cubic splines: linear interpolation back and forth by half a voxel keeps the sum of a hot
spot and loses 23-71 % of its peak. Dose accumulates at material points: carry each temperature to the reference,
add it there, never the dose back and forth.
"""

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from guidance.motion import spline

Field = NDArray[np.float32]


@dataclass(frozen=True)
class Carried:
    """`values` in the dtype's real or complex float32 form; `known` is False where tissue left the image."""

    values: NDArray[Any]
    known: NDArray[np.bool_]


def _check(values: NDArray[Any], field: Field) -> None:
    if field.shape != (*values.shape[:2], 2) or values.ndim not in (2, 3):
        raise ValueError(
            f"carry: a map of shape {values.shape} needs a field {(*values.shape[:2], 2)}, got {field.shape}"
        )


def _carry_plane(plane: NDArray[Any], field: Field) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    clean = np.ascontiguousarray(plane, np.float32)
    return spline.warp(spline.spline_coefficients(clean), np.ascontiguousarray(field, np.float32))


def to_reference(values: NDArray[Any], field: Field) -> Carried:
    """Bring a current map (rows, columns[, components]), real or complex, to the reference position; cubic.

    Raises ValueError when shapes disagree or a value is not finite (mask first: a spline would spread it).
    """
    _check(values, field)
    if not np.isfinite(values).all():
        raise ValueError("carry: the map holds values that are not finite; fill and mask them first")
    if np.iscomplexobj(values):
        real, imaginary = to_reference(values.real, field), to_reference(values.imag, field)
        return Carried((real.values + 1j * imaginary.values).astype(np.complex64), real.known)
    planes = values[..., None] if values.ndim == 2 else values
    carried = [_carry_plane(planes[..., k], field) for k in range(planes.shape[-1])]
    stacked = np.stack([c[0] for c in carried], axis=-1)
    return Carried(stacked[..., 0] if values.ndim == 2 else stacked, carried[0][1])


def invert(field: Field, iterations: int = 12) -> Field:
    """The field v with v(q) = -u(q + v(q)): from the current image back to the reference (fixed-point iteration).

    Converges where the field does not fold; the residual is below 0.01 px for |grad u| < 0.5.
    """
    rows, columns = field.shape[:2]
    x, y = np.meshgrid(np.arange(columns, dtype=np.float32), np.arange(rows, dtype=np.float32))
    back = -field
    for _ in range(iterations):
        back = -cv2.remap(field, x + back[..., 0], y + back[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(back, np.float32)


def to_current(values: NDArray[Any], field: Field) -> Carried:
    """Bring a map of the reference position (a baseline, a prior) to where the tissue is now; cubic."""
    _check(values, field)
    return to_reference(values, invert(field))


def mask_to_current(mask: NDArray[np.bool_], field: Field) -> NDArray[np.bool_]:
    """A mask painted in the reference image, where its tissue is now (half-pixel rule; False beyond the edge)."""
    _check(mask, field)
    return _mask(mask, invert(field))


def mask_to_reference(mask: NDArray[np.bool_], field: Field) -> NDArray[np.bool_]:
    """A mask found in the current image, at the reference position."""
    _check(mask, field)
    return _mask(mask, field)


def _mask(mask: NDArray[np.bool_], field: Field) -> NDArray[np.bool_]:
    rows, columns = mask.shape
    x = np.arange(columns, dtype=np.float32) + field[..., 0]
    y = np.arange(rows, dtype=np.float32)[:, None] + field[..., 1]
    share = cv2.remap(mask.astype(np.float32), x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT, borderValue=0)
    return np.asarray(share >= 0.5)


def points_to_current(points_px: NDArray[Any], field: Field) -> NDArray[np.float64]:
    """Points (n, 2) px, x then y, of a contour or a plan in the reference image, where they are now."""
    points = np.asarray(points_px, np.float64)
    if points.ndim != 2 or points.shape[1] != 2:
        raise ValueError(f"carry: points need shape (n, 2), got {points.shape}")
    at = points.astype(np.float32)
    moved = cv2.remap(field, at[:, :1], at[:, 1:], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(points + moved[:, 0], np.float64)


def motion_sigma(values: NDArray[np.floating[Any]], residual_px: float) -> NDArray[np.float32]:
    """What a residual motion of `residual_px` (SD along each axis) adds to the map's sigma: |grad| times residual.

    First-order propagation; combine with the map's own sigma as the root of the sum of squares.
    """
    dy, dx = np.gradient(np.asarray(values, np.float32))
    return np.asarray(np.hypot(dx, dy) * np.float32(residual_px), np.float32)
