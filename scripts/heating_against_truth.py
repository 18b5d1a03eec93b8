"""A heated session in virtual time against the simulator's truth: temperature, sigma, dose and forecast in one picture.

.venv/bin/python scripts/heating_against_truth.py hifu_liver 2 175 docs/pictures/hifu_liver_truth.png

Only scanner, therapy device and console take part: what a tracker or a picture would add heats nothing.
"""

import json
import sys
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from guidance.core import Core
from guidance.events import JobDone
from guidance.load import config_file, load_room
from guidance.settings import read_toml
from guidance.trial import EPOCH_NS, build
from guidance.virtual import VirtualRoom

KEPT = ("mr", "therapy", "console")
SILENT = ("overlay", "map", "guided_pose", "geometry")
NECROSIS_MIN = 240.0


class Session:
    """The room, and once a second what control believed and what was true."""

    def __init__(self, procedure: str, seed: int) -> None:
        settings, plan, limits = load_room(config_file("procedures", procedure))
        outputs = tuple(
            row.model_copy(update={"to": tuple(link for link in row.to if link in KEPT)})
            for row in settings.outputs
            if row.kind not in SILENT and set(row.to) & set(KEPT)
        )
        settings = settings.model_copy(
            update={
                "links": tuple(row for row in settings.links if row.id in KEPT),
                "streams": tuple(row for row in settings.streams if row.link in KEPT),
                "tools": (), "outputs": outputs, "space": settings.space.model_copy(update={"static": ()}),
            }
        )  # fmt: skip
        raw = read_toml(config_file("scenarios", procedure))
        raw["peers"] = [row for row in raw["peers"] if row["link"] in KEPT]
        raw["links"] = [row for row in raw["links"] if row["id"] in KEPT]
        self.simulated = build(raw, seed, EPOCH_NS, procedure)
        self.core = Core(settings, plan, limits)
        self.room = VirtualRoom(self.core, self.simulated.peers, EPOCH_NS, on_sent=self.simulated.sends.note)
        self.room.watchers.append(self._watch)
        self.rows: list[dict[str, float]] = []
        self.maps: dict[str, Any] = {}
        self.forecast: dict[str, Any] = {}  # the newest while energy was on

    def _watch(self, event: Any, effects: Any) -> None:
        if not isinstance(event, JobDone) or not event.arrays:
            return
        if event.kind == "forecast" and self.core.treatment.phase.value == "TREATING":
            self.forecast = dict(event.arrays)
        seconds = (event.now_ns - EPOCH_NS) / 1e9
        if event.kind == "heating" and (not self.rows or seconds - self.rows[-1]["s"] >= 1.0):
            self._look(seconds, event)

    def _look(self, seconds: float, event: JobDone) -> None:
        maps, facts = event.arrays, event.facts
        tissue = self.simulated.truth.world.tissue
        ras, shape = maps["region_ras"], maps["region_dose_min"].shape
        points = (ras[:3, :3] @ np.indices(shape)[::-1].reshape(3, -1)).T + ras[:3, 3]
        index = ((points - np.asarray(tissue.grid.origin_mm)) / tissue.grid.voxel_mm).T

        def at(volume: NDArray[np.float64]) -> NDArray[np.float64]:
            return np.asarray(ndimage.map_coordinates(volume, index, order=3).reshape(shape))

        truth_c = at(tissue.solver.rise_c) + tissue.solver.arterial_c
        log_dose = at(np.log(tissue.solver.dose_min + 1e-9))
        self.maps = {**maps, "truth_c": truth_c, "truth_min": np.exp(log_dose)}
        target, treated = maps["region_target"], maps["region_treated"]
        error, warm = maps["region_temperature_c"] - truth_c, treated & (truth_c > 40.0)
        t10, t50, t90 = np.percentile(truth_c[target], (90.0, 50.0, 10.0))
        own = np.percentile(maps["region_temperature_c"][target], (90.0, 50.0, 10.0))
        score = self.simulated.truth.thermal[0].score()
        rms = float(np.sqrt(np.mean(error[warm] ** 2))) if warm.any() else float("nan")
        sigma = float(np.sqrt(np.mean(maps["region_sigma_c"][warm] ** 2))) if warm.any() else float("nan")
        self.rows.append({
            "s": seconds, "t10": t10, "t50": t50, "t90": t90, "own_t10": own[0], "own_t50": own[1], "own_t90": own[2],
            "rms": rms, "sigma": sigma, "target": score["target_share"], "margin": score["margin_share"],
            "own_target": float(facts["coverage"] or 0.0), "own_margin": float(facts["margin_coverage"] or 0.0),
            "lower_margin": float(facts["margin_coverage_lower"] or 0.0),
            "power": float(self.core.control.facts.get("power.power_w") or 0.0),
        })  # fmt: skip

    def run(self, seconds: float) -> dict[str, Any]:
        """Live; the true score at the end."""
        self.room.run_until(EPOCH_NS + round(seconds * 1e9))
        score: dict[str, Any] = self.simulated.truth.thermal[0].score()
        return score


