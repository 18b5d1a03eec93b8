"""The one patient of a scenario: every simulated device looks at the same breathing, heated body."""

from collections.abc import Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from sim.phantom.anatomy import BodySettings, mobility_at
from sim.phantom.breathing import Breathing, BreathingSettings
from sim.phantom.flank import FlankSettings
from sim.phantom.freezing import CryoSettings, FrozenTissue
from sim.phantom.head import HeadSettings
from sim.phantom.heating import HeatedTissue, HeatSettings
from sim.phantom.laser import LaserSettings, LaserTissue
from sim.space import Vector, vector

_NS_PER_S = 1_000_000_000
CONTACT_NS = 50_000_000  # hands begin with the scenario where the service is there by then, else with the service


class WorldSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The `[world]` table of a scenario. `head` with `laser`, or `flank` with `cryo`, stand in place of the trunk."""

    breathing: BreathingSettings = BreathingSettings()
    body: BodySettings = BodySettings()
    heat: HeatSettings = HeatSettings()
    head: HeadSettings | None = None
    laser: LaserSettings = LaserSettings()
    flank: FlankSettings | None = None
    cryo: CryoSettings = CryoSettings()

    @property
    def patient(self) -> BodySettings | HeadSettings | FlankSettings:
        """The body that lies there."""
        return self.head or self.flank or self.body


Treated = HeatedTissue | LaserTissue | FrozenTissue


def _treated(settings: WorldSettings) -> Treated:
    if settings.head is not None:
        return LaserTissue(settings.head, settings.laser)
    if settings.flank is not None:
        return FrozenTissue(settings.flank, settings.cryo)
    return HeatedTissue(settings.body, settings.heat)


class Drive(msgspec.Struct, frozen=True):
    """From `now_ns` on the therapy puts `power_w` at `focus_mm` (RAS, in the room); `shares` of several needles."""

    now_ns: int
    power_w: float
    focus_mm: tuple[float, float, float]
    shares: tuple[float, ...] = ()


class World:
    """Truth at any time. `drive` may be called from another thread than everything else."""

    def __init__(self, settings: WorldSettings, *, seed: int, start_ns: int) -> None:
        self.settings = settings
        self.seed = seed
        self.start_ns = start_ns
        self.breathing = Breathing(settings.breathing, seed)
        self.body = settings.patient
        self.tissue: Treated = _treated(settings)
        self.target_mm: Vector = vector(self.body.target_mm)
        self.drives: list[Drive] = [Drive(start_ns, 0.0, self.body.target_mm)]
        self.peaks: list[tuple[int, float]] = []  # (ns, hottest degC) after each step with heat in the body
        self._now_ns = start_ns
        self._drive = 0  # index of the drive in force at `_now_ns`
        self._hands_wait_ns: int | None = 0  # None: an operator has not heard of the service yet

    def drive(
        self, now_ns: int, power_w: float, focus_mm: Sequence[float] | Vector, shares: tuple[float, ...] = ()
    ) -> None:
        """Tell what the therapy does from `now_ns` on; times must not go back."""
        r, a, s = (float(value) for value in focus_mm)
        self.drives.append(Drive(max(now_ns, self.drives[-1].now_ns), power_w, (r, a, s), shares))

    def seconds(self, now_ns: int) -> float:
        """Time since the scenario began."""
        return (now_ns - self.start_ns) / _NS_PER_S

    def operator_waits(self) -> None:
        """Whoever acts waits for the service, and so do the hands."""
        self._hands_wait_ns = None

    def operator_begins(self, now_ns: int) -> None:
        """The service was heard of: acts and hands keep step from here on, however long it took to start."""
        if self._hands_wait_ns is None:
            self._hands_wait_ns = max(now_ns - self.start_ns - CONTACT_NS, 0)

    def hand_seconds(self, now_ns: int) -> float:
        """Time since hands began to move, s."""
        since_ns = now_ns - self.start_ns
        begun_ns = CONTACT_NS if self._hands_wait_ns is None else since_ns - self._hands_wait_ns
        return min(since_ns, max(begun_ns, CONTACT_NS)) / _NS_PER_S

    def displacement_mm(self, now_ns: int) -> Vector:
        """How far the organ is from its reference position, (3,) mm RAS."""
        return self.breathing.displacement_mm(self.seconds(now_ns))

    def moved_mm(self, points_mm: NDArray[np.float64], now_ns: int) -> NDArray[np.float64]:
        """Where reference points (..., 3) are now: inverts `reference_mm` by fixed-point iteration."""
        shift = self.displacement_mm(now_ns)
        body = self.body
        moved = points_mm
        for _ in range(12):
            moved = points_mm + mobility_at(body, moved)[..., None] * shift
        return moved

    def reference_mm(self, points_mm: NDArray[np.float64], now_ns: int) -> NDArray[np.float64]:
        """Which reference point is now at room points (..., 3)."""
        mobility = mobility_at(self.body, points_mm)
        found: NDArray[np.float64] = points_mm - mobility[..., None] * self.displacement_mm(now_ns)
        return found

    def advance_to(self, now_ns: int) -> None:
        """Let the heat flow up to `now_ns`; a time already passed changes nothing."""
        longest = min(self.tissue.step_s, self.tissue.solver.longest_step_s)
        while self._now_ns < now_ns:
            while self._drive + 1 < len(self.drives) and self.drives[self._drive + 1].now_ns <= self._now_ns:
                self._drive += 1
            drive = self.drives[self._drive]
            later = self.drives[self._drive + 1].now_ns if self._drive + 1 < len(self.drives) else now_ns
            until = min(now_ns, later)
            if drive.power_w == 0 and not self.peaks:
                self._now_ns = until
                continue
            until = min(until, self._now_ns + int(longest * _NS_PER_S))
            dt_s = (until - self._now_ns) / _NS_PER_S
            middle = self.displacement_mm((until + self._now_ns) // 2)
            self.tissue.step(dt_s, drive.power_w, vector(drive.focus_mm), middle, drive.shares)
            self._now_ns = until
            self.peaks.append((until, self.tissue.solver.peak_c))

    def peak_c(self, now_ns: int) -> float:
        """Hottest tissue at `now_ns`, degC, from the steps lived so far."""
        at = int(np.searchsorted([when for when, _ in self.peaks], now_ns, side="right")) - 1
        return self.peaks[at][1] if at >= 0 else self.tissue.solver.arterial_c
