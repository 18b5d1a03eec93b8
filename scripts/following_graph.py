"""Temperature and dose of a heated, breathing phantom, with and without maps that follow the tissue, over many seeds.

.venv/bin/python scripts/following_graph.py 20 docs/pictures/following.png
"""

import sys
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from rich.console import Console

from guidance.bench import show
from guidance.bench.following import (
    AMPLITUDES_MM,
    FILTERED,
    FOLLOWED,
    NECROSIS_MIN,
    PEAK_LIMIT,
    STILL,
    Outcome,
    collect,
    table,
    treat,
)  # fmt: skip

COLOURS = {STILL: "tab:red", FOLLOWED: "tab:blue", FILTERED: "tab:green"}
ZOOM = 9  # voxels to either side of the hottest


def lesion(panel: Any, outcomes: dict[str, Outcome]) -> None:
    """True dose in grey, 240 CEM43 as told by each way and in truth."""
    true = outcomes[FOLLOWED].true
    row, column = np.unravel_index(true.argmax(), true.shape)
    panel.imshow(np.log10(true + 1e-2), cmap="gray", vmin=0.0, vmax=5.0)
    panel.contour(true, [NECROSIS_MIN], colors="w", linewidths=3)
    panel.plot([], [], "w", lw=3, label="truth")
    for way in (STILL, FOLLOWED):
        panel.contour(outcomes[way].dose, [NECROSIS_MIN], colors=COLOURS[way], linewidths=1.2)
        panel.plot([], [], color=COLOURS[way], label=way)
    panel.set(
        xlim=(column - ZOOM, column + ZOOM), ylim=(row + ZOOM, row - ZOOM), xlabel="voxels of 2 mm",
        title="240 CEM43 under 15 mm breathing, seed 1",
    )  # fmt: skip
    panel.legend(fontsize=8, facecolor="0.6")


def spread(panel: Any, found: dict[tuple[str, str], dict[str, list[float]]], name: str) -> None:
    """One dot a seed, a bar for the median."""
    for place, ((_, way), by_name) in enumerate(found.items()):
        values = np.array(by_name[name])
        beside = place + 0.25 * np.linspace(-1, 1, len(values))
        panel.plot(beside, values, ".", color=COLOURS[way], ms=5)
        panel.plot([place - 0.35, place + 0.35], [np.median(values)] * 2, color="k", lw=1.5)
    panel.set_xticks(range(len(found)), [f"{motion},\n{way}" for motion, way in found], fontsize=7, rotation=30)
    panel.set(title=name)


def main(seeds: int, target: Path) -> None:
    """Run, print the table, draw."""
    found = collect(range(1, seeds + 1))
    show(Console(width=160), "following", table(found))
    figure, panels = plt.subplots(1, 3, figsize=(13, 4.2), layout="constrained")
    lesion(panels[0], treat(1, AMPLITUDES_MM["15 mm breathing"]))
    spread(panels[1], found, "peak dose / truth")
    panels[1].axhspan(*PEAK_LIMIT, color="0.85", zorder=0)
    spread(panels[2], found, "240 contour, mean, voxels")
    panels[2].axhline(0.5, color="0.5", ls="--")
    panels[2].set(yscale="log")
    figure.savefig(target, dpi=90)
    print(target)


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]))
