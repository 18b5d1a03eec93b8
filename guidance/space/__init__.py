"""Frames, poses, registrations and calibrations. RAS, millimetres, float64, `fixed_from_moving`."""

from guidance.space.dwells import Dwell, find_dwells, register_landmarks
from guidance.space.frames import Edge, FrameError, FrameGraph, FramePath
from guidance.space.handeye import HandEye, calibrate_hand_eye
from guidance.space.intervals import ErrorPart, error_bound_mm, rms_mm
from guidance.space.lag import LagError, estimate_lag, principal_motion
from guidance.space.nwire import NWire, ProbeCalibration, WireFrame, calibrate_nwire, validate_nwire
from guidance.space.pivot import PivotCalibration, calibrate_pivot
from guidance.space.poses import is_rigid, rotation_angle_deg, slerp
from guidance.space.registration import PointRegistration, register_points
from guidance.space.results import CalibrationResult, read_result, write_result
from guidance.space.surface import SurfaceFit, SurfaceRegistration, refine_on_surface, register_surface
from guidance.space.waterline import line_depth
from guidance.space.wires import WireError, find_wires

__all__ = [
    "CalibrationResult",
    "Dwell",
    "Edge",
    "ErrorPart",
    "FrameError",
    "FrameGraph",
    "FramePath",
    "HandEye",
    "LagError",
    "NWire",
    "PivotCalibration",
    "PointRegistration",
    "ProbeCalibration",
    "SurfaceFit",
    "SurfaceRegistration",
    "WireError",
    "WireFrame",
    "calibrate_hand_eye",
    "calibrate_nwire",
    "calibrate_pivot",
    "error_bound_mm",
    "estimate_lag",
    "find_dwells",
    "find_wires",
    "is_rigid",
    "line_depth",
    "principal_motion",
    "read_result",
    "refine_on_surface",
    "register_landmarks",
    "register_points",
    "register_surface",
    "rms_mm",
    "rotation_angle_deg",
    "slerp",
    "validate_nwire",
    "write_result",
]
