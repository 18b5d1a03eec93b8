"""Dense displacement between two images: OpenCV's DIS for the way there, a spline surface for the last tenths.

1. Dense Inverse Search (Kroeger et al. 2016) at half resolution finds large motion.
2. A cubic B-spline field with a bending prior is fitted by Gauss-Newton (`guidance.motion.spline`); the prior is
   weighed against the noise measured in the residual, so clean images are followed closely and noisy ones calmly.
3. Where organs slide along the wall no smooth field fits: if a residual stays, DIS at full resolution is run
   once more from the spline field and taken where, and only where, it explains the image clearly better.
"""

from collections import deque
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from guidance.motion import spline
from guidance.motion.quality import FlowQuality, Verdict, correlation, fine_structure, folded_share, noise_sigma

Image = NDArray[np.float32]
Field = NDArray[np.float32]
SMALLEST_PX = 16
_WINDOW = np.ones((7, 7), np.uint8)  # over which residuals are compared
BLANK = FlowQuality(Verdict.BLANK, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0)


def single_threaded() -> None:
    """Make OpenCV run in the caller's thread alone: a setting of the whole process, called once when a lane starts."""
    cv2.setNumThreads(1)


@dataclass(frozen=True)
class FlowSettings:
    """Parameters of the estimator and of its verdict; intensities in units of the reference's 99.8 percentile."""

    coarse_spacing_px: float = 16.0
    spacing_px: float = 8.0
    cell_px: int = 4
    fine_steps: int = 2
    iterations: int = 8  # conjugate gradient steps in each Gauss-Newton step
    stiffness_per_variance: float = 12.0
    least_stiffness: float = 4e-4
    most_stiffness: float = 0.8
    ridge: float = 1e-5
    outlier_sigmas: float = 6.0
    sliding: bool = True
    sliding_refinements: int = 1  # variational steps of the search at borders
    sliding_gain: float = 1.5  # DIS is taken where the spline leaves this many times its squared residual ...
    sliding_residual: float = 0.02  # ... and at least this much
    least_similarity: float = 0.58  # real cine 0.63 and above, other slices 0.29 and below
    most_folded_share: float = 0.06  # sliding borders fold up to 0.045
    least_inside_share: float = 0.7
    most_innovation_px: float = 24.0
    astray_px: float = 6.0  # an estimate is astray where its innovation exceeds this ...
    astray_ratio: float = 2.0  # ... and this many times the trailing 99th percentile, and no image was less alike
    memory_frames: int = 600
    least_frames: int = 20
    most_residual: float = 0.015  # beyond `residual_noises` times the noise of both images
    residual_noises: float = 3.0


# For decisions that wait for the field: a quarter less time for up to 0.03 px (`guidance bench motion` has both).
PROMPT = FlowSettings(fine_steps=1, sliding_refinements=0)


@dataclass(frozen=True)
class Flow:
    """`displacement_px` (rows, columns, 2) float32, x then y: current(p + u(p)) = reference(p); and its quality."""

    displacement_px: Field
    quality: FlowQuality


def as_image(image: NDArray[Any], name: str) -> Image:
    """The image as native, contiguous float32 (rows, columns). Raises ValueError on wrong rank, size or values."""
    array = np.asarray(image)
    if array.ndim != 2 or min(array.shape) < SMALLEST_PX:
        raise ValueError(f"{name}: need (rows, columns) of at least {SMALLEST_PX} pixels each, got shape {array.shape}")
    if np.iscomplexobj(array):
        raise ValueError(f"{name}: is complex; pass its magnitude")
    result = np.ascontiguousarray(array, dtype=np.float32)
    if not np.isfinite(result).all():
        raise ValueError(f"{name}: holds values that are not finite; mask or replace them first")
    return result


def _dis(finest_scale: int, descent: int, refinement: int, stride_px: int, coarsest_scale: int | None = None) -> Any:
    dis: Any = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    dis.setFinestScale(finest_scale)
    if coarsest_scale is not None:
        dis.setCoarsestScale(coarsest_scale)
    dis.setPatchSize(8)
    dis.setPatchStride(stride_px)
    dis.setGradientDescentIterations(descent)
    dis.setVariationalRefinementIterations(refinement)
    dis.setVariationalRefinementAlpha(20.0)
    return dis


