"""MR thermometry: temperature with its uncertainty, thermal dose, damage."""

from guidance.thermometry.damage import ARRHENIUS_SETS, arrhenius_damage
from guidance.thermometry.dose import DoseAccumulator, cem43
from guidance.thermometry.facts import region_facts
from guidance.thermometry.frame import STATES, DoseState, ThermometryFrame
from guidance.thermometry.pipeline import ThermometryPipeline
from guidance.thermometry.prf import degrees_per_radian, prf_temperature_change, temperature_sigma
from guidance.thermometry.settings import ThermometrySettings

__all__ = [
    "ARRHENIUS_SETS",
    "STATES",
    "DoseAccumulator",
    "DoseState",
    "ThermometryFrame",
    "ThermometryPipeline",
    "ThermometrySettings",
    "arrhenius_damage",
    "cem43",
    "degrees_per_radian",
    "prf_temperature_change",
    "region_facts",
    "temperature_sigma",
]
