"""What the scanner sees: complex gradient-echo frames of the breathing, heated body.

Phase = 2 pi TE (f0 + breathing x f1 + drift) + sign 2 pi gamma_bar alpha B0 TE dT in water;
fat and bone carry no proton shift (Ishihara 1995, MRM 34:814). Noise is complex Gaussian.
"""

from functools import lru_cache
from typing import Any

import msgspec
import numpy as np
from numba import njit
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from sim.phantom.anatomy import body_grid, body_labels, mobility_at, table
from sim.phantom.sampling import smooth_at, smooth_samples
from sim.phantom.world import World
from sim.space import Matrix

GAMMA_BAR_HZ_PER_T = 42.577478518e6
Floats = NDArray[np.float32]


class SequenceSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Defaults: 3 T gradient echo, TE 16 ms."""

    echo_time_s: float = 0.016
    field_t: float = 3.0
    alpha_ppm: float = -0.01
    phase_sign: int = 1
    snr: float = 40.0  # of liver magnitude against the noise of one channel
    drift_hz_per_min: float = 0.5
    breathing_hz: float = 3.0  # field change at the top of the liver from exhale to inhale
    static_hz: float = 25.0
    t1_percent_per_c: float = -0.8  # magnitude change with temperature
    texture: float = 0.12
    void_c: tuple[float, float] = (0.0, -3.0)  # ice: from full signal to none


@njit(nogil=True, cache=True)  # type: ignore[untyped-decorator]
def _at(volume: Floats, x: float, y: float, z: float) -> float:
    nx, ny, nz = volume.shape
    if x < 0 or y < 0 or z < 0 or x > nx - 1.001 or y > ny - 1.001 or z > nz - 1.001:
        return 0.0
    i, j, k = int(x), int(y), int(z)
    u, v, w = x - i, y - j, z - k
    near = (volume[i, j, k] * (1 - w) + volume[i, j, k + 1] * w) * (1 - v)
    near += (volume[i, j + 1, k] * (1 - w) + volume[i, j + 1, k + 1] * w) * v
    far = (volume[i + 1, j, k] * (1 - w) + volume[i + 1, j, k + 1] * w) * (1 - v)
    far += (volume[i + 1, j + 1, k] * (1 - w) + volume[i + 1, j + 1, k + 1] * w) * v
    return float(near * (1 - u) + far * u)


@njit(nogil=True, cache=True)  # type: ignore[untyped-decorator]
def _render(
    points: Floats,
    mobility: Floats,
    shift: NDArray[np.float64],
    signal: Floats,
    shifts: Floats,
    body_origin: NDArray[np.float64],
    body_voxel: float,
    rise: NDArray[np.float64],
    heat_origin: NDArray[np.float64],
    heat_voxel: float,
    fixed_phase: Floats,
    moving_phase: Floats,
    breath: float,
    rad_per_c: float,
    t1_per_c: float,
    freezing: float,
    frozen: float,
    out: NDArray[np.complex64],
) -> None:
    for n in range(points.shape[0]):
        x = points[n, 0] - mobility[n] * shift[0]
        y = points[n, 1] - mobility[n] * shift[1]
        z = points[n, 2] - mobility[n] * shift[2]
        bx = (x - body_origin[0]) / body_voxel
        by = (y - body_origin[1]) / body_voxel
        bz = (z - body_origin[2]) / body_voxel
        magnitude = _at(signal, bx, by, bz)
        if magnitude <= 0.0:
            out[n] = 0.0
            continue
        hx = (x - heat_origin[0]) / heat_voxel
        hy = (y - heat_origin[1]) / heat_voxel
        hz = (z - heat_origin[2]) / heat_voxel
        warm = smooth_at(rise, hx, hy, hz)
        phase = fixed_phase[n] + breath * moving_phase[n]
        if warm != 0.0:
            phase += rad_per_c * warm * _at(shifts, bx, by, bz)
            magnitude *= max(0.0, 1.0 + t1_per_c * warm)
            if warm < freezing:  # protons in ice do not answer
                magnitude *= max(0.02, (warm - frozen) / (freezing - frozen))
        out[n] = complex(magnitude * np.cos(phase), magnitude * np.sin(phase))


@lru_cache(maxsize=2)
def _grain(body: Any, seed: int) -> Floats:
    """Texture of unit SD on the body's grid; the same patient is built once."""
    rng = np.random.default_rng([seed, 2])
    grain = gaussian_filter(rng.standard_normal(body_grid(body).shape, dtype=np.float32), 1.2)
    return np.asarray(grain / grain.std(), dtype=np.float32)


