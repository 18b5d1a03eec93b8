"""N1 to N4: links, devices and consoles on them, hostile and slow peers."""

from devices.messages import Priority
from guidance.safety.rules.row import ALWAYS, ENERGY, Rule, stop, warn

RULES: tuple[Rule, ...] = (
    stop(
        id="N1", row="N1", hazard="device or controlling console lost", cause="cable, process, network",
        fact="link_down_ms", limit="link_down_ms", phases=ENERGY,
        text="link {subject} lost for {value:span} (limit {limit:span})",
        advice="acknowledge, restore the link, reset", bound="300 ms",
    ),
    stop(
        id="N1d", row="N1", hazard="device silent on an open link", cause="process, network",
        fact="device_silent_ms", limit="device_silent_ms", phases=ENERGY,
        text="{subject} silent for {value:span} (limit {limit:span})",
        advice="acknowledge, check the device, reset", bound="3 beats + 50 ms",
    ),
    stop(
        id="N1c", row="N1", hazard="controlling console silent", cause="process, network, browser asleep",
        fact="console_beat_ms", limit="console_beat_ms", phases=ENERGY,
        text="console {subject} silent for {value:span} (limit {limit:span})",
        advice="acknowledge, take control at another console, reset", bound="300 ms",
    ),
    warn(
        id="N2", row="N2", hazard="STOP not confirmed", cause="device, link",
        fact="stop_unconfirmed_ms", limit="stop_unconfirmed_ms", priority=Priority.HIGH, latch=True,
        text="{subject} has not confirmed STOP for {value:span}: USE THE HARD E-STOP",
        advice="press the hard-wired emergency stop", bound="200 ms",
    ),
    stop(
        id="N2e", row="N2", hazard="device emits though it may not", cause="device, a second master",
        fact="forbidden_power_w", limit="forbidden_power_w",
        text="{subject} emits {value:.1f} W without a permit: USE THE HARD E-STOP",
        advice="press the hard-wired emergency stop", bound="permit + 300 ms",
    ),
    warn(
        id="N3", row="N3", hazard="hostile or broken message", cause="a peer's software, an attack",
        fact="bad_messages", limit="bad_messages", priority=Priority.LOW, unknown_in=ALWAYS - ALWAYS,
        escalates=False, text="{subject}: {value:.0f} message(s) refused in 10 s",
        advice="look at the peer on this link", bound="1 message",
    ),
    warn(
        id="N3m", row="N3", hazard="many hostile or broken messages", cause="a peer's software, an attack",
        fact="bad_messages", limit="bad_messages_many", unknown_in=ALWAYS - ALWAYS, escalates=False,
        text="{subject}: {value:.0f} messages refused in 10 s (limit {limit:.0f})",
        advice="unplug the peer on this link", bound="1 message",
    ),
    warn(
        id="N4", row="N4", hazard="overload, slow consumer", cause="a slow reader, network",
        fact="shed_messages", limit="shed_messages", unknown_in=ALWAYS - ALWAYS, escalates=False, hold_ms=2000,
        text="{subject}: {value:.0f} messages shed in 10 s (limit {limit:.0f}); alerts never are",
        advice="close the slow viewer", bound="1 s",
    ),
    warn(
        id="N4a", row="N4", hazard="alerts arrive late", cause="broker, network",
        fact="alert_age_ms", limit="alert_age_ms", priority=Priority.HIGH, delay_ms=500, hold_ms=1000, escalates=False,
        fresh_ms=3000, text="the alert feed {subject} is {value:span} behind (limit {limit:span})",
        advice="watch the console; restore the broker", bound="1 s",
    ),
)  # fmt: skip
