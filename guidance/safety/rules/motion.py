"""M1, M2: where the target is, and whether that is known. Facts come from the motion desk."""

from devices.messages import Priority
from guidance.safety.rules.row import ENERGY, Compare, Rule, hold

_QUIET_MS = 10_000.0  # longer than any breath

RULES: tuple[Rule, ...] = (
    hold(
        id="M1", row="M1", hazard="target out of gate", cause="breathing, patient moved",
        fact="target_outside_share", limit="target_outside_share", latch=False, auto_resume=True, gate=True,
        quiet_ms=_QUIET_MS,
        phases=ENERGY, unknown_in=ENERGY, escalates=False,
        text="{subject}: {value:.0%} outside its boundary (limit {limit:.0%})",
        advice="wait for the gate", bound="100 ms",
    ),
    hold(
        id="M1c", row="M1", hazard="target away from its place", cause="breathing, patient moved",
        fact="target_centroid_mm", limit="target_centroid_mm", latch=False, auto_resume=True, gate=True,
        quiet_ms=_QUIET_MS,
        phases=ENERGY, unknown_in=ENERGY, escalates=False,
        text="{subject} {value:.1f} mm from its planned place (limit {limit:.1f})",
        advice="wait for the gate", bound="100 ms",
    ),
    hold(
        id="M2", row="M2", hazard="bad motion estimate", cause="similarity, folding, through-plane motion",
        fact="motion_quality", compare=Compare.BELOW, limit="motion_quality", priority=Priority.MEDIUM, phases=ENERGY,
        unknown_in=ENERGY,
        hysteresis=0.05, text="{subject}: motion estimate is only {value:.2f} good (limit {limit:.2f})",
        advice="look at the cine image, take a new reference", bound="1 frame",
    ),
)  # fmt: skip
