"""Pennes bioheat equation on the tissue at rest, in conservative form, with the truth of energy and dose.

    rho c dT/dt = div(k grad T) - w_b c_b (T - T_a) + q        (Pennes 1948, J Appl Physiol 1:93)

Explicit diffusion, implicit perfusion, no flux through the border: what goes in is either stored
or carried off by blood, to rounding. Dose CEM43 (Sapareto & Dewey 1984) by Simpson's rule in
each step, at material points: the grid moves with the tissue.
"""

import numpy as np
from numba import njit
from numpy.typing import NDArray

BLOOD_HEAT_J_PER_KG_K = 3617.0
Volume = NDArray[np.float64]


@njit(nogil=True, cache=True)  # type: ignore[untyped-decorator]
def _step(
    rise: Volume, out: Volume, kx: Volume, ky: Volume, kz: Volume, stored: Volume, carried: Volume, q: Volume, dt: float
) -> None:
    nx, ny, nz = rise.shape
    for i in range(nx):
        for j in range(ny):
            for k in range(nz):
                here = rise[i, j, k]
                flow = q[i, j, k]
                if i > 0:
                    flow += kx[i - 1, j, k] * (rise[i - 1, j, k] - here)
                if i < nx - 1:
                    flow += kx[i, j, k] * (rise[i + 1, j, k] - here)
                if j > 0:
                    flow += ky[i, j - 1, k] * (rise[i, j - 1, k] - here)
                if j < ny - 1:
                    flow += ky[i, j, k] * (rise[i, j + 1, k] - here)
                if k > 0:
                    flow += kz[i, j, k - 1] * (rise[i, j, k - 1] - here)
                if k < nz - 1:
                    flow += kz[i, j, k] * (rise[i, j, k + 1] - here)
                capacity = stored[i, j, k]
                out[i, j, k] = (here + dt * flow / capacity) / (1.0 + dt * carried[i, j, k] / capacity)


@njit(nogil=True, cache=True)  # type: ignore[untyped-decorator]
def _rate(temperature_c: float) -> float:
    if temperature_c < 39.0:
        return 0.0
    return float((0.5 if temperature_c >= 43.0 else 0.25) ** (43.0 - min(temperature_c, 68.0)))


@njit(nogil=True, cache=True)  # type: ignore[untyped-decorator]
def _add_dose(dose: Volume, before: Volume, after: Volume, base_c: float, minutes: float) -> float:
    peak = -1e9
    a = before.ravel()
    b = after.ravel()
    d = dose.ravel()
    for n in range(d.size):
        hot = b[n]
        if hot > peak:
            peak = hot
        cold = a[n]
        if base_c + max(hot, cold) < 39.0:
            continue
        middle = _rate(base_c + 0.5 * (hot + cold))
        d[n] += minutes * (_rate(base_c + cold) + 4.0 * middle + _rate(base_c + hot)) / 6.0
    return peak


def _face(conductivity: Volume, axis: int, voxel_m: float) -> Volume:
    """Conductance between neighbours along `axis`, W/K (harmonic mean x area / distance)."""
    count = conductivity.shape[axis]
    low = np.take(conductivity, range(count - 1), axis=axis)
    high = np.take(conductivity, range(1, count), axis=axis)
    faces: Volume = np.ascontiguousarray(2 * low * high / (low + high) * voxel_m)
    return faces


class Bioheat:
    """Temperature rise above the arterial temperature, K, on a grid [x, y, z] of `voxel_mm`.

    Arguments are arrays of one shape: density kg/m3, heat capacity J/kg/K, conductivity W/m/K,
    perfusion kg/m3/s. Holds `rise_c`, `dose_min` (CEM43) and the energy account in joules.
    """

    def __init__(
        self,
        *,
        voxel_mm: float,
        density: Volume,
        heat_capacity: Volume,
        conductivity: Volume,
        perfusion: Volume,
        arterial_c: float = 37.0,
    ) -> None:
        voxel_m = voxel_mm / 1000
        volume = voxel_m**3
        self.arterial_c = arterial_c
        self.rise_c: Volume = np.zeros(density.shape)
        self.dose_min: Volume = np.zeros(density.shape)
        self.delivered_j = 0.0
        self.carried_off_j = 0.0
        self.peak_c = arterial_c
        self._spare: Volume = np.zeros(density.shape)
        self._stored = np.ascontiguousarray(density * heat_capacity * volume)
        self._carried = np.ascontiguousarray(perfusion * BLOOD_HEAT_J_PER_KG_K * volume)
        self._faces = tuple(_face(conductivity, axis, voxel_m) for axis in range(3))
        diffusivity = float((conductivity / (density * heat_capacity)).max())
        self.longest_step_s = 0.9 * voxel_m**2 / (6 * diffusivity)

    @property
    def stored_j(self) -> float:
        """Heat now in the tissue above its rest state, J."""
        return float((self._stored * self.rise_c).sum())

    def step(self, dt_s: float, q_w: Volume) -> None:
        """Advance by `dt_s` with `q_w` watts in each voxel; a step beyond `longest_step_s` is a ValueError."""
        if not 0 < dt_s <= self.longest_step_s:
            raise ValueError(f"a step of {dt_s} s is not in (0, {self.longest_step_s:.3f}] s")
        _step(self.rise_c, self._spare, *self._faces, self._stored, self._carried, q_w, dt_s)
        peak = _add_dose(self.dose_min, self.rise_c, self._spare, self.arterial_c, dt_s / 60)
        self.rise_c, self._spare = self._spare, self.rise_c
        self.peak_c = self.arterial_c + peak
        self.delivered_j += dt_s * float(q_w.sum())
        self.carried_off_j += dt_s * float((self._carried * self.rise_c).sum())
