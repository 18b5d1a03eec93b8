"""The lesion to expect after power-off: heat goes on doing damage until the tissue is below 43 degC.

The measured (better: filtered) map cools by the Pennes model without source; its dose is added to the dose so far.
Bounds come from three runs: as expected, and with temperature, perfusion and dose at either end of what they may be.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from guidance.thermometry.dose import BREAK_C, mean_rate
from guidance.tissue import BioheatModel, Tissue

Map = NDArray[np.float32]
STEP_S = 1.0
LONGEST_S = 600.0
PERFUSION_SPREAD = 1.6  # factor either way: liver perfusion between patients and with heating
Z_95 = 1.6448536269514722


@dataclass(frozen=True, eq=False)
class Forecast:
    """Dose in CEM43 minutes when the tissue has cooled, after `seconds`; `lower` and `upper` hold the truth in 95 %."""

    seconds: float
    dose_min: Map
    lower_min: Map
    upper_min: Map


@dataclass(frozen=True, eq=False)
class Outlook:
    """Where the forecast starts: temperature, its sigma, dose so far, its upper bound, grid, tissue.

    `perfusion_spread` is the factor either way that holds the tissue's perfusion in 95 %; smaller where it was learned.
    """

    temperature_c: Map
    sigma_c: Map
    dose_min: Map
    dose_upper_min: Map
    spacing_mm: tuple[float, float, float]
    tissue: Tissue
    perfusion_spread: float = PERFUSION_SPREAD


def forecast_after_power_off(start: Outlook) -> Forecast:
    """Dose to expect if power goes off now. Voxels without a temperature are taken at blood temperature."""
    blood = np.float32(start.tissue.arterial_c)
    known = np.isfinite(start.temperature_c) & np.isfinite(start.sigma_c)
    middle = np.where(known, start.temperature_c, blood)
    # Errors of voxels are independent but conduction averages them: what stays is less than one sigma each.
    spread = np.where(known, Z_95 * start.sigma_c, np.float32(0.0))
    dose = start.dose_min
    ratio = np.where(np.isfinite(start.dose_upper_min), start.dose_upper_min / np.maximum(dose, 1e-6), 1.0)
    expected, seconds = _cool(start, middle, 1.0)
    upper, _ = _cool(start, middle + spread, 1.0 / start.perfusion_spread)
    lower, _ = _cool(start, middle - spread, start.perfusion_spread)
    return Forecast(
        seconds,
        (dose + expected).astype(np.float32),
        (dose / np.maximum(ratio, 1.0) + lower).astype(np.float32),
        (dose * np.maximum(ratio, 1.0) + upper).astype(np.float32),
    )


def _cool(start: Outlook, temperature_c: NDArray[np.floating], perfusion: float) -> tuple[Map, float]:
    tissue = replace(start.tissue, perfusion=start.tissue.perfusion * perfusion)
    shape = temperature_c.shape
    return cooled_dose(BioheatModel((shape[0], shape[1], shape[2]), start.spacing_mm, tissue), temperature_c)


def cooled_dose(model: BioheatModel, temperature_c: NDArray[np.floating]) -> tuple[Map, float]:
    """Dose gained until every voxel is below 43 degC (at most LONGEST_S), and how long that takes."""
    shape = temperature_c.shape
    now = temperature_c.astype(np.float32)
    gained = np.zeros(shape)
    seconds = 0.0
    while seconds < LONGEST_S and float(now.max()) >= BREAK_C:
        after = model.advance(now, STEP_S)
        hot = np.maximum(now, after) > BREAK_C - 6.0
        gained[hot] += mean_rate(now[hot].astype(np.float64), after[hot].astype(np.float64)) * (STEP_S / 60.0)
        now, seconds = after, seconds + STEP_S
    return gained.astype(np.float32), seconds
