"""The hazard table as rows. Detection, documentation and the fault campaign read the same rows."""

from enum import StrEnum

import msgspec

from devices.messages import AlertKind, Priority
from guidance.errors import SettingsError
from guidance.safety.limits import Limits
from guidance.safety.phases import Phase


class Reaction(StrEnum):
    """What a violated rule does."""

    WARN = "WARN"  # tells
    BLOCK = "BLOCK"  # cannot arm
    HOLD = "HOLD"  # energy or motion gated off
    STOP = "STOP"  # devices into their declared safe state, latched


class Compare(StrEnum):
    """How a fact is compared with its limit; the violated side is named."""

    ABOVE = "above"
    BELOW = "below"


ALWAYS = frozenset(Phase)
ARMED = frozenset({Phase.READY, Phase.TREATING, Phase.HOLD})
ENERGY = frozenset({Phase.TREATING, Phase.HOLD})


class Rule(msgspec.Struct, frozen=True, kw_only=True):
    """One row: `fact` of every declared subject `compare`d with `limit`.

    A fact that is unknown violates the row in the phases of `unknown_in` (elsewhere it blocks
    arming, so a room that is only being set up is quiet). `delay_ms`: how long
    the violation must last; `hysteresis`: how far back inside the limit clears it; `auto_resume`:
    a HOLD that ends by itself when its condition clears.
    """

    id: str
    hazard: str
    cause: str
    fact: str
    compare: Compare
    limit: str
    reaction: Reaction
    priority: Priority
    kind: AlertKind
    latch: bool
    text: str
    advice: str
    phases: frozenset[Phase] = ALWAYS
    unknown_in: frozenset[Phase] = ARMED
    delay_ms: float = 0.0
    hysteresis: float = 0.0
    fresh_ms: float = 0.0  # evidence older than this makes the fact unknown; 0 = the fact states an age itself
    auto_resume: bool = False
    bound: str = ""


