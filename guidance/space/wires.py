"""N-shaped wires in ultrasound pictures: bright dots, and which dot is which wire.

All outer wires of the phantom are parallel, so a picture cuts them in an affine image of their cross-section,
however the probe is held. Rows of three dots are matched to that cross-section; the affine map that leaves
the smallest residual says which row is which N and which end is its first wire. A picture in which a wire is
missing, or that two readings explain, is left out.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import permutations

import cv2
import numpy as np
from numpy.typing import NDArray

from guidance.space.nwire import NWire

MOST_DOTS = 24
LEAST_LEVEL = 0.08  # of the brightest dot
ON_ROW_MM = 0.8  # a middle dot lies this near to the line of its outer dots
FIT_MM = 0.8  # rms by which outer dots may miss the cross-section
TWICE = 1.5  # a second reading must fit this much worse
STRETCH = (0.75, 1.6)  # a row may look this much longer than it is: the probe is turned, the scale is a guess
_DOT_MM, _AROUND_MM = 0.16, 1.0  # standard deviations of the dot filter and of what is subtracted around it
_REACH_MM = 0.6  # a dot's centre of mass is taken this far around its peak
_BLUR_PX = 1.0

Dots = NDArray[np.float64]


class WireError(ValueError):
    """A picture in which the wires cannot be told."""


@dataclass(frozen=True)
class _Row:
    first: int
    middle: int
    last: int
    length_px: float


def find_wires(picture: NDArray[np.uint8], wires: Sequence[NWire], pixel_mm: float) -> Dots:
    """Dots (3 per N, 2) of (column, row) px in the wires' order, in a picture (row, column) of about `pixel_mm`.

    WireError says why a picture gives none.
    """
    section = cross_section(wires)
    dots = find_dots(picture, pixel_mm)
    if len(dots) < 3 * len(wires):
        raise WireError(f"{len(dots)} dots are seen, the phantom has {3 * len(wires)} wires")
    readings = sorted(_readings(dots, section, pixel_mm), key=lambda reading: reading[0])
    if not readings:
        raise WireError(f"none of the {len(dots)} dots lie as the phantom's wires do")
    best, chosen = readings[0]
    if any(fit < TWICE * best for fit, other in readings[1:] if _reread(chosen, other)):
        raise WireError("two readings of the wires fit alike")
    return dots[[n for row in chosen for n in (row.first, row.middle, row.last)]]


def cross_section(wires: Sequence[NWire]) -> NDArray[np.float64]:
    """Outer wires (2 per N, 2) as mm in a plane across them; WireError unless all are parallel."""
    outer = np.array([ends for wire in wires for ends in (wire.first, wire.last)], np.float64)
    along = outer[:, 1] - outer[:, 0]
    along /= np.sqrt((along**2).sum(axis=1))[:, None]
    if (np.abs(along @ along[0]) < 0.999).any():
        raise WireError("the outer wires of the phantom are not parallel")
    _, _, axes = np.linalg.svd(along[:1])
    found: NDArray[np.float64] = outer[:, 0] @ axes[1:].T
    return found


def find_dots(picture: NDArray[np.uint8], pixel_mm: float) -> Dots:
    """Centres (N, 2) of (column, row) of small bright spots, brightest first, at most MOST_DOTS."""
    grey = np.asarray(picture, np.float32)
    sigma, wide = max(_BLUR_PX, _DOT_MM / pixel_mm), _AROUND_MM / pixel_mm
    response = cv2.GaussianBlur(grey, (0, 0), sigma) - cv2.GaussianBlur(grey, (0, 0), wide)
    reach = max(2, round(_REACH_MM / pixel_mm))
    kernel = np.ones((2 * reach + 1, 2 * reach + 1), np.uint8)
    peaks = (response >= cv2.dilate(response, kernel)) & (response > LEAST_LEVEL * float(response.max()) + 1.0)
    rows, columns = np.nonzero(peaks)
    order = np.argsort(-response[rows, columns], kind="stable")[:MOST_DOTS]
    found = [_centre(response, int(rows[n]), int(columns[n]), reach) for n in order]
    return np.array(found, np.float64).reshape(-1, 2)


def _centre(response: NDArray[np.floating], row: int, column: int, reach: int) -> tuple[float, float]:
    top, left = max(0, row - reach), max(0, column - reach)
    part = response[top : row + reach + 1, left : column + reach + 1]
    weight = np.maximum(part - 0.5 * part.max(), 0.0)
    j, i = np.indices(part.shape)
    whole = float(weight.sum())
    return left + float((weight * i).sum()) / whole, top + float((weight * j).sum()) / whole


def _rows(dots: Dots, least_px: float, most_px: float, off_px: float) -> list[_Row]:
    """Three dots on a line, in both directions; of several between the ends the brightest."""
    found = []
    for a, b in permutations(range(len(dots)), 2):
        span = dots[b] - dots[a]
        length = float(np.hypot(span[0], span[1]))
        if not least_px <= length <= most_px:
            continue
        off = dots - dots[a]
        share = off @ span / length**2
        aside = np.abs(off[:, 0] * span[1] - off[:, 1] * span[0]) / length
        between = np.nonzero((aside <= off_px) & (share > 0.02) & (share < 0.98))[0]
        found += [_Row(a, int(m), b, length) for m in between[:1]]
    return found


def _readings(dots: Dots, section: NDArray[np.float64], pixel_mm: float) -> list[tuple[float, tuple[_Row, ...]]]:
    """Every assignment of rows of dots to the Ns that fits: (rms residual in px, rows)."""
    spans = np.sqrt(((section[1::2] - section[::2]) ** 2).sum(axis=1)) / pixel_mm
    rows = _rows(dots, STRETCH[0] * spans.min(), STRETCH[1] * spans.max(), ON_ROW_MM / pixel_mm)
    known = np.column_stack([section, np.ones(len(section))])
    solve = np.linalg.pinv(known)
    readings = []
    for chosen in _choices(rows, dots, spans):
        seen = dots[[n for row in chosen for n in (row.first, row.last)]]
        rest = seen - known @ (solve @ seen)
        fit = float(np.sqrt((rest**2).sum(axis=1).mean()))
        if fit <= FIT_MM / pixel_mm:
            readings.append((fit, chosen))
    return readings


def _choices(rows: list[_Row], dots: Dots, spans: NDArray[np.float64]) -> list[tuple[_Row, ...]]:
    """Rows for every N that share no dot, run the same way and are stretched alike."""
    chosen: list[tuple[_Row, ...]] = [()]
    for n, span in enumerate(spans):
        chosen = [
            (*before, row)
            for before in chosen
            for row in rows
            if STRETCH[0] <= row.length_px / span <= STRETCH[1]
            and all(_alike(other, row, dots, float(spans[k] / span)) for k, other in enumerate(before))
        ]
        if n and not chosen:
            break
    return chosen


def _alike(one: _Row, two: _Row, dots: Dots, ratio: float) -> bool:
    if {one.first, one.middle, one.last} & {two.first, two.middle, two.last}:
        return False
    a, b = dots[one.last] - dots[one.first], dots[two.last] - dots[two.first]
    alike = float(a @ b) / (one.length_px * two.length_px) > 0.985  # within 10 degrees
    return alike and 0.9 < one.length_px / (two.length_px * ratio) < 1.1


def _reread(one: tuple[_Row, ...], other: tuple[_Row, ...]) -> bool:
    """True where two readings give a wire another dot."""
    return any((a.first, a.last) != (b.first, b.last) for a, b in zip(one, other, strict=True))
