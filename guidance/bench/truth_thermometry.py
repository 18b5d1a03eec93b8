"""Thermometry against truth: the simulator's (3 T, TE 16 ms, SNR 30) and heating laid over real frames.

Each seed has fresh complex noise. The simulator's solver of heat is its own; the filter and the forecast know
nothing of it. Run: python -m guidance bench truth_thermometry, or with plots: python -m guidance.bench.truth_plots
"""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from contourpy import contour_generator
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import cKDTree

from guidance.bench import baselines
from guidance.thermometry import ThermometryPipeline, ThermometrySettings
from guidance.thermometry.dose import cem43
from guidance.thermometry.forecast import Outlook, forecast_after_power_off
from guidance.thermometry.inputs import field_from_frequency
from guidance.thermometry.kalman import BioheatFilter, FilterSettings
from guidance.thermometry.noise import measure_noise
from guidance.thermometry.perfusion import Perfusion
from guidance.tissue import BioheatModel, Tissue
from guidance.trial import build

SEEDS, QUICK_SEEDS = 20, 3
START_NS = 10**18
FRAME_S, SHAPE, PIXEL_MM, SLICE_MM = 0.5, (3, 64, 64), 2.0, 4.0
REFERENCES, HEATED_S, COOLED_S = 24, 20.0, 40.0
POWER_W = 150.0
SUB_STEPS = 4  # of a frame, over which the true temperature is integrated to the true dose
NECROSIS_MIN = 240.0
LINE_STEPS = 4  # points between two corners of a line
Map = NDArray[Any]


@dataclass(eq=False)
class Session:
    """One heated session: what was measured, filtered and true, over frames, and the doses at power-off."""

    measured: Map
    sigma: Map
    filtered: Map
    filtered_sigma: Map
    truth: Map
    valid: Map
    dose: Map
    upper: Map
    true_dose: Map
    forecast: Map
    forecast_lower: Map
    forecast_upper: Map
    final_dose: Map
    times: Map
    off: int  # index of the first frame after power-off
    near: Map  # liver and tumour within 18 mm of the focus, no vessel


def scenario(amplitude_mm: float) -> dict[str, Any]:
    """The simulated patient of this bench."""
    sequence = {"snr": 30.0, "echo_time_s": 0.016, "field_t": 3.0, "drift_hz_per_min": 0.5}
    scanner = {"rate_hz": 1.0 / FRAME_S, "shape": list(SHAPE), "pixel_mm": PIXEL_MM, "slice_mm": SLICE_MM}
    return {
        "build": "sim.scenario.build",
        "world": {
            "breathing": {"amplitude_mm": amplitude_mm, "drift_mm_per_min": 0.0, "hysteresis_mm": 0.0},
            "heat": {"focus_sigma_mm": [8.0, 6.0, 6.0], "near_share": 0.05},
        },
        "peers": [{"peer": "sim.scanner.Scanner", "link": "mr", "with": scanner | {"sequence": sequence}}],
    }


