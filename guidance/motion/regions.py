"""Trackers of one region: cheap, with a quality of their own, each refusing by name what it cannot follow.

- `track_points`: pyramidal Lucas-Kanade over a grid, median (Bouguet 2000), checked forwards and backwards.
- `match_template`: normalised cross-correlation with a parabola through the peak (Lewis 1995).
- `navigator_shift`: phase correlation with a Hanning window (Kuglin & Hines 1975), for navigators in 1-D or 2-D.
"""

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from guidance.motion.flow import as_image
from guidance.motion.quality import Verdict


@dataclass(frozen=True)
class RegionShift:
    """How far the region moved from the reference to the current image, px, x then y.

    `quality` is the share of points kept (points), the correlation (template) or the peak's response (navigator);
    `spread_px` the robust SD among points, 0 for the others.
    """

    shift_px: tuple[float, float]
    quality: float
    spread_px: float
    verdict: Verdict


@dataclass(frozen=True)
class Box:
    """A region of an image in pixels: first row, first column, rows, columns."""

    row: int
    column: int
    rows: int
    columns: int

    def cut(self, image: NDArray[Any], margin: int = 0) -> NDArray[Any]:
        """The pixels of the box, widened by `margin`; ValueError where it is empty or leaves the image."""
        low_r, low_c = self.row - margin, self.column - margin
        high_r, high_c = self.row + self.rows + margin, self.column + self.columns + margin
        if (
            min(low_r, low_c) < 0
            or high_r > image.shape[0]
            or high_c > image.shape[1]
            or min(self.rows, self.columns) < 4
        ):
            raise ValueError(f"region {self} with margin {margin} px does not lie in an image of {image.shape}")
        return image[low_r:high_r, low_c:high_c]


