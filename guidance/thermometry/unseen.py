"""Dose of a region that nobody saw: a finite upper bound over frames and voxels without temperature.

Between two sights the warmest voxel of the region cannot have risen faster than tissue does while energy could
flow, nor faster than heat spreads while it could not, and it must have come back to what was seen next. The dose of
that tent (CEM43, `guidance.thermometry.dose`) is added to every voxel of the region. A voxel that is missing while
its region is seen counts as warm as the warmest one that is seen.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from guidance.thermometry.dose import mean_rate
from guidance.thermometry.frame import DoseState, ThermometryFrame
from guidance.thermometry.plain import GRADED_BIT

LATE_PERIODS = 1.5  # a longer step between two frames has a frame missing


@dataclass(frozen=True, kw_only=True)
class Worst:
    """What tissue can do at the worst while it is not seen, in degC and degC/s."""

    heat_c_per_s: float = 5.0  # while energy may flow; also how fast a peak can have cooled again
    rest_c_per_s: float = 0.5  # while it may not: heat that spreads from the warmest tissue seen
    ceiling_c: float = 100.0


def gap_dose_min(
    start_c: float, end_c: float | None, gap_s: float, energy_s: float, hottest_c: float, worst: Worst
) -> float:
    """Upper bound in CEM43 minutes over `gap_s` seconds from `start_c` to `end_c` (None = not seen again yet).

    For `energy_s` of them energy may have flowed; without it nothing gets warmer than `hottest_c` or than it was.
    """
    heated_s = min(energy_s, gap_s)
    level = min(start_c + worst.heat_c_per_s * heated_s, worst.ceiling_c)
    level = max(level, min(level + worst.rest_c_per_s * (gap_s - heated_s), hottest_c), start_c)
    if end_c is not None:
        apex = 0.5 * (start_c + end_c + worst.heat_c_per_s * gap_s)
        level = max(min(level, apex), start_c, end_c)
    fall_c = level if end_c is None else end_c
    rise_s, fall_s = (level - start_c) / worst.heat_c_per_s, (level - fall_c) / worst.heat_c_per_s
    stay_s = max(gap_s - rise_s - fall_s, 0.0)
    ends = np.array([[start_c, level], [level, level], [level, fall_c]])
    return float(mean_rate(ends[:, 0], ends[:, 1]) @ np.array([rise_s, stay_s, fall_s])) / 60.0


class RegionDose:
    """Upper bound of the dose in one region of a stream with `period_s`; `cut` says which voxels it has."""

    def __init__(self, period_s: float, worst: Worst) -> None:
        self._period_s, self._worst = period_s, worst
        self._gaps_min = self._bound_min = 0.0
        self._mask: NDArray[np.bool_] = np.zeros((0, 0, 0), np.bool_)
        self._graded: NDArray[np.bool_] = np.zeros(0, np.bool_)
        self._missed_min = np.zeros(0, np.float64)
        self._seen_s: float | None = None
        self._upper_c = self._hottest_c = math.nan
        self._energy_s = 0.0  # on the clock of `update`, when the region was last seen
        self._gap = False

    def cut(self, mask: NDArray[np.bool_]) -> None:
        """From now on it is these voxels, [slice, row, column]; what any of the old ones missed, all of them have."""
        self._gaps_min += float(self._missed_min.max(initial=0.0))
        self._mask, self._gap = mask, True
        self._missed_min = np.zeros(int(np.count_nonzero(mask)), np.float64)
        self._graded = np.zeros(self._missed_min.size, np.bool_)

    def unseen(self, time_s: float, energy_s: float) -> float | None:
        """A frame at `time_s` without temperature: the bound until then, None before the first sight.

        `energy_s` is the time for which energy may have flowed since the stream began.
        """
        if self._seen_s is None:
            return None
        self._gap = True
        gap_s = max(time_s - self._seen_s, 0.0)
        open_min = gap_dose_min(self._upper_c, None, gap_s, energy_s - self._energy_s, self._hottest_c, self._worst)
        return self._bound_min + open_min

    def seen(self, frame: ThermometryFrame, upper_c: float, hottest_c: float, energy_s: float) -> float:
        """A frame with temperature in the region: the bound in minutes.

        `upper_c` is the upper temperature of the region's warmest voxel, `hottest_c` that of the whole map.
        """
        graded = (frame.dose.marks[self._mask] & GRADED_BIT) > 0
        if self._seen_s is not None:
            step_s = frame.time_s - self._seen_s
            if self._gap or step_s > LATE_PERIODS * self._period_s:
                spent_s = energy_s - self._energy_s
                self._gaps_min += gap_dose_min(self._upper_c, upper_c, step_s, spent_s, self._hottest_c, self._worst)
            elif not (graded & self._graded).all():
                gain = float(mean_rate(np.array(self._upper_c), np.array(upper_c))) * step_s / 60.0
                self._missed_min += np.where(graded & self._graded, 0.0, gain)
        self._seen_s, self._gap, self._graded = frame.time_s, False, graded
        self._upper_c, self._hottest_c, self._energy_s = upper_c, max(hottest_c, upper_c), energy_s
        self._bound_min = self._gaps_min + float((self._measured(frame) + self._missed_min).max(initial=0.0))
        return self._bound_min

    def _measured(self, frame: ThermometryFrame) -> NDArray[np.float64]:
        """The upper bound of what was measured, whether or not steps are missing in it."""
        state = frame.dose
        here = DoseState(state.dose_min[self._mask], state.variance[self._mask], state.marks[self._mask])
        bound = here.upper(frame.repeated_sigma_c[self._mask], np.ones(here.dose_min.shape, np.bool_))
        return np.where(here.dose_min > 0.0, bound, 0.0).astype(np.float64)
