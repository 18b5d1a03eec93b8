"""P1, P2: is it the plan of this patient, this side and this space?"""

from devices.messages import Priority
from guidance.safety.rules.row import Rule, block

RULES: tuple[Rule, ...] = (
    block(
        id="P1", row="P1", hazard="wrong patient, plan or side", cause="mix-up at loading",
        fact="plan_conflicts", limit="plan_conflicts", priority=Priority.HIGH,
        text="{subject}: {value:.0f} of patient, side, space and hash do not fit the room",
        advice="load the right plan", bound="before arming",
    ),
    block(
        id="P1i", row="P1", hazard="images of another patient", cause="mix-up at the scanner",
        fact="image_conflicts", limit="plan_conflicts", priority=Priority.HIGH,
        text="{subject}: {value:.0f} tags of the image do not fit the plan",
        advice="check who lies in the scanner", bound="before arming",
    ),
    block(
        id="P1e", row="P1", hazard="plan edited after it was loaded", cause="somebody edits files",
        fact="plan_edited_files", limit="plan_conflicts", priority=Priority.HIGH, fresh_ms=30_000,
        text="{value:.0f} file(s) of the plan were edited after loading",
        advice="load and check the plan again", bound="before arming",
    ),
    block(
        id="P2", row="P2", hazard="RAS/LPS, mm/m or transposed", cause="a source with other conventions",
        fact="golden_point_mm", limit="golden_point_mm",
        text="{subject}: the golden point is {value:.1f} mm from where it should be (limit {limit:.1f})",
        advice="check the conventions of this source and its calibration", bound="before arming",
    ),
)  # fmt: skip
