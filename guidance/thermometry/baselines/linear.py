"""Phase as mean plus a linear combination of what the unheated frames showed, fitted outside of the heat.

Per slice: principal components of the library's phase about its mean (weighted by signal), an
offset and, for the hybrid, a plane. Ridge with each component's own variance as prior, so that all components may
be used; reweighted against outliers. The hybrid also gives voxels near the heat more say, because
the field there is what must be told, and knows its own error: every library frame is predicted
from the others, and what remains is the model's standard deviation.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from guidance.thermometry.baselines.face import Complex, Estimate, Mask
from guidance.thermometry.noise import measure_noise

Map = NDArray[np.float64]
ITERATIONS = 6
FIT_MAX = 6000  # voxels a slice; more say nothing new
SMOOTH_VOXELS = 2.0
LEFT_OUT_MIN = 8  # a long library need not leave out every frame once to know its own error
FREE = 1e-6  # prior of offset and plane: none


@dataclass(frozen=True)
class Fitting:
    """How the combination is fitted: at most `components`, outliers beyond `outlier_rad` lose their say.

    `plane` adds a tilt; at `near_voxels` from the heat a voxel has a quarter of the say of one
    beside it (0 = all alike).
    """

    components: int
    outlier_rad: float
    plane: bool
    near_voxels: float


@dataclass(frozen=True, eq=False)
class _Slice:
    """What one slice has learned: complex mean, thermal variance of its phase, basis, prior precisions."""

    mean: Complex
    variance: Map
    basis: Map  # (terms, row, column)
    precision: Map  # (terms,)


def _learn_slice(frames: Complex, noise: float, how: Fitting) -> _Slice:
    mean = frames.mean(axis=0)
    with np.errstate(divide="ignore"):
        variance = np.where(np.abs(mean) > 0.0, (noise / np.abs(mean)) ** 2, 1e6)
    weight = 1.0 / np.sqrt(variance)
    change = np.angle(frames * mean.conj()).astype(np.float64) * weight
    _, values, vectors = np.linalg.svd(change.reshape(len(frames), -1), full_matrices=False)
    count = min(how.components, len(frames) - 1)
    parts = vectors[:count].reshape(count, *mean.shape) / weight
    rows, columns = mean.shape
    y, x = np.meshgrid(np.linspace(-1, 1, rows), np.linspace(-1, 1, columns), indexing="ij")
    smooth: list[Map] = [np.ones_like(x), x, y] if how.plane else [np.ones_like(x)]
    precision = np.concatenate((len(frames) / np.maximum(values[:count] ** 2, 1e-9), np.full(len(smooth), FREE)))
    return _Slice(mean, variance, np.concatenate((parts, smooth)), precision)


def _predict(known: _Slice, image: Complex, fit: Mask, say: Map, outlier_rad: float) -> tuple[Map, Map]:
    """Phase about the mean (whole slice), and the measured one."""
    measured = np.angle(image * known.mean.conj()).astype(np.float64)
    taken = np.flatnonzero(fit & (say > 0.0))
    taken = taken[:: max(1, -(-taken.size // FIT_MAX))]
    basis = known.basis.reshape(len(known.basis), -1)
    design, values, weights = basis[:, taken].T, measured.ravel()[taken], say.ravel()[taken]
    solution: NDArray[Any] = np.zeros(len(basis))
    rest: NDArray[Any] = np.zeros(values.size)
    for _ in range(ITERATIONS):
        weighted = design * (weights / (1.0 + (rest / outlier_rad) ** 2))[:, None]
        solution = np.linalg.solve(weighted.T @ design + np.diag(known.precision), weighted.T @ values)
        rest = values - design @ solution
    return (solution @ basis).reshape(measured.shape), measured


class LinearBaseline:
    """The linear model for all slices of a stream."""

    minimum_frames = 6

    def __init__(self, how: Fitting) -> None:
        self.how = how
        self._frames: list[Complex] = []
        self._slices: list[_Slice] = []
        self._model: list[Map] = []
        self._noise = 0.0
        self._near: tuple[Mask, Map] | None = None

    def learn(self, image: Complex) -> None:
        """Adds the frame to the library; the model is made anew at the next estimate."""
        self._frames.append(image.copy())
        self._slices = []

    def estimate(self, image: Complex, fit: Mask, heated: Mask) -> Estimate:
        """Mean image turned by the phase that the surroundings ask for, slice by slice."""
        if not self._slices:
            self._prepare(fit | heated)
        near = self._nearness(heated)
        answer, model = image.copy(), np.zeros(image.shape, np.float32)
        for index, known in enumerate(self._slices):
            inside = fit[index] & np.isfinite(image[index])
            own = self._model[index] ** 2
            if not inside.any():
                answer[index], model[index] = known.mean, np.sqrt(own)
                continue
            say = near[index] / (known.variance + 0.1 * own)
            phase, measured = _predict(known, image[index], inside, say, self.how.outlier_rad)
            answer[index] = known.mean * np.exp(1j * phase)
            expected = (1.0 + 1.0 / len(self._frames)) * known.variance + own
            # States that the library has not seen show in the surroundings first.
            excess = np.average(((measured - phase) ** 2 / expected)[inside], weights=near[index][inside])
            model[index] = np.sqrt(own * max(float(excess), 1.0))
        return Estimate(answer, float(len(self._frames)), model)

    def _prepare(self, fit: Mask) -> None:
        stack = np.stack(self._frames)
        self._noise = measure_noise(self._frames)
        self._slices = [_learn_slice(stack[:, index], self._noise, self.how) for index in range(stack.shape[1])]
        self._model = [self._own_error(stack[:, index], fit[index]) for index in range(stack.shape[1])]

    def _own_error(self, frames: Complex, fit: Mask) -> Map:
        """Standard deviation (rad) that remains when each frame is predicted from the others, less thermal noise."""
        total = np.zeros(fit.shape)
        if not fit.any():
            return total
        chosen = range(0, len(frames), max(1, len(frames) // LEFT_OUT_MIN))
        for left_out in chosen:
            known = _learn_slice(np.delete(frames, left_out, axis=0), self._noise, self.how)
            phase, measured = _predict(known, frames[left_out], fit, 1.0 / known.variance, self.how.outlier_rad)
            total += (measured - phase) ** 2 - (1.0 + 1.0 / (len(frames) - 1)) * known.variance
        filled = ndimage.gaussian_filter(np.where(fit, total / len(chosen), 0.0), SMOOTH_VOXELS)
        share = np.maximum(ndimage.gaussian_filter(fit.astype(np.float64), SMOOTH_VOXELS), 0.05)
        return np.asarray(np.sqrt(np.maximum(filled / share, 0.0)))

    def _nearness(self, heated: Mask) -> Map:
        if self._near is None or not (self._near[0] is heated or np.array_equal(self._near[0], heated)):
            near = np.ones(heated.shape)
            for index, plane in enumerate(heated):
                if self.how.near_voxels and plane.any():
                    distance = ndimage.distance_transform_edt(~plane)
                    near[index] = (1.0 + (distance / self.how.near_voxels) ** 2) ** -2
            self._near = (heated, near)
        return self._near[1]


def pca_baseline() -> LinearBaseline:
    """Two components and an offset over the whole tissue."""
    return LinearBaseline(Fitting(components=2, outlier_rad=0.02, plane=False, near_voxels=0.0))


def hybrid_baseline() -> LinearBaseline:
    """All components, offset and plane, fitted mostly around the heat."""
    return LinearBaseline(Fitting(components=30, outlier_rad=0.1, plane=True, near_voxels=5.0))
