"""Displacement of volumes: slice by slice for a few thick slices, in three dimensions for real volumes.

`StackFlow` runs one `DenseFlow` a slice (gaps between thick slices carry no through-slice gradient). `VolumeFlow` fits
a cubic B-spline field with a bending prior by Gauss-Newton from coarse to fine, as `guidance.motion.spline` does in
two dimensions; the global shift comes first, by phase correlation.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from guidance.motion.flow import DenseFlow, Flow, FlowSettings
from guidance.motion.quality import Verdict, correlation
from guidance.motion.spline import taps

Volume = NDArray[np.float32]
Matrix = NDArray[np.float32]


class StackFlow:
    """One `DenseFlow` for each slice of a stack (slices, rows, columns); a slice without structure is left out."""

    def __init__(self, reference: NDArray[Any], settings: FlowSettings | None = None) -> None:
        if reference.ndim != 3:
            raise ValueError(f"reference: need (slices, rows, columns), got shape {reference.shape}")
        self.flows = [DenseFlow(plane, settings) if np.ptp(plane) > 0 else None for plane in reference]

    def estimate(self, current: NDArray[Any]) -> list[Flow | None]:
        """The flow of each slice, None where the reference slice is empty; ValueError on another number of slices."""
        if len(current) != len(self.flows):
            raise ValueError(f"current: {len(current)} slices, but the reference has {len(self.flows)}")
        return [flow.estimate(plane) if flow else None for flow, plane in zip(self.flows, current, strict=True)]


@dataclass(frozen=True)
class VolumeSettings:
    """Blur and node spacing of each level, voxels; stiffness as in `FlowSettings`, in units of the noise variance."""

    levels: tuple[tuple[float, float], ...] = ((3.0, 24.0), (1.5, 14.0), (0.7, 9.0))
    steps: int = 3
    iterations: int = 12
    stiffness_per_variance: float = 60.0
    least_stiffness: float = 2e-3
    cell: int = 3
    least_similarity: float = 0.7


@dataclass(frozen=True)
class VolumeResult:
    """`displacement_px` (slices, rows, columns, 3) float32, along column, row and slice, in voxels, and its quality."""

    displacement_px: NDArray[np.float32]
    similarity: float
    folded_share: float
    verdict: Verdict


@njit(cache=True, nogil=True)
def _linearise(reference, current, field, cell, tensor, force, warped):  # type: ignore[no-untyped-def]
    """Warp trilinearly, then sum structure tensor (6) and force (3) into cells; voxels from outside have no weight."""
    slices, rows, columns = reference.shape
    tensor[:] = 0
    force[:] = 0
    for k in range(slices):
        for i in range(rows):
            for j in range(columns):
                x = np.float32(j) + field[k, i, j, 0]
                y = np.float32(i) + field[k, i, j, 1]
                z = np.float32(k) + field[k, i, j, 2]
                warped[k, i, j] = reference[k, i, j]
                if not (0 <= x <= columns - 1 and 0 <= y <= rows - 1 and 0 <= z <= slices - 1):
                    continue
                q, p, s = min(int(x), columns - 2), min(int(y), rows - 2), min(int(z), slices - 2)
                a, b, c = x - np.float32(q), y - np.float32(p), z - np.float32(s)
                one = np.float32(1)
                front = (one - b) * ((one - a) * current[s, p, q] + a * current[s, p, q + 1]) + b * (
                    (one - a) * current[s, p + 1, q] + a * current[s, p + 1, q + 1]
                )
                back = (one - b) * ((one - a) * current[s + 1, p, q] + a * current[s + 1, p, q + 1]) + b * (
                    (one - a) * current[s + 1, p + 1, q] + a * current[s + 1, p + 1, q + 1]
                )
                warped[k, i, j] = (one - c) * front + c * back
    half = np.float32(0.25)
    for k in range(1, slices - 1):
        for i in range(1, rows - 1):
            for j in range(1, columns - 1):
                gx = half * (
                    reference[k, i, j + 1] - reference[k, i, j - 1] + warped[k, i, j + 1] - warped[k, i, j - 1]
                )
                gy = half * (
                    reference[k, i + 1, j] - reference[k, i - 1, j] + warped[k, i + 1, j] - warped[k, i - 1, j]
                )
                gz = half * (
                    reference[k + 1, i, j] - reference[k - 1, i, j] + warped[k + 1, i, j] - warped[k - 1, i, j]
                )
                error = warped[k, i, j] - reference[k, i, j]
                t, f = tensor[k // cell, i // cell, j // cell], force[k // cell, i // cell, j // cell]
                t[0] += gx * gx
                t[1] += gy * gy
                t[2] += gz * gz
                t[3] += gx * gy
                t[4] += gx * gz
                t[5] += gy * gz
                f[0] += gx * error
                f[1] += gy * error
                f[2] += gz * error


def _matrix(positions: NDArray[np.float64], spacing: float, nodes: int) -> Matrix:
    first, weights = taps(positions, spacing)
    matrix = np.zeros((len(positions), nodes), np.float32)
    for k in range(4):
        matrix[np.arange(len(positions)), first + k] = weights[:, k]
    return matrix


class _Lattice:
    """Spline nodes over a volume: matrices from nodes to voxels and to cells, one an axis."""

    def __init__(self, shape: tuple[int, ...], spacing: float, cell: int) -> None:
        self.cells = tuple(-(-n // cell) for n in shape)
        voxels = [np.arange(n, dtype=np.float64) for n in shape]
        middles = [np.arange(n, dtype=np.float64) * cell + (cell - 1) / 2 for n in self.cells]
        nodes = [int(max(v[-1], m[-1]) // spacing) + 4 for v, m in zip(voxels, middles, strict=True)]
        self.nodes = (*nodes, 3)
        self.to_voxels = [_matrix(v, spacing, n) for v, n in zip(voxels, nodes, strict=True)]
        self.to_cells = [_matrix(m, spacing, n) for m, n in zip(middles, nodes, strict=True)]
        bends = [np.diff(np.eye(n, dtype=np.float32), 2, axis=0) for n in nodes]
        slopes = [np.diff(np.eye(n, dtype=np.float32), 1, axis=0) for n in nodes]
        self._bend = [b.T @ b for b in bends]
        self._slope = [s.T @ s for s in slopes]

    @staticmethod
    def _apply(matrices: list[Matrix], values: Volume, transposed: bool = False) -> Volume:
        for axis, matrix in enumerate(matrices):
            values = np.moveaxis(np.tensordot(matrix.T if transposed else matrix, values, axes=(1, axis)), 0, axis)
        return np.ascontiguousarray(values)

    def expand(self, nodes: Volume) -> Volume:
        return self._apply(self.to_voxels, nodes)

    def bending(self, nodes: Volume) -> Volume:
        total = np.zeros_like(nodes)
        for axis in range(3):
            total += np.moveaxis(np.tensordot(self._bend[axis], nodes, axes=(1, axis)), 0, axis)
            other = (axis + 1) % 3
            once = np.moveaxis(np.tensordot(self._slope[axis], nodes, axes=(1, axis)), 0, axis)
            total += 2 * np.moveaxis(np.tensordot(self._slope[other], once, axes=(1, other)), 0, other)
        return total

    def step(self, tensor: Volume, force: Volume, nodes: Volume, stiffness: float, iterations: int) -> Volume:
        """The Gauss-Newton step by preconditioned conjugate gradients."""
        squared = [m * m for m in self.to_cells]
        scale = self._apply(squared, np.ascontiguousarray(tensor[..., :3]), True) + 30 * stiffness + 1e-5
        residual = -(self._apply(self.to_cells, force, True) + stiffness * self.bending(nodes))
        step = np.zeros_like(nodes)
        scaled = residual / scale
        direction, energy = scaled, float(np.vdot(residual, scaled))
        floor = 1e-4 * energy
        for _ in range(iterations):
            if energy <= floor:
                break
            u = self._apply(self.to_cells, direction)
            image = self._apply(self.to_cells, _times(tensor, u), True) + stiffness * self.bending(direction)
            image += np.float32(1e-5) * direction
            along = np.float32(energy / float(np.vdot(direction, image)))
            step = step + along * direction
            residual = residual - along * image
            scaled = residual / scale
            fresh = float(np.vdot(residual, scaled))
            direction, energy = scaled + np.float32(fresh / energy) * direction, fresh
        return step


def _times(t: Volume, u: Volume) -> Volume:
    x, y, z = u[..., 0], u[..., 1], u[..., 2]
    return np.stack(
        [
            t[..., 0] * x + t[..., 3] * y + t[..., 4] * z,
            t[..., 3] * x + t[..., 1] * y + t[..., 5] * z,
            t[..., 4] * x + t[..., 5] * y + t[..., 2] * z,
        ],
        axis=-1,
    )


class VolumeFlow:
    """Displacement of each volume against one reference; holds the reference's blurred levels and lattices."""

    def __init__(self, reference: NDArray[Any], settings: VolumeSettings | None = None) -> None:
        """`reference` (slices, rows, columns), 8 voxels or more each way; ValueError otherwise or without structure."""
        self.settings = settings or VolumeSettings()
        volume = _as_volume(reference, "reference")
        high = float(np.percentile(volume, 99.8))
        if not np.ptp(volume) > 0:
            raise ValueError("reference: has no structure (all voxels alike)")
        self._scale = np.float32(1 / max(high, float(np.ptp(volume))))
        self.reference = volume * self._scale
        self._blurred = [gaussian_filter(self.reference, blur) for blur, _ in self.settings.levels]
        self._lattices = [_Lattice(volume.shape, gap, self.settings.cell) for _, gap in self.settings.levels]
        self.region = gaussian_filter(self.reference, 2) > 0.1

    def estimate(self, current: NDArray[Any]) -> VolumeResult:
        """current(p + u(p)) = reference(p); ValueError on another shape."""
        s = self.settings
        volume = _as_volume(current, "current")
        if volume.shape != self.reference.shape:
            raise ValueError(f"current: shape {volume.shape} differs from the reference's {self.reference.shape}")
        field = np.zeros((*volume.shape, 3), np.float32)
        spread = float(volume.std())
        if spread * float(self._scale) < 0.05 * float(self.reference.std()):
            return VolumeResult(field, 0.0, 0.0, Verdict.BLANK)
        matched = (volume - volume.mean()) * np.float32(float(self.reference.std()) / spread) + self.reference.mean()
        field += self._shift(matched)
        warped = np.empty_like(self.reference)
        for reference, lattice, (blur, gap) in zip(self._blurred, self._lattices, s.levels, strict=True):
            image = gaussian_filter(matched, blur)
            nodes = _nodes_of(field, lattice, gap)
            for _ in range(s.steps):
                tensor, force = np.empty((*lattice.cells, 6), np.float32), np.empty((*lattice.cells, 3), np.float32)
                field = lattice.expand(nodes)
                _linearise(reference, image, field, s.cell, tensor, force, warped)
                variance = (1.4826 * float(np.median(np.abs(warped - reference)))) ** 2
                stiffness = max(s.stiffness_per_variance * variance, s.least_stiffness)
                nodes = nodes + lattice.step(tensor, force, nodes, stiffness, s.iterations)
            field = lattice.expand(nodes)
        return self._judge(field, matched, warped)

    def _shift(self, volume: Volume) -> NDArray[np.float32]:
        """Whole-voxel global shift by phase correlation, along column, row, slice; zero where it is not clear."""
        window = np.ones(volume.shape, np.float32)
        for axis, count in enumerate(volume.shape):
            window *= np.hanning(count + 2)[1:-1].astype(np.float32).reshape([-1 if a == axis else 1 for a in range(3)])
        spectra = [np.fft.rfftn((v - v.mean()) * window) for v in (self.reference, volume)]
        cross = spectra[1] * np.conj(spectra[0])
        surface = np.fft.irfftn(cross / (np.abs(cross) + 0.01 * np.abs(cross).max()), s=volume.shape, axes=(0, 1, 2))
        at = np.unravel_index(int(surface.argmax()), surface.shape)
        if surface[at] < 0.05:
            return np.zeros(3, np.float32)
        parts = [(int(p) + n // 2) % n - n // 2 for p, n in zip(at, volume.shape, strict=True)]
        return np.array(parts[::-1], np.float32)

    def _judge(self, field: Volume, matched: Volume, warped: Volume) -> VolumeResult:
        s = self.settings
        empty = (
            np.empty((*self._lattices[-1].cells, 6), np.float32),
            np.empty((*self._lattices[-1].cells, 3), np.float32),
        )
        _linearise(self.reference, matched, field, s.cell, *empty, warped)
        similarity = correlation(warped[self.region], self.reference[self.region])
        slopes = np.stack([np.gradient(field, axis=axis) for axis in (2, 1, 0)], axis=-1)
        folded = float((np.linalg.det(slopes[::2, ::2, ::2] + np.eye(3, dtype=np.float32)) <= 0).mean())
        faults = ((similarity < s.least_similarity, Verdict.UNLIKE), (folded > 0.06, Verdict.FOLDED))
        verdict = next((name for wrong, name in faults if wrong), Verdict.OK)
        return VolumeResult(field, similarity, folded, verdict)


def _nodes_of(field: Volume, lattice: _Lattice, gap: float) -> Volume:
    """Node values near the field: its blurred samples at the nodes' places. A blur so wide needs few of the voxels."""
    thin = max(1, int(gap // 6))
    few, sigma = field[::thin, ::thin, ::thin], 0.4 * gap / thin
    calm = gaussian_filter(few, (sigma, sigma, sigma, 0), mode="nearest")
    places = [
        np.clip(np.round((np.arange(n) - 1) * gap / thin).astype(int), 0, size - 1)
        for n, size in zip(lattice.nodes[:3], few.shape[:3], strict=True)
    ]
    return np.ascontiguousarray(calm[np.ix_(*places)])


def _as_volume(volume: NDArray[Any], name: str) -> Volume:
    array = np.asarray(volume)
    if array.ndim != 3 or min(array.shape) < 8 or np.iscomplexobj(array):
        raise ValueError(f"{name}: need a real (slices, rows, columns) of at least 8 voxels each, got {array.shape}")
    result = np.ascontiguousarray(array, np.float32)
    if not np.isfinite(result).all():
        raise ValueError(f"{name}: holds values that are not finite")
    return result
