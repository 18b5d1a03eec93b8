"""Motion of organs: measured, predicted, gated on and compensated for. Pure functions and small state objects."""

from guidance.motion.flow import PROMPT, DenseFlow, Flow, FlowSettings, estimate_displacement, single_threaded
from guidance.motion.prediction import Forecast, PositionPredictor, PredictionState, PredictorSettings
from guidance.motion.quality import FlowQuality, Verdict

__all__ = [
    "PROMPT",
    "DenseFlow",
    "Flow",
    "FlowQuality",
    "FlowSettings",
    "Forecast",
    "PositionPredictor",
    "PredictionState",
    "PredictorSettings",
    "Verdict",
    "estimate_displacement",
    "single_threaded",
]
