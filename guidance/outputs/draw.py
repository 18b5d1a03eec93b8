"""Drawing on RGBA pictures: cased lines, labels, letters, hatches. Coordinates are (column, row) pixels."""

import functools
import math
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from guidance.outputs.palette import OUTLINE, RGB

Picture = NDArray[np.uint8]
_SHIFT = 4  # fractional bits that OpenCV takes for sub-pixel positions
_FONT = cv2.FONT_HERSHEY_SIMPLEX
_SCALED = (np.uint8, np.int8, np.uint16, np.int16, np.int32, np.float32, np.float64)  # what OpenCV scales


def _fixed(points: NDArray[np.float64]) -> NDArray[np.int32]:
    return np.round(np.clip(points, -4000, 4000) * (1 << _SHIFT)).astype(np.int32).reshape(-1, 1, 2)


def line(picture: Picture, points: NDArray[np.float64], kind: str, closed: bool = False, width: int = 2) -> None:
    """Draw a polyline (N, 2) in the colour of `kind` with a black casing of one pixel, in place."""
    _strokes(picture, [_fixed(points)], kind, closed, width)


def _strokes(picture: Picture, lines: list[NDArray[np.int32]], kind: str, closed: bool, width: int) -> None:
    for colour, thickness in (((0, 0, 0), width + 2), (OUTLINE[kind], width)):
        cv2.polylines(picture, lines, closed, (*colour, 255), thickness, cv2.LINE_AA, _SHIFT)


def dashed(picture: Picture, points: NDArray[np.float64], kind: str, dash_px: float = 8.0, width: int = 2) -> None:
    """Draw a polyline (N, 2) dashed, cased, in place: organs at risk differ from targets by line, not only colour."""
    _pattern(picture, points, kind, (dash_px, dash_px))


def dash_dot(picture: Picture, points: NDArray[np.float64], kind: str, dash_px: float = 10.0) -> None:
    """Draw a polyline (N, 2) dash-dotted, cased, in place: the boundary of a gate."""
    _pattern(picture, points, kind, (dash_px, 5.0, 1.5, 5.0))


def _pattern(picture: Picture, points: NDArray[np.float64], kind: str, lengths_px: tuple[float, ...]) -> None:
    """Strokes and gaps in turn, of the given lengths, from the start to the end of the line."""
    steps = np.linalg.norm(np.diff(points, axis=0), axis=1)
    along = np.concatenate([[0.0], np.cumsum(steps)])
    if along[-1] == 0.0:
        return
    marks = np.cumsum(np.tile(lengths_px, math.ceil(along[-1] / sum(lengths_px))))
    starts = np.concatenate([[0.0], marks[1:-1:2]])
    stops = np.minimum(marks[::2], along[-1])
    at = np.sort(np.concatenate([along, starts, stops]))
    fixed = _fixed(np.column_stack([np.interp(at, along, points[:, axis]) for axis in (0, 1)]))
    first, last = np.searchsorted(at, starts, "left"), np.searchsorted(at, stops, "right")
    lines = [fixed[a:b] for a, b, start in zip(first, last, starts, strict=True) if start < along[-1]]
    _strokes(picture, lines, kind, closed=False, width=2)


def dotted(picture: Picture, points: NDArray[np.float64], kind: str, gap_px: float = 6.0) -> None:
    """Draw a polyline (N, 2) as dots, cased, in place: what is forecast, not measured."""
    along = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(points, axis=0), axis=1))])
    at = np.arange(0.0, along[-1], gap_px)
    if at.size == 0:
        return
    dots = _fixed(np.column_stack([np.interp(at, along, points[:, axis]) for axis in (0, 1)]))
    spots = [np.repeat(dot[np.newaxis], 2, axis=0) for dot in dots]  # a line of no length is a round dot
    for colour, width in (((0, 0, 0), 6), (OUTLINE[kind], 4)):
        cv2.polylines(picture, spots, False, (*colour, 255), width, cv2.LINE_AA, _SHIFT)


def cross(picture: Picture, at: NDArray[np.float64], kind: str, radius_px: float = 7.0) -> None:
    """Draw an upright cross at `at`, in place."""
    for direction in ((1.0, 0.0), (0.0, 1.0)):
        arm = np.array(direction) * radius_px
        line(picture, np.array([at - arm, at + arm]), kind)


def ring(picture: Picture, at: NDArray[np.float64], kind: str, radius_px: float = 5.0) -> None:
    """Draw a circle around `at`, in place."""
    angle = np.linspace(0.0, 2.0 * np.pi, 25)
    line(picture, at + radius_px * np.column_stack([np.cos(angle), np.sin(angle)]), kind, width=1)


