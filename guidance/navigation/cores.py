"""What was done where: biopsy cores and applicator placements, kept as they were measured."""

from dataclasses import dataclass, field

import numpy as np

from guidance.exact import Vector
from guidance.plan import Plan
from guidance.plan.shapes import signed_distance_mm

SIGMAS = 2.0
_SAMPLES = 64
CERTAIN, POSSIBLE, MISSED = "certain", "possible", "missed"


@dataclass(frozen=True, eq=False)
class Core:
    """One core: the notch from `start_mm` to `end_mm` (3,) RAS, its sigma, and what it took from each target.

    `hits` maps a target outline to "certain" (inside by more than two sigma), "possible" or "missed";
    `depth_mm` to how deep the core reaches inside it (negative: by how much it missed).
    """

    number: int
    time_ns: int
    tool: str
    start_mm: Vector
    end_mm: Vector
    sigma_mm: float
    hits: dict[str, str] = field(default_factory=dict)
    depth_mm: dict[str, float] = field(default_factory=dict)


class CoreLog:
    """Cores in the order in which they were taken, judged against the plan's target outlines."""

    def __init__(self, plan: Plan) -> None:
        self._targets = {row.name: row.shape for row in plan.structures if row.role == "target"}
        self.cores: list[Core] = []

    def record(
        self, time_ns: int, tool: str, tip_mm: Vector, axis: Vector, sigma_mm: float, notch_mm: tuple[float, float]
    ) -> Core:
        """Add a core taken with the tip at `tip_mm` and unit `axis` towards the hand.

        `notch_mm`: the sampled part, from and to this far ahead of the tip (negative: behind it).
        """
        ahead = -np.asarray(axis, np.float64)
        start, end = (np.asarray(tip_mm, np.float64) + reach * ahead for reach in notch_mm)
        line = start + np.linspace(0.0, 1.0, _SAMPLES)[:, None] * (end - start)
        depth = {name: -float(signed_distance_mm(shape, line).min()) for name, shape in self._targets.items()}
        hits = {name: _judge(d, sigma_mm) for name, d in depth.items()}
        core = Core(len(self.cores) + 1, time_ns, tool, start, end, sigma_mm, hits, depth)
        self.cores.append(core)
        return core

    def sampled(self) -> dict[str, str]:
        """The best that any core achieved in each target: what is still to be taken."""
        order = (CERTAIN, POSSIBLE, MISSED)
        return {
            name: min((core.hits[name] for core in self.cores), key=order.index, default=MISSED)
            for name in self._targets
        }


def _judge(depth_mm: float, sigma_mm: float) -> str:
    if depth_mm >= SIGMAS * sigma_mm:
        return CERTAIN
    return POSSIBLE if depth_mm > -SIGMAS * sigma_mm else MISSED
