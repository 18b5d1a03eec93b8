"""G1 to G3, K4t to K7, R2: nearness to what must be spared, corridors, needles, calibrations, following."""

from devices.messages import AlertKind, Priority
from guidance.safety.rules.row import ARMED, AT_REST, ENERGY, NEVER, Compare, Rule, block, hold, stop, warn

_BODY = AlertKind.PHYSIOLOGICAL
_BREATHS_MS = 10_000.0  # at rest nothing is held: breathing past the needle is shown at once, and news when it lasts

RULES: tuple[Rule, ...] = (
    warn(
        id="G1", row="G1", hazard="structure at risk on the tool's path", cause="aim, breathing, registration",
        fact="structure_warn_margin_mm", compare=Compare.BELOW, limit="structure_warn_mm", kind=_BODY,
        unknown_in=NEVER, hysteresis=1.0, text="{subject} {value:.1f} mm with two sigma (limit {limit:.1f})",
        advice="check the way in", bound="50 ms",
    ),
    stop(
        id="G1s", row="G1", hazard="structure at risk touched", cause="aim, breathing, registration",
        fact="structure_stop_margin_mm", compare=Compare.BELOW, limit="structure_stop_mm", kind=_BODY, phases=ARMED,
        unknown_in=NEVER, hysteresis=1.0, text="{subject} {value:.1f} mm with two sigma (limit {limit:.1f})",
        advice="acknowledge, draw back, aim again, reset", bound="50 ms",
    ),
    hold(
        id="G2", row="G2", hazard="tool outside its corridor", cause="aim, breathing",
        fact="corridor_error_mm", limit="corridor_mm", kind=_BODY, priority=Priority.MEDIUM, latch=False,
        unknown_in=NEVER, hysteresis=0.3, delay_ms=100.0, quiet_ms=_BREATHS_MS, quiet_in=AT_REST,
        text="{subject} {value:.1f} mm beside its way with two sigma (limit {limit:.1f})",
        advice="draw back and correct the way", bound="150 ms",
    ),
    hold(
        id="G3", row="G3", hazard="needles out of their limits", cause="placement",
        fact="needle_faults", limit="needle_faults", kind=_BODY, priority=Priority.MEDIUM, latch=False,
        text="{subject}: {value:.0f} pair(s) out of spacing, angle or depth",
        advice="correct the needles that are named", bound="50 ms",
    ),
    block(
        id="K4t", row="K4", hazard="no registration, or not good enough at the target", cause="landmarks",
        fact="registration_tre_mm", limit="registration_tre_mm", latch=False, unknown_in=NEVER,
        text="{subject}: predicted error at the target {value:.1f} mm (limit {limit:.1f})",
        advice="register again with more and wider landmarks", bound="before arming",
    ),
    hold(
        id="K5", row="K5", hazard="probe calibration void", cause="depth or zoom of the scanner changed",
        fact="calibration_change", limit="calibration_change", priority=Priority.MEDIUM, latch=False,
        unknown_in=NEVER, text="{subject}: the picture's scale differs by {value:.0%} from its calibration",
        advice="set the depth back or calibrate again", bound="1 image + 50 ms",
    ),
    block(
        id="K6", row="K6", hazard="calibration out of date", cause="old result file",
        fact="calibration_age_s", limit="calibration_age_s", latch=False,
        text="{subject} was measured {value:.0f} s ago (holds for {limit:.0f})",
        advice="measure again", bound="before arming",
    ),
    warn(
        id="K7", row="K7", hazard="needle bends", cause="deflection in tissue",
        fact="needle_bend_mm", limit="needle_bend_mm", unknown_in=NEVER, hysteresis=0.5,
        text="{subject}: the tip lies {value:.1f} mm beside the straight needle (limit {limit:.1f})",
        advice="trust the sensor in the tip; draw back and correct", bound="50 ms",
    ),
    hold(
        id="R2", row="R2", hazard="robot does not follow", cause="contact, joint, load",
        fact="following_error_mm", limit="following_error_mm", phases=ENERGY, unknown_in=NEVER, hysteresis=0.2,
        text="{subject} lags its command by {value:.1f} mm (limit {limit:.1f})",
        advice="acknowledge, look what it met, reset", bound="1 reading + 50 ms",
    ),
)  # fmt: skip