def ellipse(
    picture: Picture, at: NDArray[np.float64], pixel_from_ras: NDArray[np.float64], radius_mm: float, kind: str
) -> None:
    """Draw what a ball of `radius_mm` around `at` is in this picture: an ellipse where its pixels are not square."""
    angle = np.linspace(0.0, 2.0 * np.pi, 33)
    across, down = (radius_mm * np.sqrt((pixel_from_ras[row, :3] ** 2).sum()) for row in (0, 1))
    line(picture, at + np.column_stack([across * np.cos(angle), down * np.sin(angle)]), kind, width=1)


def label(
    picture: Picture, text: str, at: tuple[float, float], colour: RGB = OUTLINE["text"], size: float = 0.45
) -> None:
    """Write `text` with its baseline's left end at `at`, with a black casing, in place."""
    kept, added, (left, rise) = _written(text, size, colour)
    column, row = round(at[0]) - left, round(at[1]) - rise
    rows, columns = kept.shape[:2]
    part = picture[max(row, 0) : max(row + rows, 0), max(column, 0) : max(column + columns, 0)]
    top, start = max(0, -row), max(0, -column)
    inside = np.s_[top : top + part.shape[0], start : start + part.shape[1]]
    part[:] = part * kept[inside] + added[inside]


@functools.lru_cache(maxsize=512)
def _written(text: str, size: float, colour: RGB) -> tuple[NDArray[np.float32], NDArray[np.float32], tuple[int, int]]:
    """Text with its casing as what is kept of the picture (rows, columns, 1) and what is added to it; its origin."""
    (width, height), below = cv2.getTextSize(text, _FONT, size, 3)
    left, rise = 4, height + 4
    casing, ink = np.zeros((2, rise + below + 4, width + 8), np.uint8)
    for grey, thickness in ((casing, 3), (ink, 1)):
        cv2.putText(grey, text, (left, rise), _FONT, size, 255, thickness, cv2.LINE_AA)
    inked = ink[..., np.newaxis] / np.float32(255)
    kept = (1 - casing[..., np.newaxis] / np.float32(255)) * (1 - inked)
    return kept, np.concatenate([inked * np.array(colour, np.float32), 255 * (1 - kept)], axis=-1), (left, rise)


class Labels:
    """Labels of one picture that do not cover each other: each takes the nearest free line."""

    def __init__(self, picture: Picture, size: float) -> None:
        self._picture, self._size = picture, size
        self._taken: list[tuple[float, float, float, float]] = []

    def write(self, text: str, at: tuple[float, float]) -> None:
        """Write `text` near `at` (its baseline's left end), moved up or down by whole lines where that is taken."""
        (width, height), _ = cv2.getTextSize(text, _FONT, self._size, 1)
        line_px = height + 4.0
        rows, columns = self._picture.shape[:2]
        left = min(max(at[0], 2.0), columns - width - 2.0)
        for step in (0, -1, 1, -2, 2, -3, 3, -4, 4):
            base = min(max(at[1] + step * line_px, line_px), rows - 4.0)
            box = (left, base - height, left + width, base)
            if all(_apart(box, other) for other in self._taken):
                self._taken.append(box)
                label(self._picture, text, (left, base), size=self._size)
                return


def _apart(a: tuple[float, float, float, float], b: tuple[float, float, float, float]) -> bool:
    return a[2] <= b[0] or b[2] <= a[0] or a[3] <= b[1] or b[3] <= a[1]


def letters(picture: Picture, marks: str) -> None:
    """Write the orientation letters (left, right, top, bottom) at the middle of each side, in place."""
    rows, columns = picture.shape[:2]
    places = ((4, rows / 2), (columns - 14, rows / 2), (columns / 2, 14), (columns / 2, rows - 6))
    for mark, place in zip(marks, places, strict=True):
        label(picture, mark, place)


def hatch(picture: Picture, where: NDArray[np.bool_], kind: str, period: int = 8) -> None:
    """Hatch the pixels of `where` diagonally: a state (missing, not live), never a value. In place."""
    rows = np.arange(where.shape[0])[:, np.newaxis]
    columns = np.arange(where.shape[1])[np.newaxis, :]
    stripes = where & ((rows + columns) % period < 2)
    picture[stripes] = (*OUTLINE[kind], 255)


def grey_rgba(image: NDArray[Any], white: float) -> Picture:
    """An opaque RGBA picture of a grey image of any scalar type; `white` is shown white, negative black."""
    if image.dtype not in _SCALED:
        image = image.astype(np.float32)
    scale = 255.0 / white if white > 0 else 0.0
    grey = cv2.convertScaleAbs(np.maximum(image, 0) if image.dtype.kind in "if" else image, alpha=scale)
    picture: Picture = cv2.cvtColor(grey, cv2.COLOR_GRAY2RGBA)
    return picture
