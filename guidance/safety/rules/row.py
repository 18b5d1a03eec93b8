"""What a row of the hazard table is made of."""

from enum import StrEnum
from functools import partial

import msgspec

from devices.messages import AlertKind, Priority
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
AT_REST = ALWAYS - ENERGY
NEVER: frozenset[Phase] = frozenset()


class Rule(msgspec.Struct, frozen=True, kw_only=True):
    """One row: `fact` of every declared subject `compare`d with `limit`.

    `row`: the row of the hazard table that it belongs to. A fact that is unknown violates the row
    in the phases of `unknown_in` (elsewhere it blocks arming, so a room that is only being set up
    is quiet). `calm`: the priority while no energy can flow, where it is another one.
    `delay_ms`: how long the violation must last; `hold_ms`: how long it must be gone before the
    condition counts as cleared; `quiet_ms`: it reacts at once, and is told to people only when it
    has lasted this long (a gate that closes with every breath is no news); `hysteresis`: how far
    back inside the limit clears it. `step`: the limits row that says how far beyond the limit it is
    told again, each time anew: what was acknowledged at one level is not seen at the next.
    `auto_resume`: a HOLD that ends by itself when its condition clears. `gate`: the therapy may be
    started while it is violated, and waits in HOLD. `escalates`: unseen, it calls the next console.
    `bound`: from the arrival of the first evidence to the bytes of the reaction.
    """

    id: str
    row: str
    hazard: str
    cause: str
    fact: str
    compare: Compare = Compare.ABOVE
    limit: str
    reaction: Reaction
    priority: Priority
    calm: Priority | None = None
    kind: AlertKind = AlertKind.TECHNICAL
    latch: bool
    text: str
    advice: str
    phases: frozenset[Phase] = ALWAYS
    unknown_in: frozenset[Phase] = ARMED
    delay_ms: float = 0.0
    hold_ms: float = 0.0
    quiet_ms: float = 0.0
    quiet_in: frozenset[Phase] = ALWAYS
    hysteresis: float = 0.0
    step: str = ""
    fresh_ms: float = 0.0  # evidence older than this makes the fact unknown; 0 = the fact states an age itself
    auto_resume: bool = False
    gate: bool = False
    escalates: bool = True
    bound: str


warn = partial(Rule, reaction=Reaction.WARN, priority=Priority.MEDIUM, latch=False)
block = partial(Rule, reaction=Reaction.BLOCK, priority=Priority.MEDIUM, latch=True)
hold = partial(Rule, reaction=Reaction.HOLD, priority=Priority.HIGH, latch=True)
stop = partial(Rule, reaction=Reaction.STOP, priority=Priority.HIGH, latch=True)
