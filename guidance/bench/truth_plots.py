"""Pictures of one heated session against the simulator's truth. Run: python -m guidance.bench.truth_plots [folder]"""

import sys
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

from guidance.bench.truth_thermometry import NECROSIS_MIN, session

ZOOM = 12  # voxels to either side of the focus


def main() -> None:
    """Write docs/pictures/thermometry_truth.png."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parents[2] / "docs" / "pictures"
    folder.mkdir(parents=True, exist_ok=True)
    s = session(1)
    k, j, i = (int(n) for n in np.unravel_index(int(np.argmax(s.truth[s.off])), s.truth.shape[1:]))
    here = (slice(None), k, j, i)
    figure, panels = plt.subplots(2, 2, figsize=(9, 7), layout="constrained")
    panels[0, 0].plot(s.times, s.measured[here], ".", label="measured")
    panels[0, 0].plot(s.times, s.filtered[here], label="filtered")
    panels[0, 0].plot(s.times, s.truth[here], "k--", label="truth")
    panels[0, 0].set(title="hottest voxel", xlabel="s", ylabel="degC")
    panels[0, 0].legend()
    error = np.abs(s.measured[here] - s.truth[here])
    panels[0, 1].plot(s.times, error, ".", label="|measured - truth|")
    panels[0, 1].plot(s.times, s.sigma[here], label="sigma, raw")
    panels[0, 1].plot(s.times, s.filtered_sigma[here], label="sigma, filtered")
    panels[0, 1].set(title="uncertainty", xlabel="s", ylabel="degC")
    panels[0, 1].legend()
    hot = s.near & (s.true_dose > 1.0)
    for dose, label, size in ((s.upper, "95 % bound", 2), (s.dose, "de-biased", 4)):
        panels[1, 0].semilogx(s.true_dose[hot], dose[hot] / s.true_dose[hot], ".", ms=size, label=label)
    panels[1, 0].axhline(1.0, color="k", linestyle="--")
    panels[1, 0].set(title="dose at power-off", xlabel="truth, CEM43 min", ylabel="share of the truth", ylim=(0.0, 3.0))
    panels[1, 0].legend()
    panels[1, 1].imshow(s.truth[s.off][k], cmap="gray", vmin=37.0)
    for dose, colour, line, label in (
        (s.final_dose, "tab:red", "-", "in the end"),
        (s.dose, "tab:cyan", "-", "at power-off"),
        (s.forecast, "yellow", "--", "forecast"),
        (s.forecast_upper, "tab:green", ":", "its upper bound"),
    ):
        panels[1, 1].contour(dose[k], [NECROSIS_MIN], colors=colour, linestyles=line)
        panels[1, 1].plot([], [], color=colour, linestyle=line, label=label)
    panels[1, 1].set(title="240 CEM43", xlim=(i - ZOOM, i + ZOOM), ylim=(j + ZOOM, j - ZOOM), xlabel="voxels of 2 mm")
    panels[1, 1].legend(fontsize=7, loc="lower right")
    figure.savefig(folder / "thermometry_truth.png", dpi=80)


if __name__ == "__main__":
    main()
