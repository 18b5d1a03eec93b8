"""Evidence: from what happened in the room to the facts that rules judge. One function a fact family."""

from guidance.safety.evidence.links import (
    ClockWatch,
    MessageWatch,
    TickGap,
    device_silence,
    link_facts,
    stop_facts,
)
from guidance.safety.evidence.plan import golden_point, guard_facts, plan_facts, tag_conflicts
from guidance.safety.evidence.poses import Corridor, ReferencePair, pose_facts, robot_age
from guidance.safety.evidence.reports import TOLD, EnergyTime, device_fault, dose_age, forbidden_power, reading_facts
from guidance.safety.evidence.thermal import FRAME_FACTS, GuardMemory, answer_age, frames_rising, image_age

__all__ = [
    "FRAME_FACTS",
    "TOLD",
    "ClockWatch",
    "Corridor",
    "EnergyTime",
    "GuardMemory",
    "MessageWatch",
    "ReferencePair",
    "TickGap",
    "answer_age",
    "device_fault",
    "device_silence",
    "dose_age",
    "forbidden_power",
    "frames_rising",
    "golden_point",
    "guard_facts",
    "image_age",
    "link_facts",
    "plan_facts",
    "pose_facts",
    "reading_facts",
    "robot_age",
    "stop_facts",
    "tag_conflicts",
]
