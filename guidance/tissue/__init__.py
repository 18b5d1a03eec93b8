"""Tissue physics shared by thermometry, therapy and navigation."""

from guidance.tissue.beam import Beam
from guidance.tissue.pennes import BioheatModel, Tissue

__all__ = ["Beam", "BioheatModel", "Tissue"]
