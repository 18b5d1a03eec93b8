"""Motion of organs: measured, predicted, gated on and compensated for. Pure functions and small state objects."""

from guidance.motion.flow import DenseFlow, Flow, FlowSettings, estimate_displacement, single_threaded
from guidance.motion.quality import FlowQuality, Verdict

__all__ = [
    "DenseFlow",
    "Flow",
    "FlowQuality",
    "FlowSettings",
    "Verdict",
    "estimate_displacement",
    "single_threaded",
]
