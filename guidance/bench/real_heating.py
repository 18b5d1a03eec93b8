"""The simulator's heat laid over real free-breathing frames: dose and forecast as well as the map, over many seeds.

Six frames are learned; the other four, in random order and each with fresh complex noise of twice the measured one,
carry the phase of a heat that the simulator's own solver made, at a random place in the tissue. Ten frames are too few
for a session: what the four frames' own noise adds repeats. Run: guidance bench real_heating
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from guidance.bench import baselines
from guidance.bench.truth_thermometry import (
    NECROSIS_MIN,
    SEEDS,
    contour_distances,
    row_of,
    scenario,
)
from guidance.thermometry import ThermometryPipeline, ThermometrySettings
from guidance.thermometry.dose import cem43
from guidance.thermometry.forecast import Outlook, forecast_after_power_off
from guidance.thermometry.inputs import field_from_frequency
from guidance.thermometry.kalman import BioheatFilter, FilterSettings
from guidance.thermometry.noise import measure_noise
from guidance.thermometry.perfusion import Perfusion
from guidance.tissue import BioheatModel, Tissue
from guidance.trial import build

FRAME_S, SUB_STEPS, LEARNED = 0.787, 4, 6
HEATED, COOLED = 26, 50  # frames
POWER_W = 95.0  # to 60 degC: above 68 the dose is clamped, and noise no longer raises it
PIXEL_MM, SLICE_MM = 2.0, 4.0
FRESH_NOISE = 2.0  # times the measured
HALF = 20  # pixels to either side of the focus in which there is heat
QUICK_SEEDS = 3
Map = NDArray[Any]


def heat() -> tuple[Map, Map]:
    """True rise (frames, 2 HALF + 1, 2 HALF + 1), degC, at each frame, and the same SUB_STEPS times as often."""
    values = scenario(0.0)
    size = 2 * HALF + 1
    values["peers"][0]["with"] |= {"shape": [1, size, size], "pixel_mm": PIXEL_MM, "slice_mm": SLICE_MM}
    truth = build(values, 1, 0).truth
    world, signal, dense = truth.world, truth.scanners[0].signal, []
    for step in range((HEATED + COOLED) * SUB_STEPS):
        now_ns = round((1.0 + step * FRAME_S / SUB_STEPS) * 1e9)
        world.drive(now_ns, POWER_W if step < HEATED * SUB_STEPS else 0.0, world.target_mm)
        dense.append(signal.temperature_c(now_ns)[0] - world.tissue.solver.arterial_c)
    fine = np.stack(dense)
    return fine[::SUB_STEPS], fine


@dataclass(eq=False)
class Lesion:
    """What one seed gave: maps over frames (frames, rows, columns), and doses (rows, columns)."""

    error: Map
    sigma: Map
    filtered_error: Map
    filtered_sigma: Map
    warm: Map
    near: Map
    dose: Map
    upper: Map
    true_dose: Map
    forecast: Map
    forecast_upper: Map
    final_dose: Map


def lesion(seed: int, frames: NDArray[np.complex64], tissue: NDArray[np.bool_], rise: Map, fine: Map) -> Lesion:
    """Heat one random place of the tissue."""
    rng = np.random.default_rng([seed, 13])
    settings = ThermometrySettings(
        echo_time_s=baselines.ECHO_SPACING_S, field_t=field_from_frequency(baselines.FREQUENCY_MHZ), t0_c=37.0,
        t0_sigma_c=0.0, drift_order=-1, baseline="hybrid", reference_dynamics=LEARNED, sigma_display_c=30.0,
        sigma_dose_c=10.0,
    )  # fmt: skip
    places = np.argwhere(ndimage.binary_erosion(tissue, iterations=baselines.RADIUS))
    y, x = places[rng.integers(len(places))]
    row, column = np.indices(tissue.shape)
    distance = np.hypot(row - y, column - x)

    def lay(values: Map) -> Map:
        padded = np.zeros((*values.shape[:-2], *(n + 2 * HALF for n in tissue.shape)), values.dtype)
        padded[..., y : y + 2 * HALF + 1, x : x + 2 * HALF + 1] = values
        return padded[..., HALF:-HALF, HALF:-HALF]

    pipeline = ThermometryPipeline(settings, heated=(distance <= 2 * baselines.RADIUS)[None])
    spacing = (SLICE_MM, PIXEL_MM, PIXEL_MM)
    kalman = BioheatFilter(
        BioheatModel((1, *tissue.shape), spacing, Tissue()), 37.0, 0.5,
        FilterSettings(perfusion_spread=0.5, model_share=0.012),
    )  # fmt: skip
    noise = FRESH_NOISE * float(measure_noise(list(frames)))
    order = rng.permutation(len(frames))
    shown = [*order[:LEARNED], *rng.choice(order[LEARNED:], len(rise))]
    kept: list[tuple[Map, ...]] = []
    at_off: dict[str, Map] = {}
    for number, index in enumerate(shown):
        beat = number - LEARNED
        warmer = lay(rise[max(beat, 0)])
        fresh = noise * (rng.normal(size=tissue.shape) + 1j * rng.normal(size=tissue.shape))
        pixels = frames[index] * np.exp(1j * warmer / settings.degrees_per_radian()) + fresh
        frame = pipeline.update(pixels[None].astype(np.complex64), FRAME_S * number)
        if beat < 0 or not frame.valid.size:
            continue
        sigma = np.where(frame.valid, frame.sigma_c, np.inf).astype(np.float32)
        found = kalman.update(
            frame.temperature_c, sigma, frame.time_s, power=float(0 < beat <= HEATED),
            shared_sigma_c=frame.shared_sigma_c,
        )  # fmt: skip
        true = 37.0 + warmer
        kept.append((frame.temperature_c[0] - true, sigma[0], found.temperature_c[0] - true, found.sigma_c[0], true))
        if beat == HEATED:
            learned = kalman.perfusion or Perfusion()
            start = Outlook(
                found.temperature_c, found.sigma_c, frame.dose_cem43_min, frame.dose_upper_cem43_min, spacing,
                learned.of(Tissue()), learned.spread,
            )  # fmt: skip
            ahead = forecast_after_power_off(start)
            at_off = {
                "dose": frame.dose_cem43_min[0], "upper": frame.dose_upper_cem43_min[0],
                "forecast": ahead.dose_min[0], "forecast_upper": ahead.upper_min[0],
            }  # fmt: skip
    error, sigma_c, filtered, filtered_sigma, true = (np.stack(rows) for rows in zip(*kept, strict=True))
    times = np.arange(len(fine)) * FRAME_S / SUB_STEPS
    until = HEATED * SUB_STEPS + 1
    near = (distance <= baselines.RADIUS) & tissue
    return Lesion(
        error, sigma_c, filtered, filtered_sigma, (true > 37.5) & near & np.isfinite(sigma_c), near,
        true_dose=np.asarray(lay(cem43(37.0 + fine[:until], times[:until]))),
        final_dose=np.asarray(lay(cem43(37.0 + fine, times))), **at_off,
    )  # fmt: skip


def _rms(values: Map) -> float:
    return float(np.sqrt(np.mean(np.square(values, dtype=np.float64))))


def numbers(found: Lesion) -> dict[str, float]:
    """The measures of one seed."""
    here, near = found.warm, found.near
    hot, some = near & (found.true_dose >= 10.0), near & (found.true_dose >= 1.0)
    final, expected, now = (near & (dose >= NECROSIS_MIN) for dose in (found.final_dose, found.forecast, found.dose))
    growth = np.count_nonzero(final) - np.count_nonzero(now)
    recovered = np.count_nonzero(expected & final) - np.count_nonzero(now & final)

    def apart(one: Map, two: Map) -> NDArray[np.float64]:
        return contour_distances(one[None], two[None], near[None])

    return {
        "sigma, degC": _rms(found.sigma[here]),
        "raw RMS / sigma": _rms(found.error[here] / found.sigma[here]),
        "raw RMS, degC": _rms(found.error[here]),
        "filtered RMS, degC": _rms(found.filtered_error[here]),
        "filtered RMS / sigma": _rms(found.filtered_error[here]) / _rms(found.filtered_sigma[here]),
        "dose bias, hot spot": float(found.dose[hot].mean() / found.true_dose[hot].mean() - 1.0),
        "240 contour, mean distance, voxels": float(apart(found.true_dose, found.dose).mean()),
        "95 % bound holds the true dose": float((found.upper[some] >= found.true_dose[some]).mean()),
        "forecast contour, 95th percentile, voxels": float(np.percentile(apart(found.final_dose, found.forecast), 95)),
        "no forecast, 95th percentile, voxels": float(np.percentile(apart(found.final_dose, found.dose), 95)),
        "growth recovered": recovered / growth if growth > 0 else 1.0,
        "forecast's upper bound holds the lesion": float(
            ((near & (found.forecast_upper >= NECROSIS_MIN)) | ~final).all()
        ),
    }


def rows(quick: bool) -> list[dict[str, Any]]:
    """One row a measure: median in `ratio`, range over the seeds in `peer`; empty where the recordings are not here."""
    folder = Path(__file__).parents[3] / "shared" / "data"
    if not folder.is_dir():
        return []
    series, (rise, fine) = baselines.load_series(folder), heat()
    found: dict[str, list[float]] = {}
    for seed in range(1, 1 + (QUICK_SEEDS if quick else SEEDS)):
        for name, value in numbers(lesion(seed, *series, rise, fine)).items():
            found.setdefault(name, []).append(value)
    return [row_of(name, values) for name, values in found.items()]