class MrSignal:
    """Frames (slice, row, column) complex64 for a fixed slice stack `ras_from_image_mm` of `shape`."""

    def __init__(
        self, world: World, sequence: SequenceSettings, ras_from_image_mm: Matrix, shape: tuple[int, int, int]
    ) -> None:
        self.sequence = sequence
        self.shape = shape
        self._world = world
        body = world.body
        k, j, i = np.meshgrid(*(np.arange(n, dtype=np.float64) for n in shape), indexing="ij")
        points = np.stack((i, j, k), axis=-1).reshape(-1, 3) @ ras_from_image_mm[:3, :3].T + ras_from_image_mm[:3, 3]
        self.points_mm = points
        self._points = points.astype(np.float32)
        self._mobility = mobility_at(body, points).astype(np.float32)
        grid = body_grid(body)
        self._origin = np.asarray(grid.origin_mm)
        self._voxel = grid.voxel_mm
        labels = body_labels(body)
        self._signal = table("mr_signal")[labels] * (1 + np.float32(sequence.texture) * _grain(body, world.seed))
        self._shifts = table("prf")[labels]
        self._set_phase(points)

    def _set_phase(self, points: NDArray[np.float64]) -> None:
        seq = self.sequence
        x, y, z = (points / 150.0).T
        two_pi_te = 2 * np.pi * seq.echo_time_s
        field_hz = seq.static_hz * (0.4 * x - 0.3 * z + 0.5 * x * z + 0.3 * (x * x - y * y))
        # The lung's base: the field of a dipole layer above the dome, falling off towards the feet.
        dome_hz = seq.breathing_hz / (1 + ((points[:, 2] - 85.0) / 60.0) ** 2 + ((points[:, 0] - 60.0) / 120.0) ** 2)
        self._field_phase = (two_pi_te * field_hz).astype(np.float32)
        self._moving_phase = (two_pi_te * dome_hz).astype(np.float32)
        self._drift_shape = (two_pi_te * (1 + 0.15 * x - 0.1 * z)).astype(np.float32)

    @property
    def rad_per_c(self) -> float:
        """Phase of one degree in water (negative for `phase_sign` +1)."""
        seq = self.sequence
        turn = 2 * np.pi * GAMMA_BAR_HZ_PER_T * seq.field_t * seq.alpha_ppm * 1e-6 * seq.echo_time_s
        return float(seq.phase_sign * turn)

    def frame(self, now_ns: int, rng: np.random.Generator) -> NDArray[np.complex64]:
        """The frame acquired at `now_ns`; `world` is advanced to it."""
        world, seq = self._world, self.sequence
        world.advance_to(now_ns)
        t_s = world.seconds(now_ns)
        tissue = world.tissue
        out = np.empty(self._points.shape[0], dtype=np.complex64)
        drift_hz = seq.drift_hz_per_min * t_s / 60
        _render(
            self._points,
            self._mobility,
            world.displacement_mm(now_ns),
            self._signal,
            self._shifts,
            self._origin,
            self._voxel,
            tissue.solver.rise_c,
            np.asarray(tissue.grid.origin_mm),
            tissue.grid.voxel_mm,
            self._field_phase + np.float32(drift_hz) * self._drift_shape,
            self._moving_phase,
            world.breathing.fraction(t_s),
            self.rad_per_c,
            seq.t1_percent_per_c / 100,
            seq.void_c[0] - tissue.solver.arterial_c,
            seq.void_c[1] - tissue.solver.arterial_c,
            out,
        )
        noise = rng.standard_normal((out.size, 2), dtype=np.float32)
        noise *= np.float32(1 / seq.snr)
        out += noise.view(np.complex64).reshape(-1)
        return out.reshape(self.shape)

    def temperature_c(self, now_ns: int) -> Floats:
        """True temperature (slice, row, column) degC at `now_ns` (the world must not be past it)."""
        self._world.advance_to(now_ns)
        reference = self._world.reference_mm(self.points_mm, now_ns)
        return self.sample(self._world.tissue.solver.rise_c, reference) + np.float32(
            self._world.tissue.solver.arterial_c
        )

    def sample(self, volume: NDArray[np.float64], points: NDArray[np.float64]) -> Floats:
        """A volume on the grid of the heat, at reference points (N, 3) mm, as (slice, row, column)."""
        grid = self._world.tissue.grid
        index = (points - np.asarray(grid.origin_mm)) / grid.voxel_mm
        sampled: Floats = smooth_samples(volume, index).reshape(self.shape)
        return sampled
