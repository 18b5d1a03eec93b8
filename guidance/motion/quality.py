"""How far a displacement field can be trusted: what it explains, whether it folds, and the name of what is wrong."""

from dataclasses import dataclass
from enum import StrEnum

import cv2
import numpy as np
from numba import njit
from numpy.typing import NDArray

Field = NDArray[np.float32]


class Verdict(StrEnum):
    """The first thing that is wrong with an estimate. Only OK may be used; everything else is said aloud."""

    OK = "ok"
    BLANK = "blank"  # no structure in the current image
    OUTSIDE = "outside"  # too much of the region came from beyond the image's edge
    FOLDED = "folded"  # tissue would turn inside out
    UNLIKE = "unlike"  # the warped image does not resemble the reference
    JUMP = "jump"  # the region moved further between two images than tissue does
    WEAK = "weak"  # a tracked region's match is too weak
    LOST = "lost"  # too few tracked points survived

    @property
    def usable(self) -> bool:
        return self is Verdict.OK


@dataclass(frozen=True)
class FlowQuality:
    """Figures behind the verdict. `similarity` and `plain_similarity` in -1..1, the rest as shares 0..1 or pixels."""

    verdict: Verdict
    similarity: float  # correlation of fine structure after warping
    folded_share: float
    inside_share: float
    shift_px: float  # mean length of the displacement over the region
    innovation_px: float  # 95th percentile over the region of the change since the last good image (or rest)
    residual: float  # robust SD of the intensity left unexplained, in units of the reference's 99.8 percentile


@njit(cache=True, nogil=True)
def folded_share(field, region):  # type: ignore[no-untyped-def]
    """Share of `region` (rows, columns, bool) where p -> p + u(p) folds: by central differences, determinant <= 0."""
    rows, columns = region.shape
    seen, folded = 0, 0
    for i in range(rows):
        above, below = max(i - 1, 0), min(i + 1, rows - 1)
        for j in range(columns):
            if region[i, j]:
                left, right = max(j - 1, 0), min(j + 1, columns - 1)
                xx = (field[i, right, 0] - field[i, left, 0]) / (right - left) + 1
                yx = (field[i, right, 1] - field[i, left, 1]) / (right - left)
                xy = (field[below, j, 0] - field[above, j, 0]) / (below - above)
                yy = (field[below, j, 1] - field[above, j, 1]) / (below - above) + 1
                seen += 1
                folded += xx * yy - xy * yx <= 0
    return folded / seen


def fine_structure(image: NDArray[np.float32], fine_px: float, coarse_px: float) -> NDArray[np.float32]:
    """The band between two Gaussian scales, divided by its local strength: blind to gain, bias and shading."""
    band = cv2.GaussianBlur(image, (0, 0), fine_px) - cv2.GaussianBlur(image, (0, 0), coarse_px)
    strength = np.sqrt(cv2.GaussianBlur(band * band, (0, 0), 2 * coarse_px))
    return np.asarray(band / (strength + 0.01), np.float32)


def correlation(a: NDArray[np.float32], b: NDArray[np.float32]) -> float:
    """Pearson correlation of two arrays of one shape; 0 where either is constant."""
    a, b = a - a.mean(), b - b.mean()
    power = float(np.vdot(a, a)) * float(np.vdot(b, b))
    return float(np.vdot(a, b)) / power**0.5 if power > 0 else 0.0


_CURVATURE = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], np.float32)


def noise_sigma(image: NDArray[np.float32]) -> float:
    """SD of the pixel noise, blind to edges and ramps (Immerkaer 1996, with the median for its mean)."""
    return 1.4826 / 6 * float(np.median(np.abs(cv2.filter2D(image, -1, _CURVATURE)[::2, ::2])))
