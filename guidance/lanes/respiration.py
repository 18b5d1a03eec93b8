"""The guard lane's part of respiratory surrogates: one number a breath rises and falls with, now and ahead."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from guidance.motion import PositionPredictor, PredictionState
from guidance.motion.surrogate import MarkerBreath, SurrogateValue, navigator_mm

Facts = dict[str, float | int | str | bool | None]
Result = tuple[Facts, dict[str, Any]]
LEARN_S = 10.0  # two breaths: what an external marker's direction of motion is learnt from
LEAST_SAMPLES = 10


class RespirationWork:
    """State of every surrogate stream of a room. Called by one thread, a sample at a time."""

    def __init__(self) -> None:
        self._streams: dict[str, _Surrogate] = {}

    def respiration(
        self, stream: str, sample: NDArray[Any], spacing_mm: float, acquired_ns: int, horizon_s: float
    ) -> Result:
        """One sample: a marker's position (3,) mm, or with `spacing_mm` above 0 a navigator's profile (n,).

        Raises ValueError for a profile of another length than the first.
        """
        known = self._streams.get(stream)
        if known is None:
            known = self._streams[stream] = _Navigator(sample, spacing_mm) if spacing_mm > 0 else _Marker()
        return known.facts(np.asarray(sample, np.float64), acquired_ns / 1e9, horizon_s), {}


class _Surrogate:
    """Value, and where it will be `horizon_s` later."""

    def __init__(self) -> None:
        self._predictor = PositionPredictor()

    def value(self, sample: NDArray[np.float64], t_s: float) -> SurrogateValue | None:
        raise NotImplementedError

    def facts(self, sample: NDArray[np.float64], t_s: float, horizon_s: float) -> Facts:
        found = self.value(sample, t_s)
        if found is None:
            return {"state": "learning", "usable": False, "quality": 0.0}
        facts: Facts = {
            "state": found.verdict.value,
            "usable": found.verdict.usable,
            "quality": found.quality,
            "value_mm": found.value,
        }
        if not found.verdict.usable:
            return facts
        self._predictor.update(t_s, found.value)
        forecast = self._predictor.forecast(horizon_s)
        facts["ahead.state"] = forecast.state.value
        if forecast.state is PredictionState.OK:
            facts |= {
                "ahead.s": horizon_s,
                "ahead.mm": float(forecast.position_mm),
                "ahead.sigma_mm": float(forecast.sigma_mm),
            }
        return facts


class _Marker(_Surrogate):
    """An external marker: its main direction of motion is learnt from the first `LEARN_S`."""

    def __init__(self) -> None:
        super().__init__()
        self._learnt: list[tuple[float, NDArray[np.float64]]] = []
        self._breath: MarkerBreath | None = None

    def value(self, sample: NDArray[np.float64], t_s: float) -> SurrogateValue | None:
        if self._breath is None:
            self._learnt.append((t_s, sample))
            positions = np.array([position for _, position in self._learnt])
            ready = t_s - self._learnt[0][0] >= LEARN_S and len(positions) >= LEAST_SAMPLES
            if not ready or not np.ptp(positions, axis=0).max() > 0:
                return None
            self._breath, self._learnt = MarkerBreath(positions), []
        return self._breath.value(sample)


class _Navigator(_Surrogate):
    """A navigator's profile against the first one."""

    def __init__(self, reference: NDArray[Any], spacing_mm: float) -> None:
        super().__init__()
        self._reference, self._spacing_mm = np.asarray(reference, np.float64), spacing_mm

    def value(self, sample: NDArray[np.float64], t_s: float) -> SurrogateValue | None:
        return navigator_mm(self._reference, sample, self._spacing_mm)
