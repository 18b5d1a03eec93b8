"""Evidence about the plan: is it this patient's, are its guards measurable, do the golden points meet?"""

import math
from collections.abc import Mapping, Sequence

from guidance.exact import Matrix
from guidance.plan import Plan
from guidance.plan.checks import UNSEEN_BY_PRF
from guidance.plan.identity import identity_faults
from guidance.safety.facts import Fact, Facts
from guidance.settings import GoldenPoint, Guard, Patient

# tags of an image -> what of the plan they must be
TAGS = {
    "PatientID": "patient_id",
    "Laterality": "laterality",
    "FrameOfReferenceUID": "frame_of_reference_uid",
}


def plan_facts(facts: Facts, plan: Plan, patient: Patient | None, now_ns: int) -> None:
    """How many of patient, side, space and hash do not fit; 0 where nothing is there to compare with."""
    conflicts = identity_faults(plan, **patient.model_dump()) if patient else []
    facts.set("plan_conflicts", plan.name, Fact(float(len(conflicts)), now_ns))


def tag_conflicts(facts: Facts, stream: str, tags: Mapping[str, str], plan: Plan, now_ns: int) -> None:
    """How many identifying tags of an image differ from the plan's; images without such tags say nothing."""
    told = {mine: tags[tag] for tag, mine in TAGS.items() if tag in tags}
    if told:
        facts.set("image_conflicts", stream, Fact(float(len(identity_faults(plan, **told))), now_ns))


def guard_facts(facts: Facts, plan: Plan, guards: Sequence[Guard], now_ns: int) -> None:
    """1 for every guard whose own structure proton resonance thermometry does not see."""
    tissues = {row.name: row.tissue for row in plan.structures}
    for guard in guards:
        unseen = tissues.get(guard.structure, "") in UNSEEN_BY_PRF
        facts.set("guard_not_measurable", guard.structure, Fact(float(unseen), now_ns))


def golden_point(facts: Facts, row: GoldenPoint, ras_from_frame: Matrix | None, now_ns: int) -> None:
    """How far, in mm, a point of a source lies from where it should; unknown while its frame is not joined to RAS."""
    if ras_from_frame is None:
        facts.declare("golden_point_mm", row.name)
        return
    x, y, z = row.at_mm
    off = [
        float(a * x + b * y + c * z + d) - ras for (a, b, c, d), ras in zip(ras_from_frame, row.ras_mm, strict=False)
    ]
    facts.set("golden_point_mm", row.name, Fact(math.hypot(*off), now_ns))
