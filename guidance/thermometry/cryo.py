"""Freezing: PRF does not hold in ice, so the iceball is seen as the loss of signal.

The edge of the void is the 0 degC isotherm. Colder isotherms come from a model: around a cylindrical needle in
steady heat flow temperature falls with the logarithm of the radius. Lethal ice (-20 to -40 degC) lies
up to 1 cm inside of the visible edge: efficacy counts 5-10 mm inside, organs count the edge itself.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Mask = NDArray[np.bool_]
VOID_SHARE = 0.25  # of the magnitude before freezing


@dataclass(frozen=True, eq=False)
class Iceball:
    """`ice` is the void that holds a needle, `lethal` what lies `margin_mm` inside of its edge.

    `depth_mm` is the distance to the edge: positive inside of the ice, negative outside.
    """

    ice: Mask
    lethal: Mask
    depth_mm: NDArray[np.float32]


def iceball(
    magnitude: NDArray[np.floating[Any]],
    before: NDArray[np.floating[Any]],
    needles: Mask,
    spacing_mm: tuple[float, float, float],
    *,
    margin_mm: float = 10.0,
    needle_reach_mm: float = 5.0,
) -> Iceball:
    """The ice in `magnitude` against the image `before` freezing, both [slice, row, column].

    `needles` marks their shafts and tips, themselves without signal; only the void joined to them (within
    `needle_reach_mm`) is ice, so that air and bone are not. Raises ValueError where `before` is empty, shapes
    differ or no needle is in the image.
    """
    if magnitude.shape != before.shape or needles.shape != before.shape:
        raise ValueError(f"shapes differ: now {magnitude.shape}, before {before.shape}, needles {needles.shape}")
    if not needles.any():
        raise ValueError("no needle in the image: the iceball cannot be told from other voids")
    if not (np.isfinite(before).all() and np.isfinite(magnitude).all() and before.max() > 0.0):
        raise ValueError("the image before freezing or the present one has no finite signal")
    tissue = before > 0.15 * before.max()
    near = ndimage.distance_transform_edt(~needles, sampling=spacing_mm) <= needle_reach_mm
    void = (tissue & (magnitude < VOID_SHARE * before)) | needles
    labels, _ = ndimage.label(void, structure=np.ones((3, 3, 3)))
    joined = np.unique(labels[void & near])
    ice = ndimage.binary_fill_holes(np.isin(labels, joined[joined > 0]))
    inside = ndimage.distance_transform_edt(ice, sampling=spacing_mm)
    outside = ndimage.distance_transform_edt(~ice, sampling=spacing_mm)
    depth = (inside - outside).astype(np.float32)
    return Iceball(ice, ice & (depth >= margin_mm), depth)


def needle_temperature_c(
    radius_mm: NDArray[np.floating[Any]],
    ice_radius_mm: float,
    *,
    needle_radius_mm: float = 0.75,
    needle_c: float = -140.0,
) -> NDArray[np.float64]:
    """Temperature in the ice around one needle: steady conduction in a cylinder, 0 degC at `ice_radius_mm`.

    T(r) = T_needle * ln(R / r) / ln(R / r_needle); 0 outside of the ice, where this says nothing colder.
    """
    if not ice_radius_mm > needle_radius_mm > 0.0:
        raise ValueError(f"ice radius {ice_radius_mm} mm must exceed that of the needle, {needle_radius_mm} mm")
    radius = np.clip(np.asarray(radius_mm, np.float64), needle_radius_mm, ice_radius_mm)
    return np.asarray(needle_c * np.log(ice_radius_mm / radius) / np.log(ice_radius_mm / needle_radius_mm))


def isotherm_radius_mm(
    temperature_c: float, ice_radius_mm: float, *, needle_radius_mm: float = 0.75, needle_c: float = -140.0
) -> float:
    """Radius of the isotherm `temperature_c` (between that of the needle and 0) in the same model."""
    if not needle_c <= temperature_c <= 0.0:
        raise ValueError(f"isotherm {temperature_c} degC lies outside {needle_c}..0 degC")
    return float(ice_radius_mm * (needle_radius_mm / ice_radius_mm) ** (temperature_c / needle_c))
