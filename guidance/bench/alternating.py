"""Narrow foci heated in turn: is the filtered map better than the raw one, and with which source in the filter?

`one`: the filter knows only that something heats. `each`: what every focus absorbs is learned apart and put back when
the beam returns. `beam`: the filter is told the shape of the focus, with a power that is 20 % off, as in the rooms that
have a [heating.beam]. Truth is the simulator's, 3 T, TE 16 ms, SNR 30. Run: guidance bench alternating
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from guidance.thermometry import ThermometryPipeline, ThermometrySettings
from guidance.thermometry.kalman import BioheatFilter, FilterSettings
from guidance.tissue import BioheatModel, Tissue
from guidance.tissue.beam import Beam
from guidance.trial import build

SEEDS, QUICK_SEEDS = 6, 1
START_NS = 10**18
FRAME_S, SHAPE, PIXEL_MM, SLICE_MM = 0.5, (3, 64, 64), 2.0, 4.0
REFERENCES, HEATED_S, COOLED_S, POWER_W = 12, 40.0, 20.0, 60.0
DWELLS_S = (1.0, 5.0)  # of the beam at one focus
FOCI_MM = ((0.0, 0.0, 5.0), (5.0, 0.0, 0.0), (0.0, 0.0, -5.0), (-5.0, 0.0, 0.0))
ONE, EACH, TOLD = "one", "each", "beam"
UNKNOWN = FilterSettings(absorption_start=10.0)  # degC/s: what a focus may do, when nothing is known of it
KNOWN = FilterSettings(absorption_mean=1.0, absorption_start=0.4)
BEAM = Beam((-1.0, 0.0, 0.0), 5.0, 2.0, 0.15, 0.05, 20.0, 90.0)  # the simulator's focus has a share of 0.19


def scenario() -> dict[str, Any]:
    """A patient who holds their breath, a scanner, a beam as narrow as the simulator's default."""
    sequence = {"snr": 30.0, "echo_time_s": 0.016, "field_t": 3.0, "drift_hz_per_min": 0.3}
    scanner = {"rate_hz": 1.0 / FRAME_S, "shape": list(SHAPE), "pixel_mm": PIXEL_MM, "slice_mm": SLICE_MM}
    return {
        "build": "sim.scenario.build",
        "world": {"breathing": {"amplitude_mm": 0.0, "drift_mm_per_min": 0.0, "hysteresis_mm": 0.0}},
        "peers": [{"peer": "sim.scanner.Scanner", "link": "mr", "with": scanner | {"sequence": sequence}}],
    }


def errors(seed: int, dwell_s: float) -> dict[str, float]:
    """RMS error in the heated tissue of the raw map and of both filters, degC, against what they say of themselves."""
    room = build(scenario(), seed, START_NS)
    world, signal = room.truth.world, room.truth.scanners[0].signal
    rng = np.random.default_rng([seed, 7])
    points = signal.points_mm.reshape(*SHAPE, 3)
    near = np.linalg.norm(points - world.target_mm, axis=-1) <= 15.0
    settings = ThermometrySettings(
        echo_time_s=0.016, field_t=3.0, t0_c=37.0, t0_sigma_c=0.0, drift_order=1, reference_dynamics=REFERENCES
    )
    pipeline = ThermometryPipeline(settings, heated=np.linalg.norm(points - world.target_mm, axis=-1) <= 24.0)
    model = BioheatModel(SHAPE, (SLICE_MM, PIXEL_MM, PIXEL_MM), Tissue())
    filters = {name: BioheatFilter(model, 37.0, 0.5, how)
               for name, how in ((ONE, UNKNOWN), (EACH, UNKNOWN), (TOLD, KNOWN))}  # fmt: skip
    foci = [world.target_mm + np.array(row) for row in FOCI_MM]
    flat = points.reshape(-1, 3)
    heat = [POWER_W * BEAM.focal_c_per_s(flat, at, model.tissue).reshape(SHAPE).astype(np.float32) for at in foci]
    none = np.zeros(SHAPE, np.float32)
    learned: dict[int, Any] = {}
    rows: dict[str, list[NDArray[Any]]] = {name: [] for name in ("raw", "raw sigma", ONE, EACH, TOLD, "told sigma")}
    heated = round(HEATED_S / FRAME_S)
    focus = -1
    for number in range(REFERENCES + heated + round(COOLED_S / FRAME_S)):
        now_ns = START_NS + round((1.0 + number * FRAME_S) * 1e9)
        beat = number - REFERENCES
        frame = pipeline.update(signal.frame(now_ns, rng), number * FRAME_S)
        if frame.state == "ok":
            on = 0 < beat <= heated
            sigma = np.where(frame.valid, frame.sigma_c, np.inf).astype(np.float32)
            power: dict[str, Any] = {ONE: float(on), EACH: float(on), TOLD: heat[focus] if on else none}
            found = {
                name: kalman.update(
                    frame.temperature_c, sigma, number * FRAME_S, power=power[name], shared_sigma_c=frame.shared_sigma_c
                )
                for name, kalman in filters.items()
            }
            true = signal.temperature_c(now_ns)
            here = near & frame.valid & (true > 38.0)
            wrong = [found[name].temperature_c - true for name in (ONE, EACH, TOLD)]
            values = (frame.temperature_c - true, sigma, *wrong, found[TOLD].sigma_c)
            for name, value in zip(rows, values, strict=True):
                rows[name].append(value[here])
        if 0 <= beat < heated:
            wanted = int(beat * FRAME_S / dwell_s) % len(FOCI_MM)
            if wanted != focus:
                learned[focus] = filters[EACH].absorption_state
                filters[EACH].change_source(learned.get(wanted))
                focus = wanted
            world.drive(now_ns, POWER_W, foci[focus])
        elif beat == heated:
            world.drive(now_ns, 0.0, world.target_mm)
    rms = {name: float(np.sqrt(np.mean(np.square(np.concatenate(value))))) for name, value in rows.items()}
    return {
        "raw, degC": rms["raw"],
        "raw / sigma": rms["raw"] / rms["raw sigma"],
        "one source, degC": rms[ONE],
        "source of each focus, degC": rms[EACH],
        "beam known, degC": rms[TOLD],
        "beam known / sigma": rms[TOLD] / rms["told sigma"],
    }


def rows(quick: bool) -> list[dict[str, Any]]:
    """Median over seeds for each dwell; held where the filter that knows its source is better than the raw map."""
    found = []
    for dwell_s in DWELLS_S:
        seeds = [errors(seed, dwell_s) for seed in range(1, 1 + (QUICK_SEEDS if quick else SEEDS))]
        median = {name: float(np.median([row[name] for row in seeds])) for name in seeds[0]}
        spread = {name: (min(row[name] for row in seeds), max(row[name] for row in seeds)) for name in seeds[0]}
        for name, value in median.items():
            row: dict[str, Any] = {"name": f"foci in turn, {dwell_s:g} s each: {name}", "size": f"{len(seeds)} seeds"}
            low, high = spread[name]
            row |= {"ratio": value, "peer": f"{low:.3g} .. {high:.3g}", "ok": True}
            if name == "beam known, degC":
                row |= {"limit": median["raw, degC"], "ok": value < median["raw, degC"]}
            found.append(row)
    return found
