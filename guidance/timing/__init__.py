"""Device time to service time, and poses by time."""

from guidance.timing.alignment import Aligned, ClockAlignment
from guidance.timing.ring import Kind, PoseRing, Sample

__all__ = ["Aligned", "ClockAlignment", "Kind", "PoseRing", "Sample"]
