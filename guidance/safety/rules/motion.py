"""M1 to M5: where the target is, whether that is known, and what breathing does not do."""

from devices.messages import Priority
from guidance.safety.rules.row import ARMED, ENERGY, NEVER, Compare, Rule, hold, warn

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
        id="M2", row="M2", hazard="bad motion estimate", cause="similarity, folding, jump",
        fact="motion_quality", compare=Compare.BELOW, limit="motion_quality", priority=Priority.MEDIUM, phases=ENERGY,
        unknown_in=ENERGY,
        hysteresis=0.05, text="{subject}: motion estimate is only {value:.2f} good (limit {limit:.2f})",
        advice="look at the cine image, take a new reference", bound="1 frame",
    ),
    hold(
        id="M2p", row="M2", hazard="target leaves the image plane", cause="through-plane motion",
        fact="through_plane_frames", limit="through_plane_frames", priority=Priority.MEDIUM, phases=ENERGY,
        unknown_in=NEVER,
        text="{subject}: images no longer show the plane of the reference",
        advice="look at the cine image, take a new reference", bound="1 frame",
    ),
    warn(
        id="M3", row="M3", hazard="sudden motion", cause="cough, patient shift",
        fact="target_jump_mm", limit="target_jump_mm", phases=ARMED, unknown_in=NEVER, hold_ms=3000.0,
        text="{subject} moved {value:.1f} mm between two images",
        advice="look whether the patient has shifted; the gate waits for two good images", bound="1 frame",
    ),
    warn(
        id="M4", row="M4", hazard="mean position drifts", cause="patient relaxes, bladder, bowel, couch",
        fact="target_drift_mm", limit="target_drift_mm", phases=ARMED, unknown_in=NEVER, hysteresis=1.0,
        text="{subject}: its mean place has drifted {value:.1f} mm (limit {limit:.1f})",
        advice="position the patient again or take a new reference", bound="1 frame",
    ),
    warn(
        id="M5", row="M5", hazard="respiratory signal not understood", cause="marker fell off, navigator misplaced",
        fact="surrogate_lost", limit="surrogate_lost", phases=ARMED, unknown_in=NEVER, hold_ms=1000.0,
        text="{subject}: the respiratory signal is not understood",
        advice="look at the marker or at the navigator's place", bound="1 sample",
    ),
)  # fmt: skip
