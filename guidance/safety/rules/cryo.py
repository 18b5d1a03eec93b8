"""T1 where cold is the therapy: ice near an organ at risk, an organ that grows cold, an iceball that nobody sees."""

from devices.messages import AlertKind
from guidance.safety.rules.row import ARMED, ENERGY, NEVER, Compare, Rule, hold, stop, warn

_PATIENT = AlertKind.PHYSIOLOGICAL

RULES: tuple[Rule, ...] = (
    warn(
        id="T1g", row="T1", hazard="ice near an organ", cause="freezing goes on", fact="ice_gap_mm",
        compare=Compare.BELOW, limit="ice_gap_warn_mm", kind=_PATIENT, unknown_in=NEVER, hysteresis=0.5,
        text="{subject}: ice within {value:.1f} mm at the next frame (limit {limit:.1f})",
        advice="slow the nearest needle, or push the organ away", bound="1 frame + 50 ms",
    ),
    stop(
        id="T1gs", row="T1", hazard="ice reaches an organ", cause="freezing goes on", fact="ice_gap_mm",
        compare=Compare.BELOW, limit="ice_gap_stop_mm", kind=_PATIENT, unknown_in=NEVER,
        text="{subject}: ice within {value:.1f} mm at the next frame (limit {limit:.1f})",
        advice="acknowledge, leave the needles, push the organ away", bound="1 frame + 50 ms",
    ),
    stop(
        id="T1k", row="T1", hazard="an organ grows cold", cause="freezing goes on", fact="organ_cold_c",
        compare=Compare.BELOW, limit="organ_cold_c", kind=_PATIENT, unknown_in=NEVER, phases=ENERGY,
        text="{subject} down to {value:.1f} degC (limit {limit:.1f})",
        advice="acknowledge, leave the needles, warm the organ", bound="1 frame + 50 ms",
    ),
    hold(
        id="T1i", row="T1", hazard="the iceball is not seen", cause="signal, slices, reconstruction",
        fact="ice_unseen_frames", limit="guard_unseen_hold_frames", latch=False, auto_resume=True, phases=ARMED,
        text="{subject}: no iceball from {value:.0f} frame(s)", advice="check signal and slice position",
        bound="1 frame + 50 ms",
    ),
)  # fmt: skip
