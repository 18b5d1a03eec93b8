"""Where the phase would be without heating: one small module per method, all with one face."""

from collections.abc import Callable

from guidance.thermometry.baselines.face import Baseline, Estimate
from guidance.thermometry.baselines.mean import FirstBaseline, MeanBaseline

BASELINES: dict[str, Callable[[], Baseline]] = {
    "single": FirstBaseline,
    "mean": MeanBaseline,
}

__all__ = ["BASELINES", "Baseline", "Estimate"]
