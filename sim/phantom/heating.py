"""Where the therapy's power goes: a focus (or the tip of an applicator) and the near field before it."""

import msgspec
import numpy as np
from numpy.typing import NDArray

from sim.phantom.anatomy import LABEL, BodySettings, Grid, labels_at, table
from sim.phantom.bioheat import Bioheat
from sim.space import Vector, unit, vector

Volume = NDArray[np.float64]


class HeatSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Defaults: a focused-ultrasound transducer at the patient's right side, focus in the target."""

    enabled: bool = True
    voxel_mm: float = 2.0
    reach_mm: float = 40.0  # how far the computed box reaches around the target
    step_s: float = 0.1
    efficiency: float = 0.25  # share of the nominal power that becomes heat
    near_share: float = 0.25  # of that, what is absorbed before the focus
    focus_sigma_mm: tuple[float, float, float] = (5.0, 2.0, 2.0)  # along the beam, then across
    beam: tuple[float, float, float] = (-1.0, 0.0, 0.0)  # from the transducer to the focus
    half_angle_deg: float = 20.0
    beam_start_mm: float = 90.0  # how far before the focus the beam enters the skin
    perfused: bool = True
    arterial_c: float = 37.0


class HeatedTissue:
    """The heated part of the patient in its reference position."""

    def __init__(self, body: BodySettings, settings: HeatSettings) -> None:
        target = vector(body.target_mm)
        beam = unit(vector(settings.beam))
        entry = target - beam * settings.beam_start_mm
        low = np.minimum(target, entry) - settings.reach_mm
        high = np.maximum(target, entry) + settings.reach_mm
        if settings.near_share == 0:
            low, high = target - settings.reach_mm, target + settings.reach_mm
        counts = np.ceil((high - low) / settings.voxel_mm).astype(int)
        shape = (int(counts[0]), int(counts[1]), int(counts[2]))
        self.grid = Grid((float(low[0]), float(low[1]), float(low[2])), shape, settings.voxel_mm)
        points = self.grid.points_mm()
        self.labels = labels_at(body, points)
        perfusion = table("perfusion").copy()
        if not settings.perfused:
            perfusion[:] = 0
        self.solver = Bioheat(
            voxel_mm=settings.voxel_mm,
            density=table("density")[self.labels].astype(np.float64),
            heat_capacity=table("heat_capacity")[self.labels].astype(np.float64),
            conductivity=table("conductivity")[self.labels].astype(np.float64),
            perfusion=perfusion[self.labels].astype(np.float64),
            arterial_c=settings.arterial_c,
        )
        self._settings = settings
        self.step_s = settings.step_s
        self._beam = beam
        self._points = points
        self._absorption = table("absorption")[self.labels].astype(np.float64)
        self._near: Volume | None = None
        self._near_focus = np.full(3, np.inf)
        self._q: Volume = np.zeros(shape)

    def step(
        self, dt_s: float, power_w: float, focus_mm: Vector, displacement_mm: Vector, shares: tuple[float, ...] = ()
    ) -> None:
        """Heat for `dt_s` with the nominal `power_w` focused at `focus_mm` in the room (RAS), `shares` unused."""
        self._q[:] = 0
        heat_w = power_w * self._settings.efficiency
        if heat_w > 0:
            self._q += heat_w * self._settings.near_share * self._near_field(focus_mm)
            self._add_focus(heat_w * (1 - self._settings.near_share), focus_mm - displacement_mm)
        self.solver.step(dt_s, self._q)

    def _add_focus(self, heat_w: float, focus_mm: Vector) -> None:
        size = self.grid.voxel_mm
        reach = int(np.ceil(3.5 * max(self._settings.focus_sigma_mm) / size))
        centre = np.round((focus_mm - np.asarray(self.grid.origin_mm)) / size).astype(int)
        low = np.clip(centre - reach, 0, self.grid.shape)
        high = np.clip(centre + reach + 1, 0, self.grid.shape)
        box = tuple(slice(int(a), int(b)) for a, b in zip(low, high, strict=True))
        offset = self._points[box] - focus_mm
        if offset.size == 0:
            return
        along = offset @ self._beam
        across2 = (offset**2).sum(axis=-1) - along**2
        long, wide = self._settings.focus_sigma_mm[0], self._settings.focus_sigma_mm[1]
        weight = np.exp(-0.5 * (along / long) ** 2 - 0.5 * across2 / wide**2)
        self._q[box] += heat_w * weight * size**3 / ((2 * np.pi) ** 1.5 * long * wide**2)

    def _near_field(self, focus_mm: Vector) -> Volume:
        if self._near is None or float(np.abs(focus_mm - self._near_focus).max()) > 1.0:
            offset = self._points - focus_mm
            before = -(offset @ self._beam)
            across = np.sqrt(np.maximum((offset**2).sum(axis=-1) - before**2, 0))
            radius = 3.0 + np.maximum(before, 0) * np.tan(np.radians(self._settings.half_angle_deg))
            weight = self._absorption * np.exp(-0.5 * (across / (0.6 * radius)) ** 2) / radius**2
            weight[(before < 5.0) | (across > 1.5 * radius)] = 0
            total = float(weight.sum())
            self._near = weight / total if total > 0 else weight
            self._near_focus = focus_mm.copy()
        return self._near

    def temperature_c(self, tissue: str) -> NDArray[np.float64]:
        """Temperatures of all voxels of one tissue, degC, (n,)."""
        values: NDArray[np.float64] = self.solver.arterial_c + self.solver.rise_c[self.labels == LABEL[tissue]]
        return values

    def dose_min(self, tissue: str) -> NDArray[np.float64]:
        """CEM43 of all voxels of one tissue, minutes, (n,)."""
        values: NDArray[np.float64] = self.solver.dose_min[self.labels == LABEL[tissue]]
        return values
