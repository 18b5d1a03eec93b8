"""Controllers of heating. They ask for power; they never decide safety: the interlock is independent and fail-off."""

from guidance.therapy.binary import BinaryFeedback, BinarySettings
from guidance.therapy.pid import PidController, PidSettings
from guidance.therapy.predictive import Aim, PredictiveController, PredictiveSettings

__all__ = [
    "Aim",
    "BinaryFeedback",
    "BinarySettings",
    "PidController",
    "PidSettings",
    "PredictiveController",
    "PredictiveSettings",
]
