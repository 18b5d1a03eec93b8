"""Tissue physics shared by thermometry and therapy."""

from guidance.tissue.pennes import BioheatModel, Tissue

__all__ = ["BioheatModel", "Tissue"]
