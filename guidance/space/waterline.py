"""The bottom of a water tank in ultrasound pictures: the image signal of a temporal calibration."""

import numpy as np
from numpy.typing import NDArray

from guidance.space.lag import LagError

_SHARE = 0.3  # of the picture's brightest pixel that a column's echo must reach
_COLUMNS = 20  # fewest columns in which the line must be seen
_ROUNDS = 5


def line_depth(picture: NDArray[np.uint8]) -> float:
    """Row at which the brightest line crosses the middle column of a picture (row, column), sub-pixel.

    Echo centre of every bright column, then a straight line by least squares with the columns left
    out that miss it by more than twice the median. LagError where no line is seen.
    """
    pixels = np.asarray(picture, np.float64)
    peak = pixels.max(axis=0)
    columns = np.nonzero(peak >= max(8.0, _SHARE * peak.max()))[0]
    if len(columns) < _COLUMNS:
        raise LagError(f"a line is seen in {len(columns)} columns, {_COLUMNS} are needed")
    rows = _echo_centers(pixels[:, columns], peak[columns])
    keep = np.ones(len(columns), np.bool_)
    for _ in range(_ROUNDS):
        slope, base = np.polyfit(columns[keep], rows[keep], 1)
        miss = np.abs(rows - slope * columns - base)
        again = miss <= max(2.0, 2.5 * float(np.median(miss[keep])))
        if again.sum() < _COLUMNS:
            raise LagError("the bright columns do not form a line")
        if np.array_equal(again, keep):
            break
        keep = again
    return float(slope * (pixels.shape[1] - 1) / 2 + base)


def _echo_centers(pixels: NDArray[np.float64], peak: NDArray[np.float64]) -> NDArray[np.float64]:
    """Centre of mass of each column's echo above half its peak, around the peak."""
    row = np.arange(len(pixels))[:, None]
    near = np.abs(row - pixels.argmax(axis=0)) <= 10
    weight = np.where(near & (pixels >= peak / 2), pixels, 0.0)
    found: NDArray[np.float64] = (weight * row).sum(axis=0) / weight.sum(axis=0)
    return found
