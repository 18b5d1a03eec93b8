"""How strongly blood cools this tissue, learned from the maps while they are filtered.

One factor on the model's perfusion, common to the whole grid, is a third state of the Bioheat filter, beside the
temperature and the absorption of each voxel. How both would have come out with a slightly larger factor is
carried along (recursive prediction error method, Ljung & Soederstroem 1983, ch. 3), so every innovation tells something
of it. How sure it is, is read off how the frames' answers scatter. The factor also takes up what else carries heat off
and the model does not know, as conduction through the outer slices.
"""

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from guidance.tissue import BioheatModel, Tissue

Map = NDArray[np.float32]
LOWEST, HIGHEST = 0.1, 3.0  # of the factor
HOT_SHARE, HOT_C = 0.4, 4.0  # of the hottest rise, and at least: vessels and what the beam passes are no part of it
CHANGE = 0.15  # relative: perfusion after power-off against that which was learned
# A voxel chosen by its own estimate is one that reads too high, and what corrects that would pass for perfusion.
_AROUND = np.array([[[1, 1, 1], [1, 0, 1], [1, 1, 1]]], np.float32) / np.float32(8.0)
Z_95 = 1.6448536269514722
MEMORY_S = 120.0  # coagulation and heat change perfusion


@dataclass(frozen=True)
class Perfusion:
    """The factor on the model's perfusion and its standard deviation."""

    factor: float = 1.0
    sigma: float = 0.5

    def of(self, tissue: Tissue) -> Tissue:
        """The tissue with this perfusion."""
        return replace(tissue, perfusion=tissue.perfusion * self.factor)

    @property
    def spread(self) -> float:
        """Factor either way that holds the perfusion in 95 %: what was learned, and that it changes with heat."""
        return math.exp(Z_95 * math.hypot(min(self.sigma / self.factor, 1.0), CHANGE))


class PerfusionEstimate:
    """State: the factor, its information, and d(temperature)/d(factor), d(absorption)/d(factor) of every voxel."""

    def __init__(self, model: BioheatModel, prior_sigma: float) -> None:
        self._model = model
        self._prior_information = 1.0 / prior_sigma**2
        self._information = self._prior_information
        self._scatter = 0.0
        self._factor = 1.0
        self._warmer: Map = np.zeros(model.shape, np.float32)
        self._absorbing: Map = np.zeros(model.shape, np.float32)
        self._hot: NDArray[np.bool_] = np.zeros(model.shape, np.bool_)

    @property
    def now(self) -> Perfusion:
        """Factor and standard deviation.

        What the frames told scatters by their information where voxels err each on its own, and by more where
        neighbours err alike, as with a baseline of another breath: the larger counts (Huber 1967, `J / I^2`).
        """
        seen = self._information - self._prior_information
        variance = (self._prior_information + max(seen, self._scatter)) / self._information**2
        return Perfusion(self._factor, math.sqrt(variance))

    def predict(self, temperature_c: Map, step_s: float, power: float | Map) -> None:
        """Before the filter's own step of `step_s` from `temperature_c`."""
        model = self._model
        base = np.float32(model.tissue.arterial_c)
        rise = temperature_c - base
        around = ndimage.convolve(rise, _AROUND, mode="nearest")
        self._hot = around > max(HOT_C, HOT_SHARE * float(around.max()))
        source = self._absorbing * np.float32(power) - np.float32(model.tissue.perfusion_rate) * rise
        self._warmer = model.advance(base + self._warmer, step_s, source) - base
        kept = math.exp(-step_s / MEMORY_S)
        self._information = max(self._prior_information, self._information * kept)
        self._scatter *= kept

    def learn(self, innovation: Map, total: Map, taken: NDArray[np.bool_], gain_t: Map, gain_a: Map) -> tuple[Map, Map]:
        """What the factor's correction adds to temperature and absorption after an `innovation` of variance `total`.

        The filter itself took the share `gain_t` of the innovation into temperature and `gain_a` into absorption.
        """
        weighted = np.where(taken & self._hot, self._warmer / total, np.float32(0.0))
        self._information += float(np.sum(weighted * self._warmer, dtype=np.float64))
        told = float(np.sum(weighted * innovation, dtype=np.float64))
        self._scatter += told**2
        before = self._factor
        self._factor = min(max(before + told / self._information, LOWEST), HIGHEST)
        self._model.perfusion_factor = self._factor
        self._absorbing = self._absorbing - gain_a * self._warmer
        self._warmer = self._warmer - gain_t * self._warmer
        change = np.float32(self._factor - before)
        return change * self._warmer, change * self._absorbing

    def change_source(self) -> None:
        """Another source: its absorption is not known through this one's."""
        self._absorbing = np.zeros_like(self._absorbing)
