"""H2, E1, D1: what devices say of themselves."""

from devices.messages import AlertKind, Priority
from guidance.safety.rules.row import ALWAYS, AT_REST, ENERGY, NEVER, Compare, Rule, block, hold, stop, warn

_RESTORE = "acknowledge, restore it, reset"
_XRAY = "tell the physician; go on with as little as possible"
_DOSE = AlertKind.PHYSIOLOGICAL

RULES: tuple[Rule, ...] = (
    stop(
        id="H2", row="H2", hazard="device reports a fault", cause="device",
        fact="device_fault", limit="device_fault", phases=ENERGY, unknown_in=NEVER,
        text="{subject} reports a fault (code {value:.0f})", advice="acknowledge, look at the device, reset",
        bound="100 ms after the report",
    ),
    stop(
        id="H2c", row="H2", hazard="loss of coolant", cause="pump, hose",
        fact="coolant_ok", compare=Compare.BELOW, limit="interlock", phases=ENERGY,
        text="{subject}: no coolant", advice=_RESTORE, bound="100 ms after the report",
    ),
    stop(
        id="H2w", row="H2", hazard="loss of coupling", cause="water, bubbles, patient moved",
        fact="coupling_ok", compare=Compare.BELOW, limit="interlock", phases=ENERGY,
        text="{subject}: coupling lost", advice=_RESTORE, bound="100 ms after the report",
    ),
    stop(
        id="H2k", row="H2", hazard="cavitation", cause="pressure, gas",
        fact="cavitation", limit="interlock",
        text="{subject} hears cavitation", advice="acknowledge, lower the power, reset",
        bound="100 ms after the report",
    ),
    stop(
        id="H2v", row="H2", hazard="sudden signal void", cause="boiling, bubbles, scanner",
        fact="signal_void", limit="signal_void", phases=ENERGY,
        text="{subject}: a part of the image lost its signal", advice="acknowledge, look at the magnitude image, reset",
        bound="1 frame + 50 ms",
    ),
    stop(
        id="H2b", row="H2", hazard="tissue about to boil", cause="power",
        fact="boiling_c", limit="boiling_c", kind=AlertKind.PHYSIOLOGICAL, unknown_in=NEVER,
        text="{subject} {value:.0f} degC: about to boil (limit {limit:.0f})", advice="acknowledge, lower the power",
        bound="1 frame + 50 ms",
    ),
    block(
        id="E1", row="E1", hazard="pulse without R-wave synchronisation", cause="trigger lost",
        fact="r_wave_sync", compare=Compare.BELOW, limit="interlock", priority=Priority.HIGH, phases=AT_REST,
        text="{subject}: no R-wave trigger", advice="restore the ECG trigger", bound="before arming",
    ),
    hold(
        id="E1h", row="E1", hazard="R-wave synchronisation lost under way", cause="trigger lost",
        fact="r_wave_sync", compare=Compare.BELOW, limit="interlock", phases=ENERGY,
        text="{subject}: R-wave trigger lost", advice="acknowledge, restore the ECG trigger, reset",
        bound="100 ms after the report",
    ),
    *(
        warn(
            id=name, row="D1", hazard=hazard, cause="long fluoroscopy", fact=fact, limit=limit, priority=priority,
            latch=True, kind=_DOSE, unknown_in=NEVER, escalates=False, text=text, advice=_XRAY, bound="1 s", step=step,
        )
        for name, hazard, fact, limit, step, priority, text in (
            ("D1k", "X-ray kerma", "kerma_mgy", "kerma_notify_mgy", "kerma_step_mgy", Priority.MEDIUM,
             "kerma {value:.0f} mGy"),
            ("D1K", "X-ray kerma, substantial", "kerma_mgy", "kerma_substantial_mgy", "", Priority.HIGH,
             "kerma {value:.0f} mGy: substantial"),
            ("D1a", "X-ray kerma-area product", "kap_gycm2", "kap_notify_gycm2", "kap_step_gycm2", Priority.MEDIUM,
             "KAP {value:.0f} Gy cm2"),
            ("D1A", "X-ray kerma-area product, substantial", "kap_gycm2", "kap_substantial_gycm2", "", Priority.HIGH,
             "KAP {value:.0f} Gy cm2: substantial"),
            ("D1t", "fluoroscopy time", "fluoroscopy_min", "fluoroscopy_notify_min", "fluoroscopy_step_min",
             Priority.MEDIUM, "{value:.0f} min of fluoroscopy"),
            ("D1T", "fluoroscopy time, substantial", "fluoroscopy_min", "fluoroscopy_substantial_min", "",
             Priority.HIGH, "{value:.0f} min of fluoroscopy: substantial"),
        )
    ),
    warn(
        id="D1l", row="D1", hazard="X-ray dose lost", cause="X-ray device, link",
        fact="xray_dose_age_ms", limit="xray_dose_age_ms", unknown_in=ALWAYS, latch=True, escalates=False,
        text="{subject}: no dose told for {value:span}", advice="note the dose from the X-ray device's own display",
        bound="10 s",
    ),
)  # fmt: skip
