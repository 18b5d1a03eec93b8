"""Heated sessions of many seeds against the simulator's truth: every measure as median and range, beside its limit.

.venv/bin/python -m scripts.heated_rooms hifu_liver 160 [SEEDS]
.venv/bin/python -m scripts.heated_rooms hyperthermia_release 700 [SEEDS]

One process a core; seeds 1 to SEEDS (20), each another breath, noise and drift. Scored by `sim/thermal.py` on the
solver's own temperature and dose, lumen of vessels left out; `window` is the 600 s from when the true T50 of
`hyperthermia_release` first reached 41 degC.
"""

import os
import sys
from concurrent.futures import ProcessPoolExecutor
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import track
from rich.table import Table

from scripts.heating_against_truth import Session

# Way into the score, lowest and highest allowed.
Limit = tuple[str, float, float]
ORGANS: list[Limit] = [("organs_c.rib", 0.0, 45.0), ("organs_c.muscle", 0.0, 45.0)]
OWN = ("rms", "sigma", "own_margin", "lower_margin")  # what the room itself believed in its last look, without limits
LIMITS: dict[str, list[Limit]] = {
    "hifu_liver": [
        ("target_share", 0.98, 1.0), ("margin_share", 0.95, 1.0), ("beyond_of_plan", 0.0, 1.0),
        ("window.hottest_c", 0.0, np.inf), *ORGANS,
    ],
    "hyperthermia_release": [
        ("window.seconds", 599.0, 601.0), ("window.t90_min_c", 40.0, 99.0), ("window.t50_min_c", 41.0, 42.0),
        ("window.t50_max_c", 41.0, 42.0), ("window.t10_max_c", 0.0, 43.0), ("window.hottest_c", 0.0, 45.0), *ORGANS,
    ],
}  # fmt: skip


def measured(procedure: str, seed: int, seconds: float) -> dict[str, Any]:
    """The true score of one session, and in its last look the filter's error and sigma, degC, and its own coverage."""
    session = Session(procedure, seed)
    score = session.run(seconds)
    return score | {"own": {name: session.rows[-1][name] for name in OWN}}


def _at(score: dict[str, Any], way: str) -> float:
    found: Any = score
    for name in way.split("."):
        found = found[name]
    return float(found)


def show(scores: list[dict[str, Any]], limits: list[Limit]) -> None:
    """The table, with how many seeds are inside of each limit."""
    table = Table("measure", "median", "lowest", "highest", "limits", "seeds inside")
    for way, low, high in [*limits, *((f"own.{name}", 0.0, np.inf) for name in OWN)]:
        values = np.array([_at(score, way) for score in scores])
        inside = int(((values >= low) & (values <= high)).sum())
        numbers = (f"{value:.4g}" for value in (np.median(values), values.min(), values.max()))
        table.add_row(way, *numbers, f"{low:g} .. {high:g}", f"{inside} of {len(values)}")
    Console(width=110).print(table)


def main() -> None:
    """Procedure, seconds, number of seeds."""
    procedure, seconds = sys.argv[1], float(sys.argv[2])
    seeds = range(1, 1 + int(sys.argv[3] if len(sys.argv) > 3 else 20))
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        running = [pool.submit(measured, procedure, seed, seconds) for seed in seeds]
        show([job.result() for job in track(running, procedure)], LIMITS[procedure])


if __name__ == "__main__":
    main()
