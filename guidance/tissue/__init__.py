"""Tissue physics shared by thermometry and therapy."""
