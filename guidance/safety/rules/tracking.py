"""K1 to K4, R1: tools, the registration that places them, and the robot's corridor."""

from devices.messages import Priority
from guidance.safety.rules.row import ENERGY, Rule, block, hold, stop, warn

_VIEW = "bring the tool into view"
_GLANCE_MS = 2000.0  # a hand before the camera: shown as not live at once, news when it lasts

RULES: tuple[Rule, ...] = (
    warn(
        id="K1", row="K1", hazard="tracker stale", cause="tracker, link, line of sight",
        fact="pose_age_ms", limit="pose_age_ms", hold_ms=500, quiet_ms=_GLANCE_MS,
        text="{subject} NOT LIVE for {value:span} (limit {limit:span})",
        advice="check the tracker and the line of sight", bound="its limit + 50 ms",
    ),
    hold(
        id="K1r", row="K1", hazard="robot's pose stale", cause="robot, tracker, link",
        fact="robot_pose_age_ms", limit="pose_age_ms", phases=ENERGY,
        text="{subject}: the robot's pose is {value:span} old (limit {limit:span})",
        advice="acknowledge, check the robot and its link, reset", bound="its limit + 50 ms",
    ),
    warn(
        id="K2", row="K2", hazard="untracked tool sent as valid", cause="tool out of view, tracker software",
        fact="pose_repeats", limit="pose_repeats", hold_ms=500,
        text="{subject} repeats its pose bit by bit {value:.0f} times: not tracked", advice=_VIEW, bound="250 ms",
    ),
    warn(
        id="K2i", row="K2", hazard="tool reported invalid", cause="tool out of view",
        fact="pose_invalid_ms", limit="pose_invalid_ms", hold_ms=500, quiet_ms=_GLANCE_MS,
        text="{subject} reported invalid by the tracker for {value:span}", advice=_VIEW, bound="250 ms",
    ),
    hold(
        id="K3", row="K3", hazard="impossible pose", cause="interference, corrupt data, wrong tool file",
        fact="impossible_poses_per_s", limit="impossible_poses_per_s", priority=Priority.MEDIUM, latch=False,
        text="{subject}: {value:.0f} impossible poses a second rejected (limit {limit:.0f})",
        advice="check the tool, its marker and the tracker", bound="1 message",
    ),
    stop(
        id="K4", row="K4", hazard="reference moved against the patient", cause="pushed, patient moved, metal",
        fact="reference_shift_mm", limit="reference_shift_mm",
        text="{subject} moved {value:.1f} mm against the second reference (limit {limit:.1f})",
        advice="acknowledge, register again, reset", bound="200 ms",
    ),
    block(
        id="K4f", row="K4", hazard="registration too coarse", cause="landmarks, patient moved",
        fact="registration_fre_mm", limit="registration_fre_mm", priority=Priority.HIGH,
        text="{subject}: registration error {value:.1f} mm (limit {limit:.1f})",
        advice="register again", bound="before arming",
    ),
    stop(
        id="R1", row="R1", hazard="robot outside its corridor", cause="following error, registration, patient",
        fact="corridor_lateral_mm", limit="corridor_outer_mm",
        text="{subject} {value:.1f} mm beside its way (limit {limit:.1f})",
        advice="acknowledge, find the cause, retract by hand, reset", bound="50 ms",
    ),
    stop(
        id="R1p", row="R1", hazard="robot past its target", cause="following error, wrong length",
        fact="corridor_past_mm", limit="corridor_past_mm",
        text="{subject} {value:.1f} mm past the target (limit {limit:.1f})",
        advice="acknowledge, find the cause, retract by hand, reset", bound="50 ms",
    ),
    hold(
        id="R1h", row="R1", hazard="robot about to leave its corridor", cause="speed, following error",
        fact="corridor_foretold_mm", limit="corridor_outer_mm", latch=False, phases=ENERGY,
        text="{subject} will be {value:.1f} mm beside its way before it stands (limit {limit:.1f})",
        advice="go on slower", bound="50 ms",
    ),
)  # fmt: skip
