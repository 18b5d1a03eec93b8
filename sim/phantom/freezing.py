"""Freezing by needles: the enthalpy of tissue with ice, and what it has been through.

rho dh/dt = div(k grad T) - perfusion - what the needles take; h and T are joined by straight lines
through the melting range, in which the latent heat sits (Voller & Cross 1981, Int J Heat Mass
Transfer 24:545; values of soft tissue, 80 % water). Blood stops where it freezes and does not come back.
"""

import msgspec
import numpy as np
from numba import njit
from numpy.typing import NDArray

from sim.phantom.anatomy import LABEL, Grid, labels_at, table
from sim.phantom.bioheat import BLOOD_HEAT_J_PER_KG_K
from sim.phantom.flank import FlankSettings, organ_at
from sim.space import Vector, vector

Volume = NDArray[np.float64]
LIQUID_C, SOLID_C = -0.5, -8.0
LETHAL_C, THAWED_C = -20.0, -8.0
LATENT_J_PER_M3 = 2.6e8  # of tissue that is 80 % water
ICE_CONDUCTIVITY = 2.0  # W/m/K
ICE_J_PER_M3_K = 1.9e6


class CryoSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Defaults: gas needles with 30 mm of active length. `nominal_w` is the power at which all run in full."""

    voxel_mm: float = 1.5
    reach_mm: float = 36.0
    step_s: float = 0.3
    active_mm: float = 30.0
    gas_c: float = -150.0
    thaw_c: float = 40.0
    coupling_w_per_mm_k: float = 0.02
    settle_s: float = 30.0  # time constant of a needle's temperature
    nominal_w: float = 60.0
    arterial_c: float = 37.0


@njit(nogil=True, cache=True)  # type: ignore[untyped-decorator]
def _step(
    heat: Volume, out: Volume, warm: Volume, liquid_c: Volume, k_liquid: Volume, perfused: Volume,
    coupling: Volume, needle: NDArray[np.int64], needle_c: Volume, base_c: float, voxel_m: float, dt: float,
) -> None:  # fmt: skip
    nx, ny, nz = heat.shape
    volume = voxel_m**3
    for i in range(nx):
        for j in range(ny):
            for k in range(nz):
                here = warm[i, j, k]
                mine = ICE_CONDUCTIVITY if here < SOLID_C else k_liquid[i, j, k]
                flow = 0.0
                for axis in range(3):
                    for side in (-1, 1):
                        a = i + (side if axis == 0 else 0)
                        b = j + (side if axis == 1 else 0)
                        c = k + (side if axis == 2 else 0)
                        if a < 0 or b < 0 or c < 0 or a >= nx or b >= ny or c >= nz:
                            flow += mine * voxel_m * (base_c - here)  # the body beyond the box
                            continue
                        there = warm[a, b, c]
                        its = ICE_CONDUCTIVITY if there < SOLID_C else k_liquid[a, b, c]
                        flow += 2.0 * mine * its / (mine + its) * voxel_m * (there - here)
                if perfused[i, j, k] > 0.0:
                    if here < -2.0:
                        perfused[i, j, k] = 0.0
                    else:
                        flow += perfused[i, j, k] * (base_c - here)
                if needle[i, j, k] >= 0:
                    flow += coupling[i, j, k] * (needle_c[needle[i, j, k]] - here)
                h = heat[i, j, k] + dt * flow / volume
                out[i, j, k] = h
    for i in range(nx):
        for j in range(ny):
            for k in range(nz):
                h = out[i, j, k]
                if h > LATENT_J_PER_M3:
                    warm[i, j, k] = LIQUID_C + (h - LATENT_J_PER_M3) / liquid_c[i, j, k]
                elif h > 0.0:
                    warm[i, j, k] = SOLID_C + h / LATENT_J_PER_M3 * (LIQUID_C - SOLID_C)
                else:
                    warm[i, j, k] = SOLID_C + h / ICE_J_PER_M3_K


class FrozenTissue:
    """The part of the flank around the tumour, with its needles. `solver` is this object: it holds `rise_c`."""

    def __init__(self, body: FlankSettings, settings: CryoSettings) -> None:
        target = vector(body.target_mm)
        count = int(np.ceil(2 * settings.reach_mm / settings.voxel_mm)) + 1
        low = target - settings.reach_mm
        self.grid = Grid((float(low[0]), float(low[1]), float(low[2])), (count,) * 3, settings.voxel_mm)
        points = self.grid.points_mm()
        self.labels = labels_at(body, points)
        self.organs = {name: organ_at(body, name, points) for name in ("colon", "ureter")}
        self.needle: NDArray[np.int64] = np.full(points.shape[:3], -1)
        for number, (tip, behind) in enumerate(body.needles()):
            along = (tip - behind) / np.linalg.norm(tip - behind)
            steps = np.arange(0.0, settings.active_mm, 0.25 * settings.voxel_mm)
            at = np.round((tip - steps[:, None] * along - low) / settings.voxel_mm).astype(int)
            kept = at[((at >= 0) & (at < count)).all(axis=1)]
            self.needle[kept[:, 0], kept[:, 1], kept[:, 2]] = number
        volume_m3 = (settings.voxel_mm / 1000) ** 3
        self._liquid = (table("density") * table("heat_capacity"))[self.labels].astype(np.float64)
        self._conductivity = table("conductivity")[self.labels].astype(np.float64)
        self._perfused = table("perfusion")[self.labels] * BLOOD_HEAT_J_PER_KG_K * volume_m3
        self._coupling = np.where(self.needle >= 0, settings.coupling_w_per_mm_k * settings.voxel_mm, 0.0)
        self.arterial_c, self.step_s, self._settings = settings.arterial_c, settings.step_s, settings
        self._warm: Volume = np.full(points.shape[:3], settings.arterial_c)
        self._heat: Volume = LATENT_J_PER_M3 + (self._warm - LIQUID_C) * self._liquid
        self._spare: Volume = np.zeros_like(self._heat)
        self.rise_c: Volume = self._warm - settings.arterial_c
        self.coldest_c: Volume = self._warm.copy()
        self.times: NDArray[np.int64] = np.zeros(points.shape[:3], np.int64)  # frozen below LETHAL_C, thawed between
        self._ready = np.ones(points.shape[:3], np.bool_)
        self.dose_min: Volume = np.zeros_like(self._heat)
        self.needles = len(body.needles_mm)
        self.needle_c: Volume = np.full(self.needles, settings.arterial_c)
        self.delivered_j = 0.0
        self.peak_c = settings.arterial_c
        self._voxel_m = settings.voxel_mm / 1000
        stiff = (settings.coupling_w_per_mm_k * settings.voxel_mm) / (ICE_J_PER_M3_K * volume_m3)
        self.longest_step_s = 0.9 / (6 * ICE_CONDUCTIVITY / (ICE_J_PER_M3_K * self._voxel_m**2) + stiff)

    @property
    def solver(self) -> "FrozenTissue":
        """Its own solver."""
        return self

    def step(
        self, dt_s: float, power_w: float, focus_mm: Vector, displacement_mm: Vector, shares: tuple[float, ...]
    ) -> None:
        """Let `dt_s` pass. Each needle strives to its gas: `shares` 1 = full freezing, 0 = off, below 0 = thawing.

        Without shares all needles run alike, at `power_w` of the nominal power.
        """
        settings = self._settings
        asked = np.array(shares or (power_w / settings.nominal_w,) * self.needles)
        rest = self._around()
        cold = settings.arterial_c + np.minimum(asked, 1.0) * (settings.gas_c - settings.arterial_c)
        goal = np.where(asked > 0.0, cold, np.where(asked < 0.0, settings.thaw_c, rest))
        self.needle_c += (goal - self.needle_c) * -np.expm1(-dt_s / settings.settle_s)
        self.needle_c = np.where(asked == 0.0, np.maximum(self.needle_c, rest), self.needle_c)
        _step(
            self._heat, self._spare, self._warm, self._liquid, self._conductivity, self._perfused, self._coupling,
            self.needle, self.needle_c, settings.arterial_c, self._voxel_m, dt_s,
        )  # fmt: skip
        self._heat, self._spare = self._spare, self._heat
        self.rise_c = self._warm - settings.arterial_c
        np.minimum(self.coldest_c, self._warm, out=self.coldest_c)
        frozen = self._ready & (self._warm <= LETHAL_C)
        self.times += frozen
        self._ready = (self._ready & ~frozen) | (self._warm > THAWED_C)

    def _around(self) -> Volume:
        """Mean temperature of the tissue at each needle: a needle that is off takes nothing."""
        return np.array([float(self._warm[self.needle == number].mean()) for number in range(self.needles)])

    @property
    def temperature_now_c(self) -> Volume:
        """Temperature of every voxel, degC."""
        return self._warm

    def where(self, tissue: str) -> NDArray[np.bool_]:
        """Voxels of a tissue, or of an organ to be spared."""
        found: NDArray[np.bool_] = self.organs[tissue] if tissue in self.organs else self.labels == LABEL[tissue]
        return found
