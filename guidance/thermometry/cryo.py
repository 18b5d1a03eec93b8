"""Freezing: PRF does not hold in ice, so the iceball is seen as the loss of signal.

The edge of the void is the 0 degC isotherm. Colder isotherms come from a model: heat flows steadily from the edge to
the needles, so temperature solves Laplace's equation between them (around one needle it falls with the logarithm of
the radius). Lethal ice (-20 to -40 degC) lies up to 1 cm inside of the visible edge (Littrup et al., J Vasc Interv
Radiol 2009;20:1343: below -30 degC within 1 cm for nearly all needles): efficacy counts 5-10 mm inside, organs count
the edge itself.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray
from scipy import ndimage

Mask = NDArray[np.bool_]
VOID_SHARE = 0.25  # of the magnitude before freezing
SWEEPS, SWEEPS_ON, OVER = 250, 60, 1.85  # of the relaxation between edge and needles: at first, from a former answer
NODE_SHARE = 0.2  # of the grid's step: the radius that one point of a five-point grid stands for (Peaceman 1978)


@dataclass(frozen=True, eq=False)
class Iceball:
    """`ice` is the void that holds a needle, `lethal` what lies `margin_mm` inside of its edge.

    `depth_mm` is the distance to the edge: positive inside of the ice, negative outside. `fine_mm` is the same with
    slices as close as the voxels of a slice (`between` of them for each): what lies between two slices.
    """

    ice: Mask
    lethal: Mask
    depth_mm: NDArray[np.float32]
    fine_mm: NDArray[np.float32]
    between: int


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
    `needle_reach_mm`) is ice, so that air and bone are not. Slices are joined by the distance to the edge in each
    (Raya & Udupa 1990). Raises ValueError where `before` is empty, shapes differ or no needle is in the image.
    """
    if magnitude.shape != before.shape or needles.shape != before.shape:
        raise ValueError(f"shapes differ: now {magnitude.shape}, before {before.shape}, needles {needles.shape}")
    if not needles.any():
        raise ValueError("no needle in the image: the iceball cannot be told from other voids")
    if not (np.isfinite(before).all() and np.isfinite(magnitude).all() and before.max() > 0.0):
        raise ValueError("the image before freezing or the present one has no finite signal")
    tissue = before > 0.15 * before.max()
    near = ndimage.distance_transform_edt(~needles, sampling=spacing_mm) <= needle_reach_mm
    frozen = tissue & (magnitude < VOID_SHARE * before)
    void = frozen | needles
    labels, _ = ndimage.label(void, structure=np.ones((3, 3, 3)))
    joined = np.unique(labels[frozen & near])
    ice = np.stack([_smooth(plane) for plane in frozen & np.isin(labels, joined[joined > 0])])
    fine, between = _between_slices(ice, spacing_mm)
    depth = fine[::between]
    return Iceball(ice, ice & (depth >= margin_mm), depth, fine, between)


def _smooth(plane: Mask) -> Mask:
    """Without the slit that a needle's own void leaves, without holes and single voxels."""
    wide = np.pad(plane, 2)
    closed = ndimage.binary_closing(wide, iterations=2)[2:-2, 2:-2]
    return np.asarray(ndimage.binary_opening(ndimage.binary_fill_holes(closed)))


def _between_slices(ice: Mask, spacing_mm: tuple[float, float, float]) -> tuple[NDArray[np.float32], int]:
    """Distance to the edge in space on slices as close as the voxels, and how many of them there are for each slice."""
    step_mm = float(min(spacing_mm[1:]))
    between = max(1, round(spacing_mm[0] / step_mm))
    flat = np.stack([_edge_distance(plane, spacing_mm[1:], spacing_mm[0]) for plane in ice])
    at = np.linspace(0.0, len(ice) - 1.0, between * (len(ice) - 1) + 1)
    low = np.minimum(at.astype(int), max(len(ice) - 2, 0))
    share = (at - low)[:, None, None]
    joined = flat if len(ice) == 1 else flat[low] * (1.0 - share) + flat[low + 1] * share
    fine_mm = (spacing_mm[0] / between, *spacing_mm[1:])
    return _edge_distance(joined > 0.0, fine_mm, float(np.max(fine_mm)) * max(joined.shape)).astype(np.float32), between


def _edge_distance(inside: Mask, spacing_mm: tuple[float, ...], none_mm: float) -> NDArray[np.float64]:
    """Distance to the edge of a mask, which runs half-way between voxels; -`none_mm` where there is no mask at all."""
    if not inside.any():
        return np.full(inside.shape, -none_mm)
    half = 0.5 * min(spacing_mm)
    within = ndimage.distance_transform_edt(inside, sampling=spacing_mm) - half
    without = ndimage.distance_transform_edt(~inside, sampling=spacing_mm) - half
    return np.asarray(np.where(inside, within, -without))


def temperature_in_ice(
    fine_mm: NDArray[np.float32],
    needles: Sequence[tuple[NDArray[np.intp], float]],
    step_mm: float,
    *,
    needle_radius_mm: float = 0.75,
    start_c: NDArray[np.float32] | None = None,
) -> NDArray[np.float32]:
    """degC in the ice of `fine_mm` (see Iceball) while it is being frozen, 0 outside, on its grid of `step_mm`.

    `needles` are (points (3, N) of this grid, degC) of each active length. `start_c` is a former answer on this grid.
    Says nothing of ice that thaws: heat does not flow steadily then.
    """
    ice = fine_mm > 0.0
    kept = np.zeros(fine_mm.shape, np.bool_)
    value = np.zeros(fine_mm.shape, np.float32) if start_c is None else np.where(ice, start_c, np.float32(0.0))
    value = np.ascontiguousarray(value, np.float32)
    for at, needle_c in needles:
        radius = np.maximum(fine_mm[tuple(at)], 2.0 * needle_radius_mm)
        grown = np.log(radius / (NODE_SHARE * step_mm)) / np.log(radius / needle_radius_mm)
        value[tuple(at)] = np.where(ice[tuple(at)], needle_c * grown, 0.0)
        kept[tuple(at)] = True
    _relax(value, ice, kept, SWEEPS if start_c is None else SWEEPS_ON, np.float32(OVER))
    return value


@njit(nogil=True, cache=True)
def _relax(value, ice, kept, sweeps, over):  # type: ignore[no-untyped-def]
    planes, rows, columns = value.shape
    for _ in range(sweeps):
        for k in range(1, planes - 1):
            for j in range(1, rows - 1):
                for i in range(1, columns - 1):
                    if not ice[k, j, i] or kept[k, j, i]:
                        continue
                    total, weight = np.float32(0.0), np.float32(0.0)
                    for step in range(6):
                        a = k + (1 if step == 0 else -1 if step == 1 else 0)
                        b = j + (1 if step == 2 else -1 if step == 3 else 0)
                        c = i + (1 if step == 4 else -1 if step == 5 else 0)
                        if ice[a, b, c]:
                            total += value[a, b, c]
                            weight += np.float32(1.0)
                        else:
                            weight += np.float32(2.0)  # the edge, at 0 degC, is half a step away
                    value[k, j, i] += over * (total / weight - value[k, j, i])


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
