"""Tissue physics shared by thermometry, therapy and navigation."""

from guidance.tissue.pennes import BioheatModel, Tissue

__all__ = ["BioheatModel", "Tissue"]