def session(seed: int, amplitude_mm: float = 0.0) -> Session:
    """Heat the simulated patient for HEATED_S and watch it cool."""
    room = build(scenario(amplitude_mm), seed, START_NS)
    truth, scanner = room.truth, room.truth.scanners[0]
    world, signal = truth.world, scanner.signal
    rng = np.random.default_rng([seed, 7])
    focus = world.target_mm
    points = signal.points_mm.reshape(*SHAPE, 3)
    near = np.linalg.norm(points - focus, axis=-1) <= 18.0
    settings = ThermometrySettings(
        echo_time_s=0.016, field_t=3.0, t0_c=37.0, t0_sigma_c=0.0, drift_order=1,
        baseline="hybrid" if amplitude_mm else "mean", reference_dynamics=REFERENCES,
    )  # fmt: skip
    pipeline = ThermometryPipeline(settings, heated=np.linalg.norm(points - focus, axis=-1) <= 24.0)
    model = BioheatModel(SHAPE, (SLICE_MM, PIXEL_MM, PIXEL_MM), Tissue())
    kalman = BioheatFilter(model, 37.0, 0.5, FilterSettings(perfusion_spread=0.5, model_share=0.012))
    rows: dict[str, list[Map]] = {name: [] for name in ("measured", "sigma", "filtered", "fsigma", "truth", "valid")}
    heated, total = round(HEATED_S / FRAME_S), round((HEATED_S + COOLED_S) / FRAME_S)
    at_off: dict[str, Map] = {}
    history: list[Map] = []
    for number in range(REFERENCES + total):
        now_ns = START_NS + round((1.0 + number * FRAME_S) * 1e9)
        beat = number - REFERENCES
        if 0 <= beat <= heated:
            carried = world.moved_mm(focus, now_ns)
            world.drive(now_ns, POWER_W if beat < heated else 0.0, carried)
        steps = (now_ns - round((1.0 - step / SUB_STEPS) * FRAME_S * 1e9) for step in range(1, SUB_STEPS))
        history += [signal.temperature_c(at_ns) for at_ns in steps]
        pixels = signal.frame(now_ns, rng)
        history.append(signal.temperature_c(now_ns))
        frame = pipeline.update(pixels, number * FRAME_S)
        if beat < 0:
            continue
        sigma = np.where(frame.valid, frame.sigma_c, np.inf).astype(np.float32)
        found = kalman.update(
            frame.temperature_c, sigma, number * FRAME_S, power=float(0 < beat <= heated),
            shared_sigma_c=frame.shared_sigma_c,
        )  # fmt: skip
        true = signal.temperature_c(now_ns)
        for name, value in zip(
            rows, (frame.temperature_c, sigma, found.temperature_c, found.sigma_c, true, frame.valid), strict=True
        ):
            rows[name].append(value)
        if beat == heated:
            at_off = {"dose": frame.dose_cem43_min, "upper": frame.dose_upper_cem43_min, "true": _dose(history)}
            learned = kalman.perfusion or Perfusion()
            outlook = Outlook(
                found.temperature_c, found.sigma_c, frame.dose_cem43_min, frame.dose_upper_cem43_min,
                (SLICE_MM, PIXEL_MM, PIXEL_MM), learned.of(Tissue()), learned.spread,
            )  # fmt: skip
            ahead = forecast_after_power_off(outlook)
    stacks = {name: np.stack(values) for name, values in rows.items()}
    liquid = signal.temperature_c(now_ns) < 37.3  # at the end: a vessel is cold at once, and so is what was not heated
    tissue = near & ~(liquid & (stacks["truth"].max(axis=0) < 39.0))
    return Session(
        stacks["measured"], stacks["sigma"], stacks["filtered"], stacks["fsigma"], stacks["truth"], stacks["valid"],
        at_off["dose"], at_off["upper"], at_off["true"], ahead.dose_min, ahead.lower_min, ahead.upper_min,
        _dose(history), np.arange(total) * FRAME_S, heated, tissue,
    )  # fmt: skip


def _dose(history: list[Map]) -> Map:
    """Dose of the true temperatures at the voxels' middles, in image coordinates."""
    return np.asarray(cem43(np.stack(history).astype(np.float64), np.arange(len(history)) * FRAME_S / SUB_STEPS))


def contour_points(dose: Map, near: Map, level_min: float = NECROSIS_MIN) -> NDArray[np.float64]:
    """Points (slice, row, column) in in-plane voxels along the lines of `level_min`, between voxels too."""
    log_dose = np.log(np.where(near, np.maximum(dose, 1e-3), 1e-3))
    found = [np.zeros((0, 3))]
    for k, plane in enumerate(log_dose):
        for line in contour_generator(z=plane).lines(math.log(level_min)):
            line = np.asarray(line)
            steps = (np.arange(LINE_STEPS) / LINE_STEPS)[None, :, None]
            dense = (line[:-1, None] + steps * np.diff(line, axis=0)[:, None]).reshape(-1, 2)
            found.append(np.column_stack((np.full(len(dense), k * SLICE_MM / PIXEL_MM), dense[:, ::-1])))
    return np.concatenate(found)


