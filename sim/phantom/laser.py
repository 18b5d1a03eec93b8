"""Interstitial laser heating: light from a diffuser, a cooled catheter, and the true damage.

Light of a line source in a scattering medium falls as exp(-mu r) / r from each of its points
(diffusion approximation; Welch & van Gemert 2011, Optical-Thermal Response of Laser-Irradiated
Tissue). The coolant takes heat through the catheter's wall along its whole way. Damage is a
first-order rate process (Henriques 1947, Arch Pathol 43:489) integrated at the solver's own steps.
"""

import msgspec
import numpy as np
from numba import njit
from numpy.typing import NDArray

from sim.phantom.anatomy import LABEL, Grid, from_line, labels_at, table
from sim.phantom.bioheat import Bioheat
from sim.phantom.head import HeadSettings, tract_at
from sim.space import Vector, vector

Volume = NDArray[np.float64]
LN_FREQUENCY = 226.7847  # ln of 3.1e98 / s
ACTIVATION_K = 75531.0  # 6.28e5 J/mol over the gas constant
SOURCES = 21


class LaserSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Defaults: a 10 mm diffuser at 980 nm in white matter, saline at room temperature around it."""

    voxel_mm: float = 1.0
    reach_mm: float = 26.0
    step_s: float = 0.2
    efficiency: float = 0.85
    diffuser_mm: float = 10.0
    attenuation_per_mm: float = 0.35
    coolant_c: float = 20.0
    exchange_w_per_m2_k: float = 1500.0
    arterial_c: float = 37.0


@njit(nogil=True, cache=True)  # type: ignore[untyped-decorator]
def _burn(omega: Volume, hottest: Volume, before: Volume, after: Volume, base_c: float, dt: float) -> None:
    o, h, a, b = omega.ravel(), hottest.ravel(), before.ravel(), after.ravel()
    for n in range(o.size):
        h[n] = max(h[n], b[n])
        kelvin = 273.15 + base_c + 0.5 * (a[n] + b[n])
        if kelvin > 312.0:
            o[n] += dt * np.exp(LN_FREQUENCY - ACTIVATION_K / kelvin)


class LaserTissue:
    """The part of the head around the tumour. The coolant runs from the first light on and stays on."""

    def __init__(self, body: HeadSettings, settings: LaserSettings) -> None:
        target = vector(body.target_mm)
        count = int(np.ceil(2 * settings.reach_mm / settings.voxel_mm)) + 1
        low = target - settings.reach_mm
        self.grid = Grid((float(low[0]), float(low[1]), float(low[2])), (count,) * 3, settings.voxel_mm)
        points = self.grid.points_mm()
        self.labels = labels_at(body, points)
        self.tract = tract_at(body, points) & (self.labels == LABEL["white"])
        tip, entry = body.tip_mm, vector(body.entry_mm)
        thick = max(body.catheter_radius_mm, 0.6 * settings.voxel_mm)
        self._catheter = from_line(points, entry, tip) < thick
        self.labels[self._catheter] = LABEL["applicator"]
        self.step_s = settings.step_s
        wall_m2_per_mm = 2 * np.pi * body.catheter_radius_mm * 1e-6
        inside_mm = self._catheter.sum() * settings.voxel_mm / max(1.0, np.pi * (thick / settings.voxel_mm) ** 2)
        taken = settings.exchange_w_per_m2_k * wall_m2_per_mm * inside_mm / max(1, int(self._catheter.sum()))
        volume_m3 = (settings.voxel_mm / 1000) ** 3
        perfusion = table("perfusion")[self.labels].astype(np.float64)
        perfusion[self._catheter] = taken / (3617.0 * volume_m3)  # coolant carries heat off as blood does
        self.solver = Bioheat(
            voxel_mm=settings.voxel_mm,
            density=table("density")[self.labels].astype(np.float64),
            heat_capacity=table("heat_capacity")[self.labels].astype(np.float64),
            conductivity=table("conductivity")[self.labels].astype(np.float64),
            perfusion=perfusion,
            arterial_c=settings.arterial_c,
        )
        self.omega: Volume = np.zeros(points.shape[:3])
        self.hottest: Volume = np.zeros(points.shape[:3])  # rise above arterial, K
        self._cold_w = np.where(self._catheter, taken * (settings.coolant_c - settings.arterial_c), 0.0)
        self._light = self._fluence(points, tip, body.along, settings) * settings.efficiency

    def _fluence(self, points: Volume, tip: Vector, along: Vector, settings: LaserSettings) -> Volume:
        """Share of the light that each voxel absorbs; the sum is 1."""
        weight = np.zeros(points.shape[:3])
        for back_mm in np.linspace(0.0, settings.diffuser_mm, SOURCES):
            away = np.maximum(np.linalg.norm(points - (tip - back_mm * along), axis=-1), 0.5 * settings.voxel_mm)
            weight += np.exp(-settings.attenuation_per_mm * away) / away
        weight[self._catheter] = 0.0
        shares: Volume = weight / weight.sum()
        return shares

    def step(
        self, dt_s: float, power_w: float, focus_mm: Vector, displacement_mm: Vector, shares: tuple[float, ...]
    ) -> None:
        """Let `dt_s` pass with `power_w` of light; place and shares mean nothing to a fixed fibre."""
        before = self.solver.rise_c
        self.solver.step(dt_s, power_w * self._light + self._cold_w)
        _burn(self.omega, self.hottest, before, self.solver.rise_c, self.solver.arterial_c, dt_s)

    def where(self, tissue: str) -> NDArray[np.bool_]:
        """Voxels of a tissue; `tract` is the white matter to be spared."""
        found: NDArray[np.bool_] = self.tract if tissue == "tract" else self.labels == LABEL[tissue]
        return found

    def dose_min(self, tissue: str) -> NDArray[np.float64]:
        """CEM43 of all voxels of one tissue, minutes, (n,)."""
        values: NDArray[np.float64] = self.solver.dose_min[self.where(tissue)]
        return values