def _pair(reference: NDArray[Any], current: NDArray[Any]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    first, second = as_image(reference, "reference"), as_image(current, "current")
    if first.shape != second.shape:
        raise ValueError(f"current: shape {second.shape} differs from the reference's {first.shape}")
    return first, second


def _bytes(image: NDArray[np.float32], low: float, high: float) -> NDArray[np.uint8]:
    return np.asarray(np.clip((image - low) * (230 / max(high - low, 1e-9)), 0, 255), np.uint8)


def track_points(
    reference: NDArray[Any],
    current: NDArray[Any],
    box: Box,
    grid_px: int = 6,
    most_return_px: float = 0.5,
    least_kept: float = 0.4,
) -> RegionShift:
    """Median displacement of a grid of points in `box`; LOST where too few come back to where they started.

    The spread is the points' robust SD: it grows where the region deforms or two tissues share the box.
    """
    first, second = _pair(reference, current)
    box.cut(first)
    low, high = float(first.min()), float(np.percentile(first, 99.8))
    second = second + np.float32(first.mean() - second.mean())
    a, b = _bytes(first, low, high), _bytes(second, low, high)
    x, y = np.meshgrid(
        np.arange(box.column, box.column + box.columns, grid_px), np.arange(box.row, box.row + box.rows, grid_px)
    )
    points = np.stack([x.ravel(), y.ravel()], axis=-1).astype(np.float32)[:, None]
    how: dict[str, Any] = {"winSize": (15, 15), "maxLevel": 3, "minEigThreshold": 1e-4}
    there, found, _ = cv2.calcOpticalFlowPyrLK(a, b, points, None, **how)
    back, found_back, _ = cv2.calcOpticalFlowPyrLK(b, a, there, None, **how)
    kept = (
        (found[:, 0] == 1) & (found_back[:, 0] == 1) & (np.linalg.norm(back - points, axis=-1)[:, 0] < most_return_px)
    )
    share = float(kept.mean())
    if share < least_kept:
        return RegionShift((0.0, 0.0), share, 0.0, Verdict.LOST)
    moved = (there - points)[kept, 0]
    middle = np.median(moved, axis=0)
    spread = 1.4826 * float(np.median(np.linalg.norm(moved - middle, axis=-1)))
    return RegionShift((float(middle[0]), float(middle[1])), share, spread, Verdict.OK)


def _parabola(before: float, at: float, after: float) -> float:
    """Offset of a parabola's top from the middle of three samples, within half a sample."""
    bend = before - 2 * at + after
    return 0.0 if bend >= 0 else float(np.clip(0.5 * (before - after) / bend, -0.5, 0.5))


def match_template(
    reference: NDArray[Any], current: NDArray[Any], box: Box, reach_px: int = 15, least: float = 0.7
) -> RegionShift:
    """Shift of the box's content by the best normalised correlation within `reach_px`; WEAK below `least`.

    A peak at the edge of the reach is OUTSIDE: the true one may lie beyond.
    """
    first, second = _pair(reference, current)
    template = np.ascontiguousarray(box.cut(first))
    if not template.std() > 0:
        raise ValueError(f"region {box}: the reference has no structure there")
    top, left = min(reach_px, box.row), min(reach_px, box.column)
    bottom = min(reach_px, first.shape[0] - box.row - box.rows)
    right = min(reach_px, first.shape[1] - box.column - box.columns)
    area = second[box.row - top : box.row + box.rows + bottom, box.column - left : box.column + box.columns + right]
    score = cv2.matchTemplate(np.ascontiguousarray(area), template, cv2.TM_CCOEFF_NORMED)
    if area.std() < 0.05 * template.std():
        return RegionShift((0.0, 0.0), 0.0, 0.0, Verdict.BLANK)
    peak = float(score.max())
    row, column = (int(v) for v in np.unravel_index(int(score.argmax()), score.shape))
    if peak < least:
        return RegionShift((0.0, 0.0), peak, 0.0, Verdict.WEAK)
    if row in (0, score.shape[0] - 1) or column in (0, score.shape[1] - 1):
        return RegionShift((float(column - left), float(row - top)), peak, 0.0, Verdict.OUTSIDE)
    dx = _parabola(*(float(v) for v in score[row, column - 1 : column + 2]))
    dy = _parabola(*(float(v) for v in score[row - 1 : row + 2, column]))
    return RegionShift((column - left + dx, row - top + dy), peak, 0.0, Verdict.OK)


def navigator_shift(reference: NDArray[Any], current: NDArray[Any], least: float = 0.1) -> RegionShift:
    """Shift of a navigator, a profile (n,) or an image (rows, columns), to a fraction of a sample; WEAK below `least`.

    For a profile the shift lies in x. Raises ValueError on other ranks, shapes that differ or values not finite.
    """
    first, second = np.asarray(reference, np.float64), np.asarray(current, np.float64)
    if first.shape != second.shape or first.ndim not in (1, 2) or min(first.shape) < 8:
        raise ValueError(
            f"navigator: need two of one shape (n,) or (rows, columns), n >= 8; got {first.shape}, {second.shape}"
        )
    if not (np.isfinite(first).all() and np.isfinite(second).all()):
        raise ValueError("navigator: holds values that are not finite")
    if not (first.std() > 0 and second.std() > 1e-3 * first.std()):
        return RegionShift((0.0, 0.0), 0.0, 0.0, Verdict.BLANK)
    coarse, peak = _correlate(first, second)
    whole = [round(part) for part in coarse]
    if any(whole) and all(n - abs(w) >= 8 for n, w in zip(first.shape, whole, strict=True)):
        overlap = [slice(max(-w, 0), n - max(w, 0)) for n, w in zip(first.shape, whole, strict=True)]
        there = [slice(max(w, 0), n + min(w, 0)) for n, w in zip(first.shape, whole, strict=True)]
        fine, peak = _correlate(first[tuple(overlap)], second[tuple(there)])
        coarse = [w + f for w, f in zip(whole, fine, strict=True)]
    shift = (coarse[-1], coarse[0] if len(coarse) == 2 else 0.0)
    return RegionShift(shift, peak, 0.0, Verdict.OK if peak >= least else Verdict.WEAK)


def _correlate(first: NDArray[np.float64], second: NDArray[np.float64]) -> tuple[list[float], float]:
    """Shift along each axis and the height of the phase correlation's peak, both inputs under a Hanning window."""
    window = np.hanning(first.shape[-1]) if first.ndim == 1 else np.outer(*(np.hanning(n) for n in first.shape))
    spectra = [np.fft.rfftn((image - image.mean()) * window) for image in (first, second)]
    cross = spectra[1] * np.conj(spectra[0])
    strength = np.abs(cross)
    axes = tuple(range(first.ndim))
    surface = np.fft.irfftn(cross / (strength + 0.01 * strength.max() + 1e-30), s=first.shape, axes=axes)
    at = np.unravel_index(int(surface.argmax()), surface.shape)
    parts = []
    for axis, place in enumerate(at):
        line = surface if len(at) == 1 else np.moveaxis(surface, axis, 0)[:, at[1 - axis]]
        count = len(line)
        offset = _parabola(float(line[place - 1]), float(line[place]), float(line[(place + 1) % count]))
        parts.append((int(place) + count // 2) % count - count // 2 + offset)
    return parts, float(surface[at])
