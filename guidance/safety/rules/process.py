"""C1 to C3: clocks, this process and its watcher, the record."""

from devices.messages import Priority
from guidance.safety.rules.row import ENERGY, Compare, Rule, block, hold, stop, warn

_DISK = "free the disk or record elsewhere"

RULES: tuple[Rule, ...] = (
    warn(
        id="C1", row="C1", hazard="clock step", cause="time service, operator",
        fact="clock_step_ms", limit="clock_step_ms", escalates=False,
        text="the wall clock stepped by {value:span}; ages are by local receive time",
        advice="check the time service after the procedure", bound="1 s",
    ),
    stop(
        id="C2", row="C2", hazard="service hung", cause="load, a fault in the service",
        fact="tick_gap_ms", limit="tick_gap_ms", phases=ENERGY,
        text="the service stood still for {value:span} (limit {limit:span})",
        advice="acknowledge, look at the load of this computer, reset", bound="300 ms, by the supervisor",
    ),
    stop(
        id="C2p", row="C2", hazard="the supervisor stopped the devices", cause="service hung or dead",
        fact="supervisor_stops", limit="supervisor_stops",
        text="the supervisor sent STOP: this service did not answer in time",
        advice="acknowledge, look at the load of this computer, reset", bound="300 ms",
    ),
    hold(
        id="C2w", row="C2", hazard="nobody watches the service", cause="the supervisor died",
        fact="supervisor_age_ms", limit="supervisor_age_ms", fresh_ms=2000,
        text="the supervisor is silent for {value:span} (limit {limit:span})",
        advice="end the treatment, start the service again", bound="1 s",
    ),
    block(
        id="C3", row="C3", hazard="record cannot be kept: disk nearly full", cause="disk",
        fact="record_free_mb", compare=Compare.BELOW, limit="record_free_mb", latch=False, hysteresis=50.0,
        fresh_ms=3000, text="{subject}: only {value:.0f} MB free (limit {limit:.0f})", advice=_DISK, bound="1 s",
    ),
    block(
        id="C3s", row="C3", hazard="record cannot be kept: disk slow", cause="disk",
        fact="record_sync_ms", limit="record_sync_ms", latch=False, hold_ms=5000,
        fresh_ms=3000, text="{subject}: syncing takes {value:span} (limit {limit:span})", advice=_DISK, bound="1 s",
    ),
    block(
        id="C3l", row="C3", hazard="record lost", cause="disk refuses, queue full",
        fact="record_lost", limit="record_lost", priority=Priority.MEDIUM, fresh_ms=3000,
        text="{subject}: {value:.0f} records could not be kept", advice=_DISK, bound="1 s",
    ),
)  # fmt: skip
