"""Phase as mean plus a linear combination of what the unheated frames showed, fitted outside of the heat.

Per slice: the phases of the library's frames about their mean (or their principal components), an offset and, for
the hybrid, a plane. Ridge with the library's own spread as prior, so that all frames may be used; reweighted
against outliers. The hybrid also gives voxels near the heat more say, because the field there is what must be told.
The model knows its own error: frames of the library are predicted from the others just as a heated frame will be,
outside of the heat only, and what remains, in the heated region too, is its variance.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from guidance.thermometry.baselines.combination import fit, foretell, misfit, phases, wrapped_less
from guidance.thermometry.baselines.face import Complex, Estimate, Mask
from guidance.thermometry.kernel import flat
from guidance.thermometry.noise import measure_noise

Line = NDArray[np.float32]
Index = NDArray[np.int64]
ITERATIONS = 6
NEAR_MAX, FAR_MAX = 1500, 1000  # voxels of a slice that are fitted: those with most say, and a sample of the rest
SMOOTH_VOXELS = 1.5
LEFT_OUT_MIN = 8  # a long library need not leave out every frame once to know its own error
LEAST_MISFIT = 1.0  # of the thermal variance: below this the surroundings do not tell one frame from another
NOISY = 10.0  # times the usual thermal variance: such voxels tell nothing of the model
FREE = 1e-6  # prior of offset and plane: none
NO_SIGNAL = np.float32(1e6)  # rad^2


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
class _Library:
    """What one slice has learned at its voxels `index`: mean, thermal variance of its phase, basis, prior."""

    index: Index
    mean: Line  # the whole slice, pairs
    variance: Line
    basis: NDArray[np.float32]  # (terms, voxels)
    precision: NDArray[np.float64]  # (terms,)


@dataclass(frozen=True, eq=False)
class _Sample:
    """What of one slice is fitted while heat and surroundings stay: positions in `index`, and their say."""

    taken: Index
    say: Line
    told: Line  # say of every voxel on how well the model holds, by nearness and signal; 0 where not fitted


def _changes(frames: Complex, mean: Complex, index: Index) -> NDArray[np.float32]:
    """Phases (frames, voxels) of `frames` [time, row, column] about `mean`; NaN where there is none."""
    changes = np.empty((len(frames), index.size), np.float32)
    pairs = _pairs(mean)
    for frame, change in zip(frames, changes, strict=True):
        phases(_pairs(frame), pairs, index, change)
    return changes


def _pairs(plane: Complex) -> Line:
    return flat(plane, np.complex64).view(np.float32)


def _library(mean: Complex, changes: NDArray[np.float32], index: Index, noise: float, how: Fitting) -> _Library:
    """What a slice has learned from the `changes` (frames, voxels) about its `mean` [row, column]."""
    power = np.abs(mean.ravel()[index]) ** 2
    variance = np.divide(np.float32(noise**2), power, out=np.full(index.size, NO_SIGNAL), where=power > 0.0)
    basis = np.where(np.isfinite(changes).all(axis=0), changes, np.float32(0.0))
    if how.components < len(changes) - 1:
        weighted = basis / np.sqrt(variance)
        _, vectors = np.linalg.eigh((weighted @ weighted.T).astype(np.float64))
        basis = np.ascontiguousarray(vectors[:, : -how.components - 1 : -1].T.astype(np.float32) @ basis)
    rows, columns = mean.shape
    y, x = (2.0 * n / max(size - 1, 1) - 1.0 for n, size in zip(divmod(index, columns), (rows, columns), strict=True))
    smooth = [np.ones(index.size), x, y] if how.plane else [np.ones(index.size)]
    precision = np.concatenate((np.full(len(basis), float(len(changes))), np.full(len(smooth), FREE)))
    return _Library(index, _pairs(mean), variance, np.concatenate((basis, np.array(smooth, np.float32))), precision)


def _choose(known: _Library, fitted: NDArray[np.bool_], near: Line, own: Line) -> _Sample:
    """The NEAR_MAX voxels with most say, and of the others every so many with the say of those left out."""
    say = np.where(fitted, near / (known.variance + np.float32(0.1) * own), np.float32(0.0)).astype(np.float32)
    most = np.argpartition(-say, NEAR_MAX)[:NEAR_MAX] if say.size > NEAR_MAX else np.arange(say.size)
    others = say > 0.0
    others[most] = False
    far = np.flatnonzero(others)
    stride = max(1, -(-far.size // FAR_MAX))
    taken = np.concatenate((np.sort(most), far[::stride]))
    chosen = say[taken]
    chosen[NEAR_MAX:] *= stride
    usual = np.median(known.variance[fitted]) if fitted.any() else np.float32(1.0)
    told = np.where(fitted, near * (usual / (usual + known.variance)) ** 2, np.float32(0.0))
    return _Sample(taken, chosen, told)


def _at(known: _Library, sample: _Sample) -> NDArray[np.float32]:
    """The design of the fit: the basis where the sample was taken."""
    return np.ascontiguousarray(known.basis[:, sample.taken])


def _smoothed(values: Line, say: Line, index: Index, shape: tuple[int, ...]) -> Line:
    """Local means, by `say`, of the values at `index` of a slice."""
    sums = []
    for line in (values * say, say):
        plane = np.zeros(shape)
        plane.reshape(-1)[index] = line
        sums.append(ndimage.gaussian_filter(plane, SMOOTH_VOXELS).ravel()[index])
    mean: Line = (sums[0] / np.maximum(sums[1], 1e-12)).astype(np.float32)
    return mean


class LinearBaseline:
    """The linear model for all slices of a stream."""

    minimum_frames = 6

    def __init__(self, how: Fitting) -> None:
        self.how = how
        self._frames: list[Complex] = []
        self._slices: list[_Library] = []
        self._own: list[Line] = []  # variance of the model itself as a share of the misfit, per slice at its voxels
        self._samples: list[_Sample] = []
        self._designs: list[NDArray[np.float32]] = []  # per slice, the basis at the sample
        self._masks: tuple[Mask, Mask] | None = None

    def learn(self, image: Complex) -> None:
        """Adds the frame to the library; the model is made anew at the next estimate."""
        self._frames.append(image.copy())
        self._slices = []

    def estimate(self, image: Complex, fit: Mask, heated: Mask) -> Estimate:
        """Mean image turned by the phase that the surroundings ask for, slice by slice; the plain mean elsewhere."""
        if not self._slices or not self._is_for(fit, heated):
            self._prepare(fit, heated)
        answer, model = np.empty(image.shape, np.complex64), np.zeros(image.shape, np.float32)
        share = np.float32(1.0 + 1.0 / len(self._frames))
        slices = zip(self._slices, self._own, self._samples, self._designs, strict=True)
        for plane, (known, own, sample, design), out, spread in zip(image, slices, answer, model, strict=True):
            pairs, measured = out.view(np.float32).reshape(-1), np.empty(known.index.size, np.float32)
            pairs[:] = known.mean
            phases(_pairs(plane), known.mean, known.index, measured)
            turn = self._turn(known, sample, design, measured, pairs)
            # States that the library has not seen show in the surroundings first.
            beyond = misfit(measured, turn, share * known.variance, sample.told, LEAST_MISFIT)
            spread.reshape(-1)[known.index] = np.sqrt(own * np.float32(beyond))
        return Estimate(answer, float(len(self._frames)), model)

    def _turn(self, known: _Library, sample: _Sample, design: NDArray[np.float32], measured: Line, out: Line) -> Line:
        rad = self.how.outlier_rad
        solution = fit(design, measured[sample.taken], sample.say, known.precision, rad, ITERATIONS)
        turn: Line = foretell(known.basis, solution, known.mean, known.index, out)
        return turn

    def _is_for(self, fit: Mask, heated: Mask) -> bool:
        """Whether the model is for these masks."""
        if self._masks is None:
            return False
        was_fit, was_heated = self._masks
        if fit is was_fit and heated is was_heated:
            return True
        return np.array_equal(fit, was_fit) and np.array_equal(heated, was_heated)

    def _prepare(self, fit: Mask, heated: Mask) -> None:
        stack = np.stack(self._frames, axis=1)
        noise = measure_noise(self._frames)
        self._slices, self._own, self._samples, self._designs, self._masks = [], [], [], [], (fit, heated)
        for frames, inside, hot, near in zip(stack, fit, heated, self._nearness(heated), strict=True):
            index = np.flatnonzero(inside | hot)
            fitted, say = inside.ravel()[index], near.ravel()[index]
            mean = np.ascontiguousarray(frames.mean(axis=0), np.complex64)
            changes = _changes(frames, mean, index)
            known = _library(mean, changes, index, noise, self.how)
            own, usual = self._own_share(frames, mean, changes, known, fitted, say, noise)
            sample = _choose(known, fitted, say, own * np.float32(usual))
            self._slices.append(known)
            self._own.append(own)
            self._samples.append(sample)
            self._designs.append(_at(known, sample))

    def _own_share(
        self,
        frames: Complex,
        mean: Complex,
        changes: NDArray[np.float32],
        whole: _Library,
        fitted: NDArray[np.bool_],
        near: Line,
        noise: float,
    ) -> tuple[Line, float]:
        """Variance that remains when frames are predicted from the others, less thermal noise, at every voxel.

        As a share of the misfit (rad^2) in the surroundings of the same frame; and the mean of those misfits. The
        others' `changes` about their own mean are those about `mean` of all, less what lies between the two.
        """
        index, count = whole.index, len(frames)
        spare, between, about = np.empty_like(whole.mean), np.empty(index.size, np.float32), np.empty_like(changes)
        total, usual = np.zeros(index.size, np.float32), 0.0
        sample = _choose(whole, fitted, near, total)
        chosen = range(0, count, max(1, count // LEFT_OUT_MIN))
        share, fewer = np.float32(1.0 + 1.0 / count), np.float32(1.0 + 1.0 / (count - 1))
        for left_out in chosen:
            others = (mean * np.float32(count) - frames[left_out]) / np.float32(count - 1)
            phases(_pairs(others), whole.mean, index, between)
            wrapped_less(changes, between, about)
            known = _library(others, np.delete(about, left_out, axis=0), index, noise, self.how)
            measured = about[left_out]
            turn = self._turn(known, sample, _at(known, sample), measured, spare)
            thermal = fewer * known.variance
            beyond = misfit(measured, turn, thermal, sample.told, LEAST_MISFIT)
            usual += beyond / len(chosen)
            if beyond > 0.0:
                rest = np.nan_to_num(measured - turn) ** 2 - thermal
                total += rest * (share / fewer) / np.float32(beyond * len(chosen))
        usually = np.median(whole.variance[fitted]) if fitted.any() else np.float32(1.0)
        trusted = (whole.variance < NOISY * usually).astype(np.float32)
        return np.maximum(_smoothed(total, trusted, index, mean.shape), np.float32(0.0)), usual

    def _nearness(self, heated: Mask) -> NDArray[np.float32]:
        near = np.ones(heated.shape, np.float32)
        for index, plane in enumerate(heated):
            if self.how.near_voxels and plane.any():
                distance = ndimage.distance_transform_edt(~plane)
                near[index] = (1.0 + (distance / self.how.near_voxels) ** 2) ** -2
        return near


def pca_baseline() -> LinearBaseline:
    """Two components and an offset over the whole tissue."""
    return LinearBaseline(Fitting(components=2, outlier_rad=0.02, plane=False, near_voxels=0.0))


def hybrid_baseline() -> LinearBaseline:
    """All components, offset and plane, fitted mostly around the heat."""
    return LinearBaseline(Fitting(components=30, outlier_rad=0.1, plane=True, near_voxels=5.0))