RULES: tuple[Rule, ...] = (
    Rule(
        id="T1",
        hazard="over-heating",
        cause="power, wrong target",
        fact="hot_region_c",
        compare=Compare.ABOVE,
        limit="guard_temperature_c",
        reaction=Reaction.STOP,
        priority=Priority.HIGH,
        latch=True,
        text="{subject} too hot {value:.1f} degC (limit {limit:.1f})",
        advice="acknowledge, wait until it cooled, find the cause",
        phases=ALWAYS,
        bound="1 frame + 50 ms",
        kind=AlertKind.PHYSIOLOGICAL,
    ),
    Rule(
        id="T1v",
        hazard="over-heating, a single voxel in two frames",
        cause="power, wrong target",
        fact="hot_voxel_twice_c",
        compare=Compare.ABOVE,
        limit="guard_temperature_c",
        reaction=Reaction.STOP,
        priority=Priority.HIGH,
        latch=True,
        text="{subject} too hot {value:.1f} degC (limit {limit:.1f})",
        advice="acknowledge, wait until it cooled, find the cause",
        bound="2 frames + 50 ms",
        kind=AlertKind.PHYSIOLOGICAL,
    ),
    Rule(
        id="T1x",
        hazard="over-heating, far above the limit",
        cause="power, wrong target",
        fact="hot_voxel_excess_c",
        compare=Compare.ABOVE,
        limit="guard_excess_c",
        reaction=Reaction.STOP,
        priority=Priority.HIGH,
        latch=True,
        text="{subject} {value:.1f} degC above its limit",
        advice="acknowledge, wait until it cooled, find the cause",
        bound="1 frame + 50 ms",
        kind=AlertKind.PHYSIOLOGICAL,
    ),
    Rule(
        id="T1d",
        hazard="thermal dose of a guarded region",
        cause="power, wrong target, long heating",
        fact="guard_dose_cem43_min",
        compare=Compare.ABOVE,
        limit="guard_dose_cem43_min",
        reaction=Reaction.STOP,
        priority=Priority.HIGH,
        latch=True,
        text="{subject} dose {value:.1f} CEM43 min (limit {limit:.1f})",
        advice="acknowledge, end the treatment of this region",
        bound="1 frame + 50 ms",
        kind=AlertKind.PHYSIOLOGICAL,
    ),
    Rule(
        id="T2",
        hazard="stale thermometry",
        cause="scanner, link, reconstruction",
        fact="thermometry_age_periods",
        compare=Compare.ABOVE,
        limit="thermometry_hold_periods",
        reaction=Reaction.HOLD,
        priority=Priority.HIGH,
        latch=False,
        auto_resume=True,
        phases=ARMED,
        text="{subject}: no temperature for {value:.1f} frames (limit {limit:.1f})",
        advice="check the scanner and its link",
        bound="1.5 frames + 100 ms",
        kind=AlertKind.TECHNICAL,
    ),
    Rule(
        id="T2s",
        hazard="stale thermometry, lost",
        cause="scanner, link, reconstruction",
        fact="thermometry_age_periods",
        compare=Compare.ABOVE,
        limit="thermometry_stop_periods",
        reaction=Reaction.STOP,
        priority=Priority.HIGH,
        latch=True,
        phases=ENERGY,
        text="{subject}: temperature lost for {value:.1f} frames (limit {limit:.1f})",
        advice="acknowledge, check the scanner and its link, reset",
        bound="3 frames + 100 ms",
        kind=AlertKind.TECHNICAL,
    ),
    Rule(
        id="T3",
        hazard="frozen or repeated frames",
        cause="scanner, reconstruction",
        fact="frames_not_rising",
        compare=Compare.ABOVE,
        limit="frames_not_rising",
        reaction=Reaction.STOP,
        priority=Priority.HIGH,
        latch=True,
        phases=ENERGY,
        text="{subject}: {value:.0f} frame(s) repeated or out of order",
        advice="acknowledge, check the scanner, reset",
        bound="2 frames",
        kind=AlertKind.TECHNICAL,
    ),
    Rule(
        id="T4",
        hazard="too little valid temperature",
        cause="drift, SNR, wrap, motion",
        fact="thermometry_valid_share",
        compare=Compare.BELOW,
        limit="thermometry_valid_share",
        reaction=Reaction.HOLD,
        priority=Priority.HIGH,
        latch=True,
        phases=ARMED,
        hysteresis=0.02,
        text="{subject}: only {value:.0%} of the voxels valid (limit {limit:.0%})",
        advice="check SNR and baseline, re-acquire the baseline",
        bound="1 frame + 50 ms",
        kind=AlertKind.TECHNICAL,
    ),
    Rule(
        id="K1",
        hazard="tracker stale",
        cause="tracker, link, line of sight",
        fact="pose_age_ms",
        compare=Compare.ABOVE,
        limit="pose_age_ms",
        reaction=Reaction.WARN,
        priority=Priority.MEDIUM,
        latch=False,
        text="{subject} NOT LIVE for {value:.0f} ms (limit {limit:.0f})",
        advice="check the tracker and the line of sight",
        bound="its limit + 50 ms",
        kind=AlertKind.TECHNICAL,
    ),
    Rule(
        id="K2",
        hazard="untracked tool sent as valid",
        cause="tool out of view, tracker software",
        fact="pose_repeats",
        compare=Compare.ABOVE,
        limit="pose_repeats",
        reaction=Reaction.WARN,
        priority=Priority.MEDIUM,
        latch=False,
        text="{subject} repeats its pose bit by bit {value:.0f} times: not tracked",
        advice="bring the tool into view",
        bound="250 ms",
        kind=AlertKind.TECHNICAL,
    ),
    Rule(
        id="K2i",
        hazard="tool reported invalid",
        cause="tool out of view",
        fact="pose_invalid_ms",
        compare=Compare.ABOVE,
        limit="pose_invalid_ms",
        reaction=Reaction.WARN,
        priority=Priority.MEDIUM,
        latch=False,
        text="{subject} reported invalid by the tracker for {value:.0f} ms",
        advice="bring the tool into view",
        bound="250 ms",
        kind=AlertKind.TECHNICAL,
    ),
    Rule(
        id="K3",
        hazard="impossible pose",
        cause="interference, corrupt data, wrong tool file",
        fact="impossible_poses_per_s",
        compare=Compare.ABOVE,
        limit="impossible_poses_per_s",
        reaction=Reaction.HOLD,
        priority=Priority.MEDIUM,
        latch=False,
        text="{subject}: {value:.0f} impossible poses a second rejected (limit {limit:.0f})",
        advice="check the tool, its marker and the tracker",
        bound="1 message",
        kind=AlertKind.TECHNICAL,
    ),
    Rule(
        id="N1",
        hazard="device or controlling console lost",
        cause="cable, process, network",
        fact="link_down_ms",
        compare=Compare.ABOVE,
        limit="link_down_ms",
        reaction=Reaction.STOP,
        priority=Priority.HIGH,
        latch=True,
        phases=ENERGY,
        text="link {subject} lost for {value:.0f} ms (limit {limit:.0f})",
        advice="acknowledge, restore the link, reset",
        bound="300 ms",
        kind=AlertKind.TECHNICAL,
    ),
    Rule(
        id="N2",
        hazard="STOP not confirmed",
        cause="device, link",
        fact="stop_unconfirmed_ms",
        compare=Compare.ABOVE,
        limit="stop_unconfirmed_ms",
        reaction=Reaction.WARN,
        priority=Priority.HIGH,
        latch=True,
        text="{subject} has not confirmed STOP for {value:.0f} ms: USE THE HARD E-STOP",
        advice="press the hard-wired emergency stop",
        bound="200 ms",
        kind=AlertKind.TECHNICAL,
    ),
    Rule(
        id="C1",
        hazard="clock step",
        cause="time service, operator",
        fact="clock_step_ms",
        compare=Compare.ABOVE,
        limit="clock_step_ms",
        reaction=Reaction.WARN,
        priority=Priority.MEDIUM,
        latch=False,
        text="the wall clock stepped by {value:.0f} ms; ages are by local receive time",
        advice="check the time service after the procedure",
        bound="1 s",
        kind=AlertKind.TECHNICAL,
    ),
)


def check_rules(limits: Limits, rules: tuple[Rule, ...] = RULES) -> None:
    """A rule without a limit or a limit without a rule is an error at start."""
    wanted = {rule.limit for rule in rules}
    faults = [f"rule {row.id}: there is no limit {row.limit!r}" for row in rules if row.limit not in limits]
    faults += [f"{name}: no rule uses this limit" for name in limits if name not in wanted]
    if faults:
        raise SettingsError("safety limits", faults)
