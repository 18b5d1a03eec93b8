"""What goes into the core and what comes out of it: events in, effects out.

Live service, virtual time and replay all speak exactly this. Every event carries service time
(`now_ns`); the core has no other clock. Effects name links by id and lanes by name.
"""

from typing import Any

import msgspec

from devices.messages import AnyMessage


class Event(msgspec.Struct, frozen=True, kw_only=True, tag=True, eq=False):
    """Something that happened, at service time `now_ns`."""

    now_ns: int


class Arrival(Event, frozen=True, kw_only=True, tag="arrival", eq=False):
    """A message was accepted on a link."""

    link: str
    message: AnyMessage


class Tick(Event, frozen=True, kw_only=True, tag="tick", eq=False):
    """Time passed; the driver sends one every tick period."""

    wall_ns: int = 0  # the wall clock beside it, for the clock-step rule


class LinkChange(Event, frozen=True, kw_only=True, tag="link", eq=False):
    """A link (or one peer on it) came up or went down, with the reason."""

    link: str
    up: bool
    peer: str = ""
    reason: str = ""


class Loss(Event, frozen=True, kw_only=True, tag="loss", eq=False):
    """Something was dropped or rejected before the core: counted, never silent."""

    link: str
    stream: str
    count: int
    reason: str


class JobDone(Event, frozen=True, kw_only=True, tag="done", eq=False):
    """A lane finished a job. `facts` drive decisions; `arrays` are products for other jobs and views."""

    job: int
    lane: str
    kind: str
    facts: dict[str, float | int | str | bool | None]
    arrays: dict[str, Any] = {}
    started_ns: int = 0
    failed: str = ""  # what went wrong, when the job raised


class Act(Event, frozen=True, kw_only=True, tag="act", eq=False):
    """An operator's act, already authenticated by the rim; the core judges it."""

    verb: str  # ARM | START | STOP | ACKNOWLEDGE | RESET | LEASE | ...
    actor: str
    values: dict[str, float | int | str | bool] = {}
    console: str = ""  # where; "" = the actor's own
    role: str = "operator"


class Health(Event, frozen=True, kw_only=True, tag="health", eq=False):
    """What the rim measured of itself: `facts` by name, of `source` (recorder, journal, supervisor, a feed)."""

    source: str
    facts: dict[str, float]


AnyEvent = Arrival | Tick | LinkChange | Loss | JobDone | Act | Health


class Send(msgspec.Struct, frozen=True, eq=False):
    """Send `message` on link `link`. `urgent` = safety lane: never shed, goes first."""

    link: str
    message: AnyMessage
    urgent: bool = False


class Job(msgspec.Struct, frozen=True, eq=False):
    """Heavy work for a lane. A newer job of the same slot replaces one that waits (and is counted).

    `slot` = "" means that the job must run and is never replaced. `inputs` are passed by
    reference and never changed; `evidence` maps input stream to receive time (ns).
    """

    number: int
    lane: str  # "guard" (what rules judge) | "show" (pictures) | "study" (plans, forecasts, calibrations)
    slot: str
    kind: str
    inputs: dict[str, Any]
    evidence: dict[str, int]


Effect = Send | Job
