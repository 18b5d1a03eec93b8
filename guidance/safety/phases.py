"""Phases of a treatment and the only ways between them. The diagram in the docs is drawn from these rows."""

from enum import StrEnum


class Phase(StrEnum):
    """Where the treatment stands. A service starts in STOPPED."""

    IDLE = "IDLE"
    READY = "READY"
    TREATING = "TREATING"
    HOLD = "HOLD"
    STOPPED = "STOPPED"


class Cause(StrEnum):
    """What moves a phase: acts of an operator, or reactions of rules."""

    RESET = "reset"  # operator: cause cleared and acknowledged
    ARM = "arm"  # operator: first step, every precondition holds
    START = "start"  # operator: second step, with the values that were shown
    AWAIT = "start outside the gate"  # operator: second step, the gate opens the beam
    EXPIRE = "second step too late"  # nobody confirmed in time
    FINISH = "finish"  # operator or plan: energy off, nothing wrong
    HOLD = "hold"  # rule or operator
    RESUME = "resume"  # rule, where its row allows, or operator
    STOP = "stop"  # rule or operator


TRANSITIONS: dict[tuple[Phase, Cause], Phase] = {
    (Phase.STOPPED, Cause.RESET): Phase.IDLE,
    (Phase.IDLE, Cause.ARM): Phase.READY,
    (Phase.READY, Cause.START): Phase.TREATING,
    (Phase.READY, Cause.AWAIT): Phase.HOLD,
    (Phase.READY, Cause.EXPIRE): Phase.IDLE,
    (Phase.READY, Cause.FINISH): Phase.IDLE,
    (Phase.READY, Cause.HOLD): Phase.IDLE,
    (Phase.TREATING, Cause.FINISH): Phase.IDLE,
    (Phase.TREATING, Cause.HOLD): Phase.HOLD,
    (Phase.HOLD, Cause.RESUME): Phase.TREATING,
    (Phase.HOLD, Cause.FINISH): Phase.IDLE,
    **{(phase, Cause.STOP): Phase.STOPPED for phase in Phase},
}

ENERGY_PERMITTED = frozenset({Phase.TREATING})


def next_phase(phase: Phase, cause: Cause) -> Phase | None:
    """The phase that `cause` leads to, or None where the table has no such way."""
    return TRANSITIONS.get((phase, cause))
