"""The plan: targets, ways in, organs at risk and their limits, from the files that planning systems write."""

from guidance.plan.distance import SignedDistance
from guidance.plan.identity import changed_files, identity_faults
from guidance.plan.load import load_plan
from guidance.plan.model import (
    Guard,
    Landmark,
    Limits,
    Plan,
    Seeds,
    Structure,
    Target,
    Trajectory,
    Zone,
    content_sha256,
    differences,
)
from guidance.plan.shapes import Box, Capsule, Grown, Shape, Sphere

__all__ = [
    "Box",
    "Capsule",
    "Grown",
    "Guard",
    "Landmark",
    "Limits",
    "Plan",
    "Seeds",
    "Shape",
    "SignedDistance",
    "Sphere",
    "Structure",
    "Target",
    "Trajectory",
    "Zone",
    "changed_files",
    "content_sha256",
    "differences",
    "identity_faults",
    "load_plan",
]
