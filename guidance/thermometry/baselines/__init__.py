"""Where the phase would be without heating: one small module per method, all with one face."""

from collections.abc import Callable

from guidance.thermometry.baselines.face import Baseline, Estimate
from guidance.thermometry.baselines.linear import hybrid_baseline, pca_baseline
from guidance.thermometry.baselines.mean import FirstBaseline, MeanBaseline
from guidance.thermometry.baselines.nearest import NearestBaseline
from guidance.thermometry.baselines.referenceless import HarmonicBaseline, PolynomialBaseline

BASELINES: dict[str, Callable[[], Baseline]] = {
    "single": FirstBaseline,
    "mean": MeanBaseline,
    "nearest": NearestBaseline,
    "pca": pca_baseline,
    "hybrid": hybrid_baseline,
    "polynomial": PolynomialBaseline,
    "harmonic": HarmonicBaseline,
}

__all__ = ["BASELINES", "Baseline", "Estimate"]
