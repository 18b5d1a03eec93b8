"""Pictures of one heated session against the simulator's truth. Run: python -m guidance.bench.truth_plots [folder]"""

import sys
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

from guidance.bench.truth_thermometry import NECROSIS_MIN, session


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
    panels[1, 0].loglog(s.true_dose[hot], s.dose[hot], ".", label="de-biased")
    panels[1, 0].loglog(s.true_dose[hot], s.upper[hot], ".", ms=2, label="95 % bound")
    panels[1, 0].loglog([1, 1e6], [1, 1e6], "k--")
    panels[1, 0].set(title="dose at power-off", xlabel="truth, CEM43 min", ylabel="CEM43 min")
    panels[1, 0].legend()
    plane = k
    panels[1, 1].imshow(s.truth[s.off][plane], cmap="inferno")
    for dose, colour, line in ((s.final_dose, "w", "-"), (s.dose, "c", "-"), (s.forecast, "m", ":")):
        panels[1, 1].contour(dose[plane], [NECROSIS_MIN], colors=colour, linestyles=line)
    panels[1, 1].set(title="240 CEM43: at the end (white), at power-off (cyan), forecast (dots)")
    panels[1, 1].title.set_fontsize(9)
    figure.savefig(folder / "thermometry_truth.png", dpi=80)


if __name__ == "__main__":
    main()
