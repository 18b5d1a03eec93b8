"""Frames, poses, registrations and calibrations. RAS, millimetres, float64, `fixed_from_moving`."""

from guidance.space.frames import Edge, FrameError, FrameGraph, FramePath
from guidance.space.poses import is_rigid, rotation_angle_deg, slerp

__all__ = ["Edge", "FrameError", "FrameGraph", "FramePath", "is_rigid", "rotation_angle_deg", "slerp"]