def contour_distances(one: Map, two: Map, near: Map) -> NDArray[np.float64]:
    """Distances in voxels between the 240 CEM43 lines of two doses, both ways."""
    points = [contour_points(dose, near) for dose in (one, two)]
    if not (len(points[0]) and len(points[1])):
        return np.full(1, np.inf if len(points[0]) != len(points[1]) else 0.0)
    trees = [cKDTree(line) for line in points]
    return np.concatenate((trees[1].query(points[0])[0], trees[0].query(points[1])[0]))


def _rms(values: Map) -> float:
    return float(np.sqrt(np.mean(np.square(values, dtype=np.float64))))


def still_numbers(seed: int) -> dict[str, float]:
    """The measures of one still session."""
    s = session(seed)
    here = s.valid & s.near & (s.truth > 37.5)
    error, filtered = (s.measured - s.truth)[here], (s.filtered - s.truth)[here]
    hot = s.near & (s.true_dose >= 10.0)
    some = s.near & (s.true_dose >= 1.0)
    final, expected, now = (s.near & (dose >= NECROSIS_MIN) for dose in (s.final_dose, s.forecast, s.dose))
    growth = np.count_nonzero(final) - np.count_nonzero(now)
    found = np.count_nonzero(expected & final) - np.count_nonzero(now & final)
    upper = s.near & (s.forecast_upper >= NECROSIS_MIN)
    ahead, none = (contour_distances(s.final_dose, dose, s.near) for dose in (s.forecast, s.dose))
    radius_mm = (np.count_nonzero(final) * SLICE_MM * PIXEL_MM**2 * 0.75 / math.pi) ** (1 / 3)
    return {
        "raw RMS / sigma": _rms(error) / _rms(s.sigma[here]),
        "raw RMS, degC": _rms(error),
        "filtered RMS, degC": _rms(filtered),
        "filtered RMS / sigma": _rms(filtered) / _rms(s.filtered_sigma[here]),
        "dose bias, hot spot": float(s.dose[hot].mean() / s.true_dose[hot].mean() - 1.0),
        "240 contour, mean distance, voxels": float(contour_distances(s.true_dose, s.dose, s.near).mean()),
        "95 % bound holds the true dose": float((s.upper[some] >= s.true_dose[some]).mean()),
        "forecast contour, 95th percentile, voxels": float(np.percentile(ahead, 95)),
        "no forecast, 95th percentile, voxels": float(np.percentile(none, 95)),
        "growth recovered": found / growth if growth > 0 else 1.0,
        "forecast's upper bound holds the lesion": float((upper | ~final).mean() == 1.0),
        "lesion radius, mm": radius_mm,
        "voxel-frames": float(np.count_nonzero(here)),
    }


def breathing_numbers(seed: int) -> dict[str, float]:
    """The measures of one breathing session, in image coordinates."""
    s = session(seed, amplitude_mm=8.0)
    hot = s.valid & s.near & (s.truth > 41.0)
    return {"breathing, hot spot RMS, degC": _rms((s.measured - s.truth)[hot])}


