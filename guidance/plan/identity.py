"""Is this the plan of this patient, this side and this space, and is it still what was loaded?"""

import hashlib
from pathlib import Path

from guidance.plan.model import Plan


def identity_faults(
    plan: Plan,
    *,
    patient_id: str | None = None,
    frame_of_reference_uid: str | None = None,
    laterality: str | None = None,
    content_sha256: str | None = None,
) -> list[str]:
    """What of the given does not fit the plan; None is not compared. Asked at load, arming and every command."""
    asked = {
        "patient_id": patient_id,
        "frame_of_reference_uid": frame_of_reference_uid,
        "laterality": laterality,
        "content_sha256": content_sha256,
    }
    return [
        f"plan.{key}: is {getattr(plan, key)!r}, the room has {value!r}"
        for key, value in asked.items()
        if value is not None and value != getattr(plan, key)
    ]


def changed_files(plan: Plan, folder: Path) -> list[str]:
    """Files of the plan in `folder` that are gone or no longer the bytes that were loaded."""
    faults = []
    for name, expected in plan.files.items():
        try:
            found = hashlib.sha256((folder / name).read_bytes()).hexdigest()
        except OSError as fault:
            faults.append(f"{name}: cannot be read any more: {fault.strerror}")
            continue
        if found != expected:
            faults.append(f"{name}: was edited after it was loaded")
    return faults
