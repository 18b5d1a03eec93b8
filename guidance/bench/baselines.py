"""How well each baseline method foretells the real free-breathing series without heating.

Leave-one-out: each of the ten frames is predicted from the nine others, the fit made only outside of
a disc of radius 6 voxels; 40 discs a seed at random places in the tissue. What remains inside the disc is
apparent temperature. Run: python -m guidance.bench.baselines [folder of the recordings [method ...]]
"""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
from numpy.typing import NDArray

from guidance.thermometry.baselines import BASELINES
from guidance.thermometry.inputs import field_from_frequency, from_magnitude_phase
from guidance.thermometry.noise import measure_noise
from guidance.thermometry.prf import degrees_per_radian

ECHO_SPACING_S, FREQUENCY_MHZ = 2.46e-3, 123.259
RADIUS, DISCS, SEEDS = 6, 40, (0, 1, 2, 3, 4)
MASK_SHARE = 0.15
FLAG_C = 1.0
BEST, LIMITS_C = "hybrid", (0.5, 2.6)  # what the best method must reach: median, 90th percentile
DATA = Path(__file__).parents[3] / "shared" / "data"


@dataclass(frozen=True)
class Score:
    """Apparent temperature (degC RMS) over discs and frames, and how well the method's own sigma warned.

    `caught` is the share of discs beyond 1 degC with a predicted RMS beyond 1 degC, `false` the
    share of the others that were flagged; `valid_*` counts only voxels whose sigma is at most 3 degC.
    """

    method: str
    median_c: float
    p90_c: float
    worst_c: float
    valid_median_c: float
    valid_p90_c: float
    caught: float
    false: float


def load_series(folder: Path) -> tuple[NDArray[np.complex64], NDArray[np.bool_]]:
    """Frames [time, row, column] whose phase is that of one echo spacing, and the tissue mask."""
    place = folder / "thermometry" / "free_breathing_gre_3t" / "realtime_fmap"
    first, second, phase = (
        np.asanyarray(nibabel.load(place / f"sub-realtime_{name}.nii.gz").dataobj)[:, :, 0].transpose(2, 0, 1)
        for name in ("magnitude1", "magnitude2", "phasediff")
    )
    magnitude = 0.5 * (first.astype(np.float32) + second)
    mean = magnitude.mean(axis=0)
    with np.errstate(divide="ignore"):  # phase noise of a difference is that of both echoes
        effective = 1.0 / np.hypot(1.0 / first, 1.0 / second)
    return from_magnitude_phase(effective, phase, unit="0..4095 inclusive"), mean > MASK_SHARE * mean.max()


def discs_of(tissue: NDArray[np.bool_], seed: int) -> list[NDArray[np.bool_]]:
    """Discs of tissue around DISCS random tissue voxels."""
    places = np.argwhere(tissue)
    rng = np.random.default_rng(seed)
    row, column = np.indices(tissue.shape)
    chosen = places[rng.choice(len(places), DISCS, replace=False)]
    return [((row - y) ** 2 + (column - x) ** 2 <= RADIUS**2) & tissue for y, x in chosen]


def score(method: str, frames: NDArray[np.complex64], tissue: NDArray[np.bool_], seeds: tuple[int, ...]) -> Score:
    """The score of one method over all seeds, discs and frames."""
    scale = degrees_per_radian(ECHO_SPACING_S, field_from_frequency(FREQUENCY_MHZ))
    noise = measure_noise(list(frames))
    errors, predicted, shown = [], [], []
    discs = [disc for seed in seeds for disc in discs_of(tissue, seed)]
    for left_out in range(len(frames)):
        baseline = BASELINES[method]()
        for index, frame in enumerate(frames):
            if index != left_out:
                baseline.learn(frame[None])
        now = frames[left_out]
        for disc in discs:
            found = baseline.estimate(now[None], (tissue & ~disc)[None], disc[None])
            change = (np.angle(now * found.image[0].conj()) * scale)[disc]
            model = np.broadcast_to(found.model_rad, found.image.shape)[0][disc]
            thermal = (1.0 + 1.0 / found.averaged) * (noise / np.abs(now[disc])) ** 2
            sigma = abs(scale) * np.sqrt(thermal + model**2)
            valid = sigma <= 3.0
            errors.append(np.sqrt(np.mean(change**2)))
            predicted.append(np.sqrt(np.mean(sigma**2)))
            if valid.any():
                shown.append(np.sqrt(np.mean(change[valid] ** 2)))
    rms, own = np.array(errors), np.array(predicted)
    bad = rms > FLAG_C
    return Score(
        method,
        float(np.median(rms)),
        float(np.percentile(rms, 90)),
        float(rms.max()),
        float(np.median(shown)) if shown else float("nan"),
        float(np.percentile(shown, 90)) if shown else float("nan"),
        float(np.mean(own[bad] > FLAG_C)) if bad.any() else 1.0,
        float(np.mean(own[~bad] > FLAG_C)),
    )


def rows(quick: bool) -> list[dict[str, Any]]:
    """Median and 90th percentile of each method in `ratio`, degC; the worst disc and the flags beside it.

    FileNotFoundError where the recordings are not.
    """
    frames, tissue = load_series(DATA)
    table = []
    for method in BASELINES:
        s = score(method, frames, tissue, SEEDS[:1] if quick else SEEDS)
        flags = f"worst {s.worst_c:.1f}, beyond 1 degC flagged {s.caught:.0%} (others {s.false:.0%})"
        for name, value, limit in (("median", s.median_c, LIMITS_C[0]), ("90th percentile", s.p90_c, LIMITS_C[1])):
            held = value <= limit or method != BEST
            row: dict[str, Any] = {
                "name": f"{method}, {name}, degC",
                "size": "discs",
                "ours_ms": None,
                "peer": flags,
                "peer_ms": None,
            }
            table.append(row | {"ratio": value, "limit": limit if method == BEST else None, "ok": held})
    return table


def main() -> None:
    """Print the table of all methods."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else DATA
    frames, tissue = load_series(folder)
    print(f"{len(frames)} frames, {np.count_nonzero(tissue)} voxels, {DISCS} discs, seeds {SEEDS}; degC RMS")
    print("method      median    p90  worst | shown: median  p90 | beyond 1 degC caught  false")
    for method in sys.argv[2:] or BASELINES:
        s = score(method, frames, tissue, SEEDS)
        print(
            f"{method:<11} {s.median_c:6.2f} {s.p90_c:6.2f} {s.worst_c:6.1f} |"
            f" {s.valid_median_c:12.2f} {s.valid_p90_c:6.2f} | {s.caught:20.0%} {s.false:6.0%}"
        )


if __name__ == "__main__":
    main()
