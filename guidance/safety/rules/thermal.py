"""T1 to T6, H1, H3: temperature, dose and what must be right for them to be believed."""

from devices.messages import AlertKind, Priority
from guidance.safety.rules.row import ARMED, AT_REST, ENERGY, NEVER, Compare, Rule, block, hold, stop, warn

_PATIENT = AlertKind.PHYSIOLOGICAL
_COOL = "acknowledge, wait until it cooled, find the cause"
_COOLING_MS = 120_000.0  # between sonications tissue is warm: it blocks at once, and is news when it stays so

RULES: tuple[Rule, ...] = (
    stop(
        id="T1", row="T1", hazard="over-heating", cause="power, wrong target",
        fact="hot_region_c", limit="guard_temperature_c", kind=_PATIENT, unknown_in=NEVER,
        text="{subject} too hot {value:.1f} degC (limit {limit:.1f})", advice=_COOL, bound="1 frame + 50 ms",
    ),
    stop(
        id="T1v", row="T1", hazard="over-heating, a single voxel in two frames", cause="power, wrong target",
        fact="hot_voxel_twice_c", limit="guard_temperature_c", kind=_PATIENT, unknown_in=NEVER,
        text="{subject} too hot {value:.1f} degC (limit {limit:.1f})", advice=_COOL, bound="2 frames + 50 ms",
    ),
    stop(
        id="T1x", row="T1", hazard="over-heating, far above the limit", cause="power, wrong target",
        fact="hot_voxel_excess_c", limit="guard_excess_c", kind=_PATIENT, unknown_in=NEVER,
        text="{subject} {value:.1f} degC above its limit", advice=_COOL, bound="1 frame + 50 ms",
    ),
    stop(
        id="T1d", row="T1", hazard="thermal dose of a guarded region", cause="power, wrong target, long heating",
        fact="guard_dose_cem43_min", limit="guard_dose_cem43_min", kind=_PATIENT, unknown_in=NEVER,
        text="{subject} dose {value:.1f} CEM43 min (limit {limit:.1f})",
        advice="acknowledge, end the treatment of this region", bound="1 frame + 50 ms",
    ),
    hold(
        id="T1u", row="T1", hazard="a guarded region without temperature", cause="signal, motion, wrong settings",
        fact="guard_unseen_frames", limit="guard_unseen_hold_frames", latch=False, auto_resume=True, phases=ARMED,
        text="{subject}: no temperature in {value:.0f} frame(s)",
        advice="check signal, slice position and baseline", bound="1 frame + 50 ms",
    ),
    stop(
        id="T1us", row="T1", hazard="a guarded region without temperature for long", cause="signal, motion, settings",
        fact="guard_unseen_frames", limit="guard_unseen_stop_frames", phases=ENERGY,
        text="{subject}: no temperature in {value:.0f} frames (limit {limit:.0f})",
        advice="acknowledge, check signal, slice position and baseline, reset", bound="3 frames + 50 ms",
    ),
    hold(
        id="T2", row="T2", hazard="stale thermometry", cause="scanner, link, reconstruction",
        fact="thermometry_age_periods", limit="thermometry_hold_periods", latch=False, auto_resume=True, phases=ARMED,
        text="{subject}: no image for {value:.1f} frames (limit {limit:.1f})",
        advice="check the scanner and its link", bound="1.5 frames + 100 ms",
    ),
    stop(
        id="T2s", row="T2", hazard="stale thermometry, lost", cause="scanner, link, reconstruction",
        fact="thermometry_age_periods", limit="thermometry_stop_periods", phases=ENERGY,
        text="{subject}: no image for {value:.1f} frames (limit {limit:.1f})",
        advice="acknowledge, check the scanner and its link, reset", bound="3 frames + 100 ms",
    ),
    stop(
        id="T2l", row="T2", hazard="images come, temperature does not", cause="computing hangs or fails",
        fact="thermometry_answer_periods", limit="thermometry_stop_periods", phases=ENERGY,
        text="{subject}: no temperature computed for {value:.1f} frames (limit {limit:.1f})",
        advice="acknowledge, look at the load of this computer, reset", bound="3 frames + 100 ms",
    ),
    stop(
        id="T3", row="T3", hazard="frames out of order", cause="scanner, reconstruction",
        fact="frames_not_rising", limit="frames_not_rising", phases=ENERGY,
        text="{subject}: {value:.0f} frame(s) repeated or out of order",
        advice="acknowledge, check the scanner, reset", bound="2 frames",
    ),
    stop(
        id="T3p", row="T3", hazard="frozen frames: the same pixels", cause="scanner, reconstruction",
        fact="frames_repeated", limit="frames_not_rising", phases=ENERGY,
        text="{subject}: {value:.0f} frames with the pixels or the time of one before",
        advice="acknowledge, check the scanner, reset", bound="2 frames",
    ),
    hold(
        id="T4", row="T4", hazard="too little valid temperature", cause="drift, SNR, wrap, motion",
        fact="thermometry_valid_share", compare=Compare.BELOW, limit="thermometry_valid_share",
        calm=Priority.MEDIUM, phases=ARMED, unknown_in=NEVER, hysteresis=0.02,
        text="{subject}: only {value:.0%} of the voxels valid (limit {limit:.0%})",
        advice="check SNR and baseline, re-acquire the baseline", bound="1 frame + 50 ms",
    ),
    hold(
        id="T4d", row="T4", hazard="unheated reference drifts", cause="field drift, wrong baseline",
        fact="reference_drift_c", limit="reference_drift_c", calm=Priority.MEDIUM, phases=ARMED, hysteresis=0.3,
        text="{subject} reads {value:.1f} degC off body temperature (limit {limit:.1f})",
        advice="re-acquire the baseline", bound="1 frame + 50 ms",
    ),
    hold(
        id="T4r", row="T4", hazard="temperature jumps faster than tissue can", cause="phase jump, wrap, motion",
        fact="heat_rate_c_per_s", limit="heat_rate_c_per_s", calm=Priority.MEDIUM, phases=ARMED, unknown_in=NEVER,
        text="{subject} changed {value:.0f} degC/s (limit {limit:.0f})",
        advice="look for motion, re-acquire the baseline", bound="1 frame + 50 ms",
    ),
    warn(
        id="T4w", row="T4", hazard="frames too slow for the heating", cause="protocol of the scanner, power",
        fact="slow_frame_c_per_s", limit="slow_frame_c_per_s", priority=Priority.LOW, phases=ENERGY, unknown_in=NEVER,
        hysteresis=0.3, escalates=False,
        text="{subject}: {value:.1f} degC/s between slow frames: dose and damage are uncertain",
        advice="lower the power or image faster", bound="1 frame",
    ),
    block(
        id="T5", row="T5", hazard="heat spreads after power-off", cause="the last sonication",
        fact="residual_heat_c", limit="residual_heat_c", latch=False, phases=AT_REST, kind=_PATIENT, hysteresis=0.3,
        unknown_in=NEVER, escalates=False, delay_ms=1000, quiet_ms=_COOLING_MS,
        text="{subject} still {value:.1f} degC above body temperature (limit {limit:.1f})",
        advice="wait until it cooled", bound="1 frame",
    ),
    block(
        id="T5f", row="T5", hazard="forecast dose exceeds the plan", cause="heat goes on after power-off",
        fact="forecast_over_plan", limit="forecast_over_plan", priority=Priority.HIGH, kind=_PATIENT,
        text="{subject}: forecast dose is {value:.0%} of what the plan allows",
        advice="do not go on here; let the physicist look", bound="1 frame",
    ),
    block(
        id="T6", row="T6", hazard="wrong thermometry settings", cause="TE, B0, sign, slice",
        fact="thermometry_mismatch", limit="thermometry_mismatch", phases=AT_REST,
        text="{subject}: the image header does not fit the plan's settings",
        advice="set the sequence as planned, take a new reference", bound="1 frame",
    ),
    stop(
        id="T6s", row="T6", hazard="thermometry settings changed under way", cause="TE, B0, sign, slice",
        fact="thermometry_mismatch", limit="thermometry_mismatch", priority=Priority.MEDIUM, phases=ENERGY,
        text="{subject}: the image header does not fit the plan's settings any more",
        advice="acknowledge, set the sequence as planned, take a new reference, reset", bound="1 frame",
    ),
    hold(
        id="T7", row="T7", hazard="heated target without temperature", cause="motion, signal, slices elsewhere",
        fact="target_unseen_frames", limit="target_unseen_frames", latch=False, auto_resume=True, phases=ARMED,
        text="{subject}: control has not seen it in {value:.0f} frame(s) (limit {limit:.0f})",
        advice="wait until control has found the organ; check slices and signal", bound="1 frame + 50 ms",
    ),
    hold(
        id="H1", row="H1", hazard="dose in the near field", cause="many sonications through the same tissue",
        fact="near_field_dose_cem43_min", limit="near_field_dose_cem43_min", kind=_PATIENT, phases=ARMED,
        text="{subject} dose {value:.1f} CEM43 min (limit {limit:.1f})",
        advice="wait until it cooled, treat from another side", bound="1 frame",
    ),
    block(
        id="H3", row="H3", hazard="no believable body temperature", cause="not measured, old",
        fact="body_temperature_c", compare=Compare.BELOW, limit="body_temperature_low_c",
        text="body temperature {value:.1f} degC (at least {limit:.1f})",
        advice="measure the body temperature and enter it", bound="before arming",
    ),
    block(
        id="H3h", row="H3", hazard="no believable body temperature", cause="wrong digits",
        fact="body_temperature_c", limit="body_temperature_high_c",
        text="body temperature {value:.1f} degC (at most {limit:.1f})",
        advice="measure the body temperature and enter it", bound="before arming",
    ),
    block(
        id="H3g", row="H3", hazard="guard on tissue that PRF does not see", cause="plan",
        fact="guard_not_measurable", limit="guard_not_measurable",
        text="{subject} is bone, fat or gas: its temperature cannot be measured",
        advice="name the muscle beside it as its guard", bound="before arming",
    ),
)  # fmt: skip