def draw(session: Session, target: Path) -> None:
    """Six panels."""
    column = {key: np.array([row[key] for row in session.rows]) for key in session.rows[0]}
    s, maps = column["s"], session.maps
    figure, panels = plt.subplots(2, 3, figsize=(14, 8), layout="constrained")
    for name, colour in (("t10", "C3"), ("t50", "C1"), ("t90", "C0")):
        panels[0, 0].plot(s, column[f"own_{name}"], colour, label=f"{name.upper()} filtered")
        panels[0, 0].plot(s, column[name], "k--", lw=0.8)
    panels[0, 0].set(title="target: filtered, and truth (dashes)", xlabel="s", ylabel="degC")
    panels[0, 0].legend()
    panels[0, 1].plot(s, column["rms"], label="RMS against truth")
    panels[0, 1].plot(s, column["sigma"], label="sigma")
    panels[0, 1].set(title="error where the treated volume is above 40 degC", xlabel="s", ylabel="degC")
    panels[0, 1].legend()
    panels[0, 2].plot(s, column["margin"], "k--", label="target + margin, truth")
    panels[0, 2].plot(s, column["own_margin"], "C0", label="own estimate")
    panels[0, 2].plot(s, column["lower_margin"], "C0:", label="its lower bound")
    panels[0, 2].plot(
        s, column["power"] / max(column["power"].max(), 1.0), "0.8", zorder=0, label="power, of the largest"
    )
    panels[0, 2].set(title="share with 240 CEM43", xlabel="s")
    panels[0, 2].legend()
    hot = maps["truth_min"] > 1.0
    panels[1, 0].loglog(maps["truth_min"][hot], maps["region_dose_min"][hot], ".", ms=3)
    panels[1, 0].loglog([1, 1e8], [1, 1e8], "k--")
    panels[1, 0].set(title="dose of every voxel", xlabel="truth, CEM43 min", ylabel="estimate, CEM43 min")
    plane = maps["truth_c"].shape[0] // 2
    picture = panels[1, 1].imshow(maps["truth_c"][plane], cmap="inferno")
    panels[1, 1].contour(maps["region_temperature_c"][plane], [41, 45, 50, 55, 60], colors="c", linewidths=0.8)
    panels[1, 1].set(title="middle plane at the end: truth, and filtered 41 to 60 degC (lines)")
    figure.colorbar(picture, ax=panels[1, 1])
    panels[1, 2].imshow(np.log10(maps["truth_min"][plane] + 1e-3), cmap="gray")
    rows = [(maps["truth_min"], "w", "-"), (maps["region_dose_min"], "c", "--")]
    rows += [(session.forecast["forecast_min"], "m", ":")] if session.forecast else []
    for dose, colour, line in rows:
        panels[1, 2].contour(dose[plane], [NECROSIS_MIN], colors=colour, linestyles=line)
    panels[1, 2].contour(maps["region_treated"][plane], [0.5], colors="y", linewidths=0.8)
    panels[1, 2].set(
        title="240 CEM43: truth (white), estimate (dashes), last forecast\nwhile energy was on (dots); planned (yellow)"
    )
    figure.savefig(target, dpi=80)


def main() -> None:
    """Procedure, seed, seconds, file."""
    procedure, seed, seconds, target = sys.argv[1], int(sys.argv[2]), float(sys.argv[3]), Path(sys.argv[4])
    session = Session(procedure, seed)
    print(json.dumps(session.run(seconds)))
    draw(session, target)
    last = dict(session.rows[-1])
    own, true = session.maps["region_dose_min"], session.maps["truth_min"]
    hot = true >= NECROSIS_MIN
    if hot.any():
        ratio = np.log2(own[hot] / true[hot])
        near = (true > 60.0) & (true < 960.0)
        last |= {
            "hot_mean_bias": float(own[hot].mean() / true[hot].mean() - 1.0),
            "hot_median_log2": float(np.median(ratio)),
            "near_240_median_log2": float(np.median(np.log2(own[near] / true[near]))),
            "near_240_sd_log2": float(np.std(np.log2(own[near] / true[near]))),
        }  # fmt: skip
    print({key: round(float(value), 3) for key, value in last.items()})


if __name__ == "__main__":
    main()
