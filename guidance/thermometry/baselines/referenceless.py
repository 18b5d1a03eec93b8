"""No baseline at all: the phase under the heat is continued from the phase around it.

Weighted polynomial (Rieke et al., Magn Reson Med 2004;51:1223) and near-harmonic: what the polynomial leaves
obeys the Laplace equation inside, with the measured values on the border (Salomir et al., IEEE
Trans Med Imaging 2012;31:287), smoothed along the border against noise.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage, sparse
from scipy.sparse import linalg

from guidance.thermometry.baselines.face import Complex, Estimate, Mask

ORDER = 4
ITERATIONS = 4
RING_VOXELS = 12  # width of the surroundings that are fitted
OUTLIER_RAD = 0.1
BORDER_SMOOTH_VOXELS = 1.0
Map = NDArray[np.float64]


def _monomials(shape: tuple[int, ...]) -> Map:
    y, x = np.meshgrid(*(np.linspace(-1.0, 1.0, n) for n in shape), indexing="ij")
    return np.stack([x**a * y**b for a in range(ORDER + 1) for b in range(ORDER + 1 - a)])


def fit_polynomial(image: Complex, fit: Mask, basis: Map) -> Map:
    """Phase (rad, unwrapped) of one slice as a polynomial fitted to the voxels `fit`.

    First from the phase steps between neighbours, which do not wrap, then refined on the phase that remains.
    """
    weight = np.abs(image)
    normal, right = np.zeros((len(basis), len(basis))), np.zeros(len(basis))
    for axis in (0, 1):
        here, there = (
            tuple(slice(a, b) if k == axis else slice(None) for k in (0, 1)) for a, b in ((0, -1), (1, None))
        )
        both = fit[here] & fit[there]
        step = np.angle(image[there] * image[here].conj())[both]
        design = (basis[(slice(None), *there)] - basis[(slice(None), *here)])[:, both]
        say = (weight[there] * weight[here])[both]
        normal += (design * say) @ design.T
        right += (design * say) @ step
    normal[np.diag_indices(len(basis))] += 1e-9 * np.trace(normal) + 1e-30
    phase = np.tensordot(np.linalg.solve(normal, right), basis, 1)
    phase += np.angle((image * np.exp(-1j * phase))[fit].sum())
    design, say = basis[:, fit], weight[fit] ** 2
    for _ in range(ITERATIONS):
        rest = np.angle(image[fit] * np.exp(-1j * phase[fit]))
        weighted = design * (say / (1.0 + (rest / OUTLIER_RAD) ** 2))
        square = weighted @ design.T
        square[np.diag_indices(len(basis))] += 1e-9 * np.trace(square) + 1e-30
        phase = phase + np.tensordot(np.linalg.solve(square, weighted @ rest), basis, 1)
    return np.asarray(phase)


class PolynomialBaseline:
    """A polynomial of order 4, fitted to a ring around the heat (to all tissue where nothing is heated)."""

    minimum_frames = 1
    harmonic = False

    def learn(self, image: Complex) -> None:
        """Needs no frame."""

    def estimate(self, image: Complex, fit: Mask, heated: Mask) -> Estimate:
        """The polynomial phase with the image's own magnitude; its error is what the fit leaves around the heat."""
        answer, model = image.copy(), np.zeros(image.shape, np.float32)
        basis = _monomials(image.shape[1:])
        for index, (plane, inside, hot) in enumerate(zip(image, fit, heated, strict=True)):
            ring = inside & np.isfinite(plane)
            if hot.any():
                ring &= ndimage.distance_transform_edt(~hot) <= RING_VOXELS
            if np.count_nonzero(ring) < 3 * len(basis):
                answer[index], model[index] = 0.0, np.inf
                continue
            phase = fit_polynomial(plane, ring, basis)
            rest = np.angle(plane * np.exp(-1j * phase))
            model[index] = np.sqrt(np.mean(rest[ring] ** 2))
            if self.harmonic and hot.any():
                phase = phase + continue_harmonic(rest, ring, hot)
            answer[index] = np.abs(plane) * np.exp(1j * phase)
        return Estimate(answer, 1e6, model)


class HarmonicBaseline(PolynomialBaseline):
    """The polynomial, and what it leaves continued by the Laplace equation."""

    harmonic = True


def _smooth_in(ring: Mask, values: Map) -> Map:
    smooth = ndimage.gaussian_filter(np.where(ring, values, 0.0), BORDER_SMOOTH_VOXELS)
    share = ndimage.gaussian_filter(ring.astype(np.float64), BORDER_SMOOTH_VOXELS)
    return np.where(ring, smooth / np.maximum(share, 1e-6), 0.0)


def continue_harmonic(rest: Map, ring: Mask, hot: Mask) -> Map:
    """Solution of the Laplace equation in `hot` with `rest` of the neighbouring `ring` on the border, 0 elsewhere.

    Where `hot` meets no ring (the edge of the tissue) the border is free.
    """
    first = _smooth_in(ring, rest)
    border = first + _smooth_in(ring, rest - first)  # twice: one-sided smoothing alone shifts a slope
    number = np.full(hot.shape, -1)
    number[hot] = np.arange(np.count_nonzero(hot))
    places = np.argwhere(hot)
    diagonal, right = np.zeros(len(places)), np.zeros(len(places))
    rows, columns = [], []
    for step in ((0, 1), (1, 0), (0, -1), (-1, 0)):
        beside = places + step
        inside = np.asarray(((beside >= 0) & (beside < hot.shape)).all(axis=1))
        beside = np.where(inside[:, None], beside, 0)
        at = tuple(beside.T)
        within: NDArray[Any] = inside & hot[at]
        edge: NDArray[Any] = inside & ring[at]
        diagonal += within | edge
        right += np.where(edge, border[at], 0.0)
        rows.append(np.flatnonzero(within))
        columns.append(number[at][within])
    row, column = np.concatenate(rows), np.concatenate(columns)
    matrix = sparse.csc_matrix((-np.ones(row.size), (row, column)), (len(places),) * 2) + sparse.diags(diagonal + 1e-9)
    answer = np.zeros(hot.shape)
    answer[hot] = linalg.spsolve(matrix.tocsc(), right)
    return answer
