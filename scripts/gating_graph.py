"""Graph of a gated session: where the target was, when the gate was open, and what that left of the motion.

.venv/bin/python scripts/gating_graph.py RECORDING.mcap docs/pictures/gating_cine_ks81.png
"""

import sys
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from numpy.typing import NDArray

from devices.messages import Metrics
from guidance.events import Send
from guidance.replay import Replayer


def history(recording: Path) -> NDArray[np.float64]:
    """Rows of time (s), way of the centroid (mm), x, y (mm), gate open, usable, from the motion metrics."""
    rows = []
    for _, effects, _ in Replayer(recording).steps(compute=False):
        for effect in effects:
            message = effect.message if isinstance(effect, Send) else None
            if isinstance(message, Metrics) and message.name.startswith("motion-") and "x_mm" in message.values:
                v = message.values
                way = float(np.hypot(v["x_mm"], v["y_mm"]))
                rows.append((message.device_time_ns / 1e9, way, v["x_mm"], v["y_mm"], v["beam_on"], v["usable"]))
    return np.array(rows)


def main(recording: str, target: str) -> None:
    """Draw it."""
    rows = history(Path(recording))
    t, way, y, on = rows[:, 0] - rows[0, 0], rows[:, 1], rows[:, 3], rows[:, 4] > 0
    figure, (above, below) = plt.subplots(1, 2, figsize=(11, 3.2), width_ratios=(3, 1), layout="constrained")
    above.fill_between(
        t, y.min() - 1, y.max() + 1, where=on, step="post", color="#7cfc9a", alpha=0.35, lw=0, label="gate open"
    )
    above.plot(t, y, color="#333", lw=1, label="target, towards the feet")
    above.set(xlabel="s", ylabel="mm", xlim=(0, t[-1]), ylim=(y.min() - 1, y.max() + 1))
    above.legend(loc="upper right", fontsize=8)
    bins = np.arange(0, way.max() + 1, 0.5)
    below.hist(way, bins, color="#bbb", label=f"all: RMS {np.sqrt((way**2).mean()):.1f} mm")
    below.hist(way[on], bins, color="#3a9d5d", label=f"gate open: RMS {np.sqrt((way[on] ** 2).mean()):.1f} mm")
    below.set(xlabel="mm from the planned place", ylabel="frames", title=f"duty cycle {100 * on.mean():.0f} %")
    below.legend(fontsize=8)
    figure.savefig(target, dpi=110)
    print(target)


if __name__ == "__main__":
    main(*sys.argv[1:])
