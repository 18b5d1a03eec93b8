"""What heat really did to the patient: looked at once a second, from the solver's own temperature and dose.

The solver integrates its own CEM43 at material points in steps of a tenth of a second (sim/phantom/bioheat.py);
nothing here knows how the service computes either.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from devices.messages import AnyMessage
from sim.phantom.anatomy import LABEL
from sim.phantom.heating import HeatedTissue
from sim.phantom.world import World

NECROSIS_MIN = 240.0
_SECOND_NS = 1_000_000_000
ORGANS = ("muscle", "rib", "fat", "gallbladder", "spine")


class ThermalTruth:
    """A peer that says nothing. `score` is about the target, `margin_mm` round it and `ORGANS`; lumina are left out.

    Window for mild heating: from when the median first reached `window_c` on, for `window_s`.
    """

    def __init__(
        self, *, name: str, world: World, start_ns: int, margin_mm: float = 5.0, over_limit_cm3: float = 5.0,
        window_c: float = 41.0, window_s: float = 600.0, carrier: dict[str, float] | None = None,
    ) -> None:  # fmt: skip
        if not isinstance(world.tissue, HeatedTissue):
            raise ValueError("this patient is not heated by a beam from outside")
        self.name = name
        self._world, self._tissue = world, world.tissue
        self._due_ns = start_ns
        self._over_limit_cm3, self._window_c, self._window_s = over_limit_cm3, window_c, window_s
        body, points = world.settings.body, self._tissue.grid.points_mm()
        away = np.linalg.norm(points - np.asarray(body.target_mm), axis=-1) - body.target_radius_mm
        solid = self._tissue.labels != LABEL["vessel"]
        self._target, self._treated = (away <= 0.0) & solid, (away <= margin_mm) & solid
        self._beyond = (away > margin_mm) & solid
        self.rows: list[tuple[float, float, float, float, float]] = []  # s, T10, T50, T90, hottest of the treated
        self.organs_c: dict[str, float] = {}
        self._carrier = carrier  # half_c, width_c, most_per_s, transit_s, plasma_half_s
        self._free, self._passed, self._heated_s = np.zeros(int(self._target.sum())), 0.0, 0.0

    def next_due_ns(self) -> int:
        """Once a second."""
        return self._due_ns

    def advance(self, now_ns: int) -> list[AnyMessage]:
        """Look."""
        while self._due_ns <= now_ns:
            self._look(self._due_ns)
            self._due_ns += _SECOND_NS
        return []

    def accept(self, message: AnyMessage, now_ns: int) -> None:
        """Nobody speaks to it."""

    def _look(self, now_ns: int) -> None:
        if not self._world.peaks:
            return
        solver = self._tissue.solver
        inside = solver.rise_c[self._target] + solver.arterial_c
        t10, t50, t90 = np.percentile(inside, (90.0, 50.0, 10.0))
        hottest = float(solver.rise_c[self._treated].max()) + solver.arterial_c
        self.rows.append((self._world.seconds(now_ns), float(t10), float(t50), float(t90), hottest))
        if self._carrier:
            self._set_free(inside, self._carrier)
        for organ in ORGANS:
            here = self._tissue.labels == LABEL[organ]
            if here.any():
                peak = float(solver.rise_c[here].max()) + solver.arterial_c
                self.organs_c[organ] = max(self.organs_c.get(organ, peak), peak)

    def _set_free(self, temperature_c: np.ndarray, carrier: dict[str, float]) -> None:
        """One second of a carrier's life: opened at a rate that rises with temperature, for one transit."""
        rate = carrier["most_per_s"] / (1.0 + np.exp((carrier["half_c"] - temperature_c) / carrier["width_c"]))
        left = 0.5 ** (self._heated_s / carrier["plasma_half_s"])
        self._free += left * (1.0 - np.exp(-rate * carrier["transit_s"]))
        self._passed += left
        self._heated_s += 1.0

    def score(self) -> dict[str, Any]:
        """Shares and volumes at 240 CEM43, hottest organs, and T10, T50, T90 over the window."""
        dose, voxel_cm3 = self._tissue.solver.dose_min, (self._tissue.grid.voxel_mm / 10) ** 3
        over_cm3 = float((dose[self._beyond] >= NECROSIS_MIN).sum()) * voxel_cm3
        return {
            "target_share": float((dose[self._target] >= NECROSIS_MIN).mean()),
            "margin_share": float((dose[self._treated] >= NECROSIS_MIN).mean()),
            "beyond_cm3": over_cm3,
            "beyond_of_plan": over_cm3 / self._over_limit_cm3,
            "organs_c": dict(self.organs_c),
            "window": self._window(self.rows),
            **({"release_mean": float((self._free / max(self._passed, 1e-9)).mean())} if self._carrier else {}),
        }

    def _window(self, rows: Sequence[tuple[float, float, float, float, float]]) -> dict[str, float]:
        since = next((row[0] for row in rows if row[2] >= self._window_c), None)
        kept = np.array([row for row in rows if since is not None and since <= row[0] <= since + self._window_s])
        if not kept.size:
            return {"seconds": 0.0}
        _, t10, t50, t90, hottest = kept.T
        return {
            "from_s": float(kept[0, 0]), "seconds": float(kept[-1, 0] - kept[0, 0]),
            "t10_max_c": float(t10.max()), "t10_mean_c": float(t10.mean()),
            "t50_min_c": float(t50.min()), "t50_mean_c": float(t50.mean()), "t50_max_c": float(t50.max()),
            "t90_min_c": float(t90.min()), "t90_mean_c": float(t90.mean()), "hottest_c": float(hottest.max()),
        }  # fmt: skip