class _Surface:
    """One spline lattice over images of one shape: its taps, and the way from a field to its nodes."""

    def __init__(self, shape: tuple[int, int], spacing_px: float, cell_px: int) -> None:
        self.shape, self.spacing_px, self.cell_px = shape, spacing_px, cell_px
        self.pixels = [spline.taps(np.arange(n, dtype=np.float64), spacing_px) for n in shape]
        self.cells = [-(-n // cell_px) for n in shape]
        centres = [np.arange(n, dtype=np.float64) * cell_px + (cell_px - 1) / 2 for n in self.cells]
        self.middles = [spline.taps(c, spacing_px) for c in centres]
        self.nodes = [int(max(p[0].max(), m[0].max())) + 4 for p, m in zip(self.pixels, self.middles, strict=True)]
        x, y = ((np.arange(n) - 1) * spacing_px for n in reversed(self.nodes))
        self.node_x, self.node_y = (a.astype(np.float32) for a in np.meshgrid(x, y))

    def nodes_of(self, field: Field) -> Field:
        size = round(self.spacing_px) | 1
        calm = cv2.blur(field, (size, size), borderType=cv2.BORDER_REPLICATE)
        return np.asarray(
            cv2.remap(calm, self.node_x, self.node_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE), np.float32
        )

    def field_of(self, nodes: Field) -> Field:
        field = np.empty((*self.shape, 2), np.float32)
        spline.expand(nodes, *self.pixels[0], *self.pixels[1], field)
        return field


class DenseFlow:
    """Estimates the displacement of each image against one reference.

    Remembers the last good field, for the innovation.
    """

    def __init__(
        self,
        reference: NDArray[Any],
        settings: FlowSettings | None = None,
        region: NDArray[np.bool_] | None = None,
    ) -> None:
        """`region` (rows, columns) is where quality is judged; by default all that is brighter than background.

        Raises ValueError when the reference has no structure, or the region another shape or no pixel.
        """
        self.settings = settings or FlowSettings()
        image = as_image(reference, "reference")
        low, high = (float(v) for v in np.percentile(image, (1.0, 99.8)))
        if not high > low:
            raise ValueError("reference: has no structure (all pixels alike); choose another frame")
        self._scale = np.float32(1 / max(high, high - low))
        self.reference = image * self._scale
        self._mean = float(self.reference.mean())
        self._bytes = self._to_bytes(self.reference)
        body = cv2.GaussianBlur(self.reference, (0, 0), 3) > 0.1 if region is None else np.asarray(region, np.bool_)
        if body.shape != image.shape or not body.any():
            raise ValueError(f"region: needs shape {image.shape} and at least one pixel, got {body.shape}")
        self.region = body
        self._structure = fine_structure(self.reference, 1.0, 4.0)
        s = self.settings
        self._coarse = _Surface(image.shape, s.coarse_spacing_px, s.cell_px)
        self._fine = _Surface(image.shape, s.spacing_px, s.cell_px)
        self._seek, self._slide = _dis(1, 12, 0, 4), _dis(0, 6, s.sliding_refinements, 5, coarsest_scale=0)
        self._last = np.zeros((int(body[::3, ::3].sum()), 2), np.float32)
        self._noise = noise_sigma(self.reference)
        self._trail: deque[tuple[float, float]] = deque(maxlen=s.memory_frames)  # innovation and similarity

    @staticmethod
    def _to_bytes(image: Image) -> NDArray[np.uint8]:
        return np.clip(image * 230, 0, 255).astype(np.uint8)

    def estimate(self, current: NDArray[Any]) -> Flow:
        """The displacement of `current` (same shape as the reference), with quality; ValueError on another shape."""
        image = as_image(current, "current")
        if image.shape != self.reference.shape:
            raise ValueError(f"current: shape {image.shape} differs from the reference's {self.reference.shape}")
        image = image * self._scale
        if float(image.std()) < 0.05 * float(self.reference.std()):
            return Flow(np.zeros((*image.shape, 2), np.float32), BLANK)
        matched = self._to_bytes(image + np.float32(self._mean - float(image.mean())))
        field = np.asarray(self._seek.calc(self._bytes, matched, None), np.float32)
        gain, offset = self._brightness(image, field)
        coefficients = spline.spline_coefficients(image)
        field, warped, inside, sigma = self._fit(coefficients, field, gain, offset)
        if self.settings.sliding:
            field, warped, inside = self._let_slide(coefficients, matched, field, warped, inside, sigma, gain, offset)
        return Flow(field, self._judge(image, field, warped, inside, sigma))

    def _brightness(self, image: Image, field: Field) -> tuple[np.float32, np.float32]:
        """Gain and offset (least squares) that bring the warped image to the reference."""
        rows, columns = image.shape
        x = np.arange(columns, dtype=np.float32) + field[..., 0]
        y = np.arange(rows, dtype=np.float32)[:, None] + field[..., 1]
        warped = cv2.remap(image, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        mean = float(warped.mean())
        centred = warped - np.float32(mean)
        gain = float(np.vdot(self.reference, centred)) / max(float(np.vdot(centred, centred)), 1e-12)
        gain = min(max(gain, 0.25), 4.0)
        return np.float32(gain), np.float32(self._mean - gain * mean)

    def _fit(
        self, coefficients: Image, field: Field, gain: np.float32, offset: np.float32
    ) -> tuple[Field, Image, NDArray[np.bool_], float]:
        s = self.settings
        for surface, steps in ((self._coarse, 1), (self._fine, s.fine_steps)):
            tensor = np.empty((*surface.cells, 3), np.float32)
            force = np.empty((*surface.cells, 2), np.float32)
            nodes = surface.nodes_of(field)
            field = surface.field_of(nodes)
            for _ in range(steps):
                warped, inside = spline.warp(coefficients, field, gain, offset)
                sigma = 1.4826 * float(np.median(np.abs(warped[::3, ::3] - self.reference[::3, ::3])))
                scale = np.float32(s.outlier_sigmas * sigma + 0.01)
                spline.linearise(self.reference, warped, inside, field, scale, surface.cell_px, tensor, force)
                stiffness = min(max(s.stiffness_per_variance * sigma**2, s.least_stiffness), s.most_stiffness)
                stiffness *= (8.0 / surface.spacing_px) ** 2
                nodes = nodes + spline.solve_step(
                    tensor, force, nodes, *surface.middles[0], *surface.middles[1],
                    np.float32(stiffness), np.float32(s.ridge), s.iterations,
                )  # fmt: skip
                field = surface.field_of(nodes)
        warped, inside = spline.warp(coefficients, field, gain, offset)
        return field, warped, inside, sigma

    def _let_slide(
        self,
        coefficients: Image,
        matched: NDArray[np.uint8],
        field: Field,
        warped: Image,
        inside: NDArray[np.bool_],
        sigma: float,
        gain: np.float32,
        offset: np.float32,
    ) -> tuple[Field, Image, NDArray[np.bool_]]:
        s = self.settings
        smooth_energy = self._energy(warped, inside)
        floor = s.sliding_residual**2
        if float((smooth_energy > s.sliding_gain * sigma**2 + floor).mean()) < 0.01:
            return field, warped, inside
        free = np.asarray(self._slide.calc(self._bytes, matched, field.copy()), np.float32)
        judged = cv2.dilate((smooth_energy > floor).astype(np.uint8), _WINDOW).astype(np.bool_)  # no other can slide
        free_energy = self._energy(*spline.warp(coefficients, free, gain, offset, judged))
        slides = (smooth_energy > s.sliding_gain * free_energy + floor).astype(np.float32)
        share = cv2.blur(cv2.dilate(slides, np.ones((5, 5), np.uint8)), (5, 5))
        field = np.asarray(field + share[..., None] * (free - field), np.float32)
        return field, *spline.warp(coefficients, field, gain, offset, share > 0, (warped, inside))

    def _energy(self, warped: Image, inside: NDArray[np.bool_]) -> Image:
        error = np.where(inside, warped - self.reference, np.float32(0))
        return np.asarray(cv2.blur(error * error, _WINDOW.shape), np.float32)

    def _judge(self, image: Image, field: Field, warped: Image, inside: NDArray[np.bool_], sigma: float) -> FlowQuality:
        s, region = self.settings, self.region
        seen = region & inside
        inside_share = float(seen.sum()) / float(region.sum())
        structure = fine_structure(warped, 1.0, 4.0)
        similarity = correlation(structure[seen], self._structure[seen]) if inside_share > 0 else 0.0
        folded = folded_share(field, region)
        sparse = field[::3, ::3][region[::3, ::3]]
        shift = float(np.hypot(*sparse.mean(axis=0))) if len(sparse) else 0.0
        innovation = float(np.percentile(np.hypot(*(sparse - self._last).T), 95)) if len(sparse) else 0.0
        noise = float(np.hypot(self._noise, noise_sigma(image)))
        faults = (
            (inside_share < s.least_inside_share, Verdict.OUTSIDE),
            (similarity < s.least_similarity, Verdict.UNLIKE),
            (sigma > s.residual_noises * noise + s.most_residual, Verdict.UNLIKE),
            (folded > s.most_folded_share, Verdict.FOLDED),
            (innovation > s.most_innovation_px or self._astray(innovation, similarity), Verdict.JUMP),
        )
        verdict = next((name for wrong, name in faults if wrong), Verdict.OK)
        if verdict.usable:
            self._last = sparse
            self._trail.append((innovation, similarity))
        return FlowQuality(verdict, similarity, folded, inside_share, shift, innovation, sigma)

    def _astray(self, innovation_px: float, similarity: float) -> bool:
        """True for a step that this motion never makes, to an image less alike than any before.

        A cough moves as far, but stays alike; an estimate that lost its way (a real series holds one, 10 px for a
        single frame) is both.
        """
        s = self.settings
        if innovation_px <= s.astray_px or len(self._trail) < s.least_frames:
            return False
        usual, lowest = np.percentile([step for step, _ in self._trail], 99), min(alike for _, alike in self._trail)
        return bool(innovation_px > s.astray_ratio * usual and similarity < lowest)


def estimate_displacement(reference: NDArray[Any], current: NDArray[Any]) -> Field:
    """Displacement (rows, columns, 2) float32 in pixels, x then y, with current(p + u(p)) = reference(p).

    Two real images of one shape (rows, columns), at least 16 pixels each way. For many images against one
    reference, and for the quality of the estimate, use `DenseFlow`. Raises ValueError on unusable input,
    a blank current image included: it has no displacement.
    """
    flow = DenseFlow(reference).estimate(current)
    if flow.quality.verdict is Verdict.BLANK:
        raise ValueError("current: has no structure (all pixels alike), so it has no displacement")
    return flow.displacement_px