def real_numbers(seed: int, frames: NDArray[np.complex64], tissue: NDArray[np.bool_]) -> dict[str, float]:
    """Heating laid over the real frames: 6 frames learned, 4 others heated, fresh noise in each."""
    rng = np.random.default_rng([seed, 11])
    field_t = field_from_frequency(baselines.FREQUENCY_MHZ)
    settings = ThermometrySettings(
        echo_time_s=baselines.ECHO_SPACING_S, field_t=field_t, t0_c=37.0, t0_sigma_c=0.0, drift_order=-1,
        baseline="hybrid", reference_dynamics=6, sigma_display_c=30.0, sigma_dose_c=10.0,
    )  # fmt: skip
    order = rng.permutation(len(frames))
    middle = np.argwhere(ndimage.binary_erosion(tissue, iterations=6))
    row, column = np.indices(tissue.shape)
    y, x = middle[rng.integers(len(middle))]
    distance2 = (row - y) ** 2 + (column - x) ** 2
    disc = (distance2 <= baselines.RADIUS**2) & tissue
    pipeline = ThermometryPipeline(settings, heated=(distance2 <= (2 * baselines.RADIUS) ** 2)[None])
    noise = 0.5 * float(measure_noise(list(frames)))
    errors, sigmas = [], []
    for number, index in enumerate(order):
        rise = 20.0 * np.exp(-distance2 / 18.0) * max(0, number - 5) / 4.0
        heated = frames[index] * np.exp(1j * rise / settings.degrees_per_radian())
        fresh = noise * (rng.normal(size=tissue.shape) + 1j * rng.normal(size=tissue.shape))
        frame = pipeline.update((heated + fresh)[None].astype(np.complex64), 0.787 * number)
        shown = disc & frame.valid[0] if frame.valid.size else disc & False
        if shown.any():
            errors.append((frame.temperature_c[0] - 37.0 - rise)[shown])
            sigmas.append(frame.sigma_c[0][shown])
    error, sigma = np.concatenate(errors), np.concatenate(sigmas)
    return {"real frames, RMS / sigma": _rms(error / sigma)}


# name -> (low, high) allowed for the median of the seeds; None = shown only
LIMITS: dict[str, tuple[float, float] | None] = {
    "raw RMS / sigma": (0.95, 1.05),
    "raw RMS, degC": None,
    "filtered RMS, degC": None,
    "filtered RMS / sigma": (0.9, 1.1),
    "dose bias, hot spot": (-0.05, 0.05),
    "240 contour, mean distance, voxels": (0.0, 0.5),
    "95 % bound holds the true dose": (0.93, 0.97),
    "forecast contour, 95th percentile, voxels": (0.0, 1.0),
    "no forecast, 95th percentile, voxels": None,
    "growth recovered": (0.8, 1.2),
    "forecast's upper bound holds the lesion": (0.95, 1.0),
    "lesion radius, mm": (8.0, 20.0),
    "voxel-frames": (2000.0, math.inf),
    "breathing, hot spot RMS, degC": (0.0, 1.0),
    "real frames, RMS / sigma": (0.95, 1.05),
}


def rows(quick: bool) -> list[dict[str, Any]]:
    """One row a measure: median in `ratio`, range over the seeds in `peer`."""
    seeds = range(1, 1 + (QUICK_SEEDS if quick else SEEDS))
    found: dict[str, list[float]] = {}
    folder = Path(__file__).parents[3] / "shared" / "data"
    real = baselines.load_series(folder) if folder.is_dir() else None
    for seed in seeds:
        numbers = still_numbers(seed) | breathing_numbers(seed)
        numbers |= real_numbers(seed, *real) if real else {}
        for name, value in numbers.items():
            found.setdefault(name, []).append(value)
    return [row_of(name, found[name]) for name in LIMITS if name in found]


def row_of(name: str, values: list[float], limits: tuple[float, float] | None = None) -> dict[str, Any]:
    """A row of the table: the median of the seeds against `limits`, or those of this name, where it has any."""
    limits = limits or LIMITS.get(name)
    mean = name.startswith("forecast's")
    middle = float(np.mean(values) if mean else np.median(values))
    return {
        "name": name,
        "size": f"{len(values)} seeds",
        "ours_ms": None,
        "peer": f"{min(values):.3g} .. {max(values):.3g}",
        "peer_ms": None,
        "ratio": middle,
        "limit": f"{limits[0]:g}..{limits[1]:g}" if limits else "",
        "ok": limits is None or limits[0] <= middle <= limits[1],
    }
