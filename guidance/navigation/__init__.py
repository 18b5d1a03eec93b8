"""Tools against the plan: where they are, how far off, and how near to what must be spared."""

from guidance.navigation.targeting import Targeting

__all__ = ["Targeting"]
