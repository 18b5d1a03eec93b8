"""The lesion to expect if power goes off now: a job of the show lane."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from guidance.settings import Heating
from guidance.thermometry.dose import LN2
from guidance.thermometry.forecast import Outlook, forecast_after_power_off
from guidance.thermometry.frame import Z_95
from guidance.tissue import Tissue

Facts = dict[str, float | int | str | bool | None]
Result = tuple[Facts, dict[str, Any]]
Map = NDArray[np.float32]


def forecast(
    region_temperature_c: Map, region_sigma_c: Map, region_dose_min: Map, region_dose_upper_min: Map,
    region_spacing_mm: NDArray[np.float64], region_target: NDArray[np.bool_], region_treated: NDArray[np.bool_],
    region_ras: NDArray[np.float64], *, t0_c: float, cem43_min: float, over_limit_cm3: float, **rest: Any,
) -> Result:  # fmt: skip
    """Coverage of target and margin when the tissue has cooled, and what lies beyond, in cm3."""
    spacing: Sequence[float] = region_spacing_mm.tolist()
    where = (spacing[0], spacing[1], spacing[2])
    tissue = Tissue(arterial_c=t0_c)
    found = forecast_after_power_off(
        Outlook(region_temperature_c, region_sigma_c, region_dose_min, region_dose_upper_min, where, tissue)
    )
    beyond = ~region_treated & (found.upper_min >= cem43_min)
    voxel_cm3 = float(np.prod(region_spacing_mm)) / 1000.0
    beyond_cm3 = float(np.count_nonzero(beyond)) * voxel_cm3
    facts: Facts = {
        "seconds": found.seconds,
        "coverage": float((found.dose_min[region_target] >= cem43_min).mean()),
        "margin_coverage": float((found.dose_min[region_treated] >= cem43_min).mean()),
        "coverage_lower": float((found.lower_min[region_target] >= cem43_min).mean()),
        "margin_coverage_lower": float((found.lower_min[region_treated] >= cem43_min).mean()),
        "beyond_cm3": beyond_cm3,
        "over_plan": beyond_cm3 / over_limit_cm3,
    }
    return facts, {"forecast_min": found.dose_min, "forecast_upper_min": found.upper_min, "forecast_ras": region_ras}


def forecast_worker(row: Heating | None, t0_c: float) -> Callable[..., Result]:
    """The forecast job of a room, held against its own limits."""
    cem43_min, over_cm3 = (row.cem43_min, row.over_treated_cm3) if row else (240.0, 1.0)
    return partial(forecast, t0_c=t0_c, cem43_min=cem43_min, over_limit_cm3=over_cm3)


def upper_dose(dose_min: NDArray[np.float64], sigma_c: NDArray[np.floating[Any]]) -> Map:
    """95 % upper bound for an error of `sigma_c` (degC) that the temperature had all along."""
    return np.asarray(dose_min * np.exp(np.minimum(Z_95 * LN2 * sigma_c, 20.0)), np.float32)


def lower_dose(dose_min: NDArray[np.float64], sigma_c: NDArray[np.floating[Any]]) -> Map:
    """95 % lower bound, as `upper_dose`."""
    return np.asarray(dose_min * np.exp(-np.minimum(Z_95 * LN2 * sigma_c, 20.0)), np.float32)
