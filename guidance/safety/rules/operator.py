"""O1, O2: people who may miss an alarm or hold a control."""

from guidance.safety.rules.row import ENERGY, NEVER, Compare, Rule, block, hold

RULES: tuple[Rule, ...] = (
    block(
        id="O1", row="O1", hazard="alarm missed", cause="nobody looks",
        fact="alarm_unseen_ms", limit="alarm_unseen_ms", unknown_in=NEVER, escalates=False,
        text="a high alarm is unacknowledged for {value:span}: calling {subject}",
        advice="acknowledge it at any console", bound="10 s",
    ),
    block(
        id="O1l", row="O1", hazard="a console does not show its alarms", cause="browser asleep, covered, muted",
        fact="console_lease_ms", limit="console_lease_ms",
        text="no reply from console {subject} for {value:span} (limit {limit:span})",
        advice="look at that console, or acknowledge at another one and reset", bound="2 s",
    ),
    block(
        id="O1n", row="O1", hazard="too few consoles show alarms", cause="none was opened",
        fact="annunciating_consoles", compare=Compare.BELOW, limit="annunciating_consoles", latch=False,
        text="{value:.0f} console(s) show alarms (at least {limit:.0f})",
        advice="open a console", bound="2 s",
    ),
    hold(
        id="O2", row="O2", hazard="held control released", cause="foot off the pedal, console asleep",
        fact="held_control_ms", limit="held_control_ms", phases=ENERGY, unknown_in=ENERGY,
        text="the held control of {subject} is released for {value:span} (limit {limit:span})",
        advice="acknowledge, reset, hold the control and resume", bound="its limit + 50 ms",
    ),
)  # fmt: skip
