"""Maps that follow the tissue, against truth: a phantom that is heated while it breathes, with and without.

Each seed is another patient, another breath and fresh complex noise; all ways see the same pixels. Dose is compared
at material points. Run: guidance bench following, or scripts/following_graph.py for a picture as well.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import map_coordinates

from guidance.bench.truth_thermometry import row_of
from guidance.lanes.following import Follower
from guidance.thermometry import ThermometryFrame, ThermometryPipeline, ThermometrySettings
from guidance.thermometry.dose import mean_rate
from guidance.thermometry.kalman import BioheatFilter, FilterSettings
from guidance.tissue import BioheatModel, Tissue
from guidance.trial import build

SEEDS, QUICK_SEEDS = 20, 2
STEP_NS, PARTS = 200_000_000, 4  # of a frame, and the parts of it in which truth is integrated
SHAPE, PIXEL_MM, SLICE_MM = (1, 96, 96), 2.0, 5.0
FIRST, LEARN, HEAT_FRAMES, COOL_FRAMES = 24, 30, 40, 15
POWER_W, NECROSIS_MIN = 300.0, 240.0
HEATED_MM, BRIDGED_MM, NEAR_MM, OUTLINE_MM = 27.0, 22.0, 12.0, 12.0
AMPLITUDES_MM = {"at rest": 0.0, "15 mm breathing": 15.0}
STILL, FOLLOWED, FILTERED = "not followed", "followed", "followed, filtered"
FILTER = FilterSettings(model_share=0.012, absorption_start=10.0)
Map = NDArray[Any]


def scenario(amplitude_mm: float, voxel_mm: float = 1.0) -> dict[str, Any]:
    """The patient, and a sagittal scanner through its target."""
    sequence = {"snr": 100.0, "drift_hz_per_min": 0.3}
    scanner = {"plane": "sagittal", "rate_hz": 5.0, "shape": list(SHAPE), "pixel_mm": PIXEL_MM, "slice_mm": SLICE_MM}
    heat = {"efficiency": 0.075, "focus_sigma_mm": [6.0, 4.0, 4.0], "near_share": 0.0, "voxel_mm": voxel_mm}
    breathing = {"amplitude_mm": amplitude_mm, "period_s": 4.2, "drift_mm_per_min": 0.0}
    return {
        "build": "sim.scenario.build",
        "world": {"breathing": breathing, "heat": heat},
        "peers": [{"peer": "sim.scanner.Scanner", "link": "mr", "with": scanner | {"sequence": sequence}}],
    }


@dataclass(frozen=True)
class Outcome:
    """Dose (rows, columns), CEM43 minutes, measured and true at the same material points; error of T near the target,
    degC RMS, the median over frames."""

    dose: Map
    true: Map
    error_c: float

    @property
    def peak_ratio(self) -> float:
        """Largest dose over the largest true one, each between its voxels: see `peak_min`."""
        return peak_min(self.dose) / peak_min(self.true)

    @property
    def voxel_ratio(self) -> float:
        """Dose of the hottest voxel over that of the hottest in truth."""
        return float(self.dose.max() / self.true.max())

    def apart_px(self) -> NDArray[np.float64]:
        """How far the 240 CEM43 outline lies outside of the true one, voxels, in 32 directions from its middle."""
        middle = np.unravel_index(self.true.argmax(), self.true.shape)
        return _outline_px(self.dose, middle) - _outline_px(self.true, middle)


def peak_min(dose: Map) -> float:
    """The maximum of (rows, columns) CEM43 minutes, with cubic splines through its logarithm.

    Where voxels of 2 mm meet a focus with a sigma of 4 mm is chance: a displacement of 0.02 px, which moves no contour,
    changes the hottest voxel by 5 %.
    """
    middle = np.unravel_index(dose.argmax(), dose.shape)
    offsets = np.linspace(-1.5, 1.5, 61)
    around = np.stack(np.meshgrid(middle[0] + offsets, middle[1] + offsets, indexing="ij"))
    return float(np.exp(map_coordinates(np.log(np.maximum(dose, 1e-3)), around, order=3).max()))


def _outline_px(dose: Map, middle: tuple[Any, ...]) -> NDArray[np.float64]:
    out = np.arange(0, OUTLINE_MM / PIXEL_MM, 0.01)
    found = []
    for angle in np.arange(32) * np.pi / 16:
        line = np.array(middle, np.float64)[:, None] + np.outer((np.sin(angle), np.cos(angle)), out)
        values = map_coordinates(np.log(np.maximum(dose, 1e-3)), line, order=3)
        found.append(out[np.argmax(values < np.log(NECROSIS_MIN))])
    return np.array(found)


class Patient:
    """The simulated patient, its frames, and its true heat."""

    def __init__(self, seed: int, amplitude_mm: float, voxel_mm: float) -> None:
        room = build(scenario(amplitude_mm, voxel_mm), seed, 0)
        self.world, self.signal = room.truth.world, room.truth.scanners[0].signal
        self.points = self.signal.points_mm
        self.around = np.linalg.norm(self.points - self.world.target_mm, axis=-1).reshape(SHAPE)

    def truth_c(self, points_mm: Map) -> Map:
        """True temperature of the tissue whose reference points are `points_mm` (N, 3)."""
        solver = self.world.tissue.solver
        return np.asarray(solver.arterial_c + self.signal.sample(solver.rise_c, points_mm))

    def live(self, k: int, power_w: float, ways: "Iterable[Way]") -> None:
        """Up to the end of frame `k`, with the truth integrated on the way."""
        for part in range(PARTS):
            at_ns = k * STEP_NS + part * STEP_NS // PARTS
            self.world.drive(at_ns, power_w, self.world.moved_mm(self.world.target_mm, at_ns))
            if k >= FIRST + LEARN:
                self.world.advance_to(at_ns)
                for way in ways:
                    way.grow(self)


class Way:
    """One way of looking at the patient: its map, what was true at its material points, its error."""

    def __init__(self, patient: Patient, follower: Follower | None) -> None:
        settings = ThermometrySettings(
            echo_time_s=0.016,
            field_t=3.0,
            t0_c=37.0,
            t0_sigma_c=0.0,
            baseline="pca",
            reference_dynamics=LEARN,
            drift_order=1,
        )
        self._pipeline = ThermometryPipeline(settings, heated=patient.around < HEATED_MM)
        self._follower = follower
        if follower:
            follower.heated = patient.around < BRIDGED_MM
        self._near = patient.around < NEAR_MM
        self._material: Map = patient.points
        self._rate: Map | None = None
        self._true = np.zeros(SHAPE)
        self.errors: list[float] = []

    def grow(self, patient: Patient) -> None:
        """A part of a frame later: the true dose at the material points."""
        over = patient.truth_c(self._material) - 43.0
        rate = np.where(over >= 0, 2.0**over, 4.0**over)
        before = rate if self._rate is None else self._rate
        self._true += 0.5 * (before + rate) * STEP_NS / PARTS / 60e9
        self._rate = rate

    def take(self, patient: Patient, pixels: Map, now_ns: int) -> ThermometryFrame | None:
        """Measure a frame; None while there is no map."""
        if self._follower:
            followed = self._follower.follow(pixels)
            if followed.verdict != "ok":
                self._material = patient.world.reference_mm(patient.points, (self._follower.chosen + 1) * STEP_NS)
                return None
            pixels = followed.pixels
        frame = self._pipeline.update(pixels, now_ns / 1e9)
        if frame.state != "ok" or now_ns <= (FIRST + LEARN + 2) * STEP_NS:
            return None
        self.errors.append(self.error_c(patient, frame.temperature_c, now_ns))
        return frame

    def error_c(self, patient: Patient, temperature_c: Map, now_ns: int) -> float:
        """RMS near the target, where the tissue of this map is."""
        seen_at = self._material if self._follower else patient.world.reference_mm(patient.points, now_ns)
        near = self._near & np.isfinite(temperature_c)
        return float(np.sqrt(np.mean((temperature_c - patient.truth_c(seen_at))[near] ** 2)))

    def outcome(self) -> Outcome:
        """At the end."""
        assert self._pipeline.dose is not None, "the reference was never complete"
        return Outcome(self._pipeline.dose.dose_min[0], self._true[0], float(np.median(self.errors)))


class Filtering:
    """The bioheat filter on the maps of a way, and the dose of its temperatures."""

    def __init__(self, way: Way) -> None:
        model = BioheatModel(SHAPE, (SLICE_MM, PIXEL_MM, PIXEL_MM), Tissue())
        self._way, self._filter = way, BioheatFilter(model, 37.0, 0.5, FILTER)
        self._last: tuple[Map, float] | None = None
        self._dose = np.zeros(SHAPE)
        self._errors: list[float] = []

    def take(self, patient: Patient, frame: ThermometryFrame, now_ns: int, power: float) -> None:
        """Filter one map; `power` is 1 where energy was on since the last."""
        sigma = np.where(frame.valid, frame.sigma_c, np.inf).astype(np.float32)
        found = self._filter.update(
            frame.temperature_c, sigma, frame.time_s, power=power, shared_sigma_c=frame.shared_sigma_c
        )
        if self._last is not None:
            rate = mean_rate(self._last[0].astype(np.float64), found.temperature_c.astype(np.float64))
            self._dose += rate * (frame.time_s - self._last[1]) / 60.0
        self._last = (found.temperature_c, frame.time_s)
        self._errors.append(self._way.error_c(patient, found.temperature_c, now_ns))

    def outcome(self) -> Outcome:
        """At the end, beside the same truth."""
        return Outcome(self._dose[0], self._way.outcome().true, float(np.median(self._errors)))


def treat(seed: int, amplitude_mm: float, *, power_w: float = POWER_W, voxel_mm: float = 1.0) -> dict[str, Outcome]:
    """Heat the patient for 8 s after the references are taken and watch it for 3; the outcome of each way."""
    patient = Patient(seed, amplitude_mm, voxel_mm)
    still, followed = Way(patient, None), Way(patient, Follower(FIRST))
    filtering = Filtering(followed)
    rng = np.random.default_rng([seed, 7])
    heat_from = FIRST + LEARN + 2
    for k in range(heat_from + HEAT_FRAMES + COOL_FRAMES):
        heats = heat_from <= k < heat_from + HEAT_FRAMES
        patient.live(k, power_w if heats else 0.0, (still, followed))
        now_ns = (k + 1) * STEP_NS
        pixels = patient.signal.frame(now_ns, rng)
        still.take(patient, pixels, now_ns)
        frame = followed.take(patient, pixels, now_ns)
        if frame is not None:
            filtering.take(patient, frame, now_ns, float(heats))
    return {STILL: still.outcome(), FOLLOWED: followed.outcome(), FILTERED: filtering.outcome()}


def measures(outcome: Outcome) -> dict[str, float]:
    """What is asked of a way."""
    apart = np.abs(outcome.apart_px())
    return {
        "T error, degC RMS": outcome.error_c,
        "peak dose / truth": outcome.peak_ratio,
        "hottest voxel / truth": outcome.voxel_ratio,
        "240 contour, mean, voxels": float(apart.mean()),
        "240 contour, largest, voxels": float(apart.max()),
    }


PEAK_LIMIT = (0.95, 1.05)
LIMITS: dict[str, tuple[float, float]] = {
    "peak dose / truth": PEAK_LIMIT,
    "240 contour, mean, voxels": (0.0, 0.5),
}


def collect(seeds: Iterable[int]) -> dict[tuple[str, str], dict[str, list[float]]]:
    """The measures of every seed by (motion, way)."""
    found: dict[tuple[str, str], dict[str, list[float]]] = {}
    for seed in seeds:
        for motion, amplitude_mm in AMPLITUDES_MM.items():
            for way, outcome in treat(seed, amplitude_mm).items():
                for name, value in measures(outcome).items():
                    found.setdefault((motion, way), {}).setdefault(name, []).append(value)
    return found


def rows(quick: bool) -> list[dict[str, Any]]:
    """One row a measure: median in `ratio`, range over the seeds in `peer`; limits are held by the followed maps."""
    return table(collect(range(1, 1 + (QUICK_SEEDS if quick else SEEDS))))


def table(found: dict[tuple[str, str], dict[str, list[float]]]) -> list[dict[str, Any]]:
    """Rows of what was collected."""
    return [
        row_of(f"{motion}, {way}: {name}", values, LIMITS.get(name) if way != STILL else None)
        for (motion, way), by_name in found.items()
        for name, values in by_name.items()
    ]
