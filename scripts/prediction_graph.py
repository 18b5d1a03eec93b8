"""Prediction of real respiratory markers: error over horizon, of holding, of the members, and of their mean.

.venv/bin/python scripts/prediction_graph.py docs/pictures/prediction.png
"""

import sys
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from numpy.typing import NDArray

from guidance.bench.prediction import FROM_S, LIMITS_MM, rmse_mm, sessions
from guidance.motion import PositionPredictor

HORIZONS_S = (0.1, 0.2, 0.3, 0.4, 0.5, 0.7, 1.0, 1.3, 1.6, 2.0)
REFERENCE = ("1519", "1522", "1211")  # whose position held is as wrong as in the reference's baseline
KINDS = ("position held", "joint autoregression", "single autoregression", "patterns", "mean of the members")
COLOURS = ("0.5", "tab:orange", "tab:purple", "tab:green", "k")
Array = NDArray[np.float64]


def guesses(times_s: Array, positions_mm: Array, start: int) -> dict[str, Array]:
    """Guesses (horizons, measurements from `start`, markers, 3) of each kind, mm."""
    predictor = PositionPredictor()
    found: dict[str, list[list[Array]]] = {kind: [[] for _ in HORIZONS_S] for kind in KINDS}
    for k, (t, position) in enumerate(zip(times_s, positions_mm, strict=True)):
        predictor.update(float(t), position)
        if k < start:
            continue
        for at, horizon_s in enumerate(HORIZONS_S):
            members = predictor.members(horizon_s)
            patterns = members[2:].mean(axis=0)
            made = (position, members[0], members[1], patterns, predictor.predict(horizon_s))
            for kind, guess in zip(KINDS, made, strict=True):
                found[kind][at].append(guess)
    return {kind: np.array(by_horizon) for kind, by_horizon in found.items()}


def main(target: Path) -> None:
    """Score every session and draw the mean over them."""
    errors: dict[str, list[list[float]]] = {kind: [] for kind in KINDS}
    names = []
    for name, times, positions in sessions():
        names.append(name[-4:])
        start = int(np.searchsorted(times, FROM_S))
        for kind, made in guesses(times, positions, start).items():
            errors[kind].append([rmse_mm(times, positions, h, g, start) for h, g in zip(HORIZONS_S, made, strict=True)])
    chosen = [names.index(name) for name in REFERENCE]
    figure, panels = plt.subplots(1, 3, figsize=(13, 4), layout="constrained")
    for panel, rows, title in (
        (panels[0], list(range(len(names))), f"mean of all {len(names)} sessions"),
        (panels[1], chosen, "mean of " + ", ".join(REFERENCE)),
    ):
        for kind, colour in zip(KINDS, COLOURS, strict=True):
            values = np.array(errors[kind])[rows].mean(axis=0)
            panel.plot(HORIZONS_S, values, color=colour, lw=2.2 if colour == "k" else 1.2, label=kind)
            print(title, kind, [round(float(v), 2) for v in values])
        panel.plot(list(LIMITS_MM), list(LIMITS_MM.values()), "rv", label="limit")
        panel.set(title=title, xlabel="horizon, s", ylabel="3-D error, mm RMS", ylim=(0, None))
        panel.legend(fontsize=8)
    for name, own, held in zip(names, errors[KINDS[-1]], errors[KINDS[0]], strict=True):
        (line,) = panels[2].plot(HORIZONS_S, own, lw=1.8, label=name)
        panels[2].plot(HORIZONS_S, held, "--", color=line.get_color(), lw=0.8)
    panels[2].set(title="each session; position held: dashes", xlabel="horizon, s", ylim=(0, None))
    panels[2].legend(fontsize=8)
    figure.savefig(target, dpi=90)
    print(target)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
