"""A kind of fault as a row: where it acts, how one is made for a start time, and what most are made of."""

import math
from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from devices.messages import AnyMessage, Pose
from devices.quality import Quality
from guidance.faults.spoiler import Active, Moment, Mutation, Spoiled, replaced
from guidance.settings import RoomSettings

SECOND = 1_000_000_000
LASTS = 3 * SECOND
GAMMA_HZ_PER_T = 42.577478518e6
LINK_DOWN, OPERATOR_STOP, CLOCK_STEP = "link-down", "operator-stop", "clock-step"
Vector = NDArray[np.float64]


class Stage(msgspec.Struct, frozen=True):
    """What a fault needs to know of the room: settings and where the guard lies in the picture."""

    settings: RoomSettings
    period_ns: int
    guard_mask: NDArray[np.bool_]
    way: NDArray[np.float64] | None = None  # (3,) from entry to target, where a robot follows one

    def rad_per_c(self) -> float:
        """Phase of one degree, by the room's own settings (PRF: gamma alpha B0 TE)."""
        row = self.settings.thermometry
        assert row is not None
        turn = 2 * math.pi * GAMMA_HZ_PER_T * row.field_t * row.alpha_ppm * 1e-6 * row.echo_time_s
        return turn * row.phase_sign


Make = Callable[[Stage, np.random.Generator, int], Active]


class FaultRow(msgspec.Struct, frozen=True):
    """One kind of fault: the link that it acts on and how one of it is made for a start time."""

    name: str
    link: str  # "" = the service itself
    make: Make
    room: str = "campaign"
    seconds: float = 4.0  # how long its case lasts


def lasting(name: str, seconds: float = 3.0, **more: Any) -> Make:
    """The same for every seed, for so long; `more` are fields of `Active`."""

    def make(stage: Stage, rng: np.random.Generator, start_ns: int) -> Active:
        return Active(name, start_ns, start_ns + round(seconds * SECOND), **more)

    return make


def drawn(mutation: Callable[[np.random.Generator], Mutation], name: str, seconds: float = 3.0) -> Make:
    """A mutation whose strength is drawn once for the case."""

    def make(stage: Stage, rng: np.random.Generator, start_ns: int) -> Active:
        return Active(name, start_ns, start_ns + round(seconds * SECOND), mutation(rng))

    return make


def silent(low_s: float, high_s: float) -> Make:
    """Nothing comes."""

    def make(stage: Stage, rng: np.random.Generator, start_ns: int) -> Active:
        return Active("silent", start_ns, start_ns + round(rng.uniform(low_s, high_s) * SECOND), nothing)

    return make


def down(low_s: float, high_s: float) -> Make:
    """The link is down: nothing comes, and nothing arrives there."""

    def make(stage: Stage, rng: np.random.Generator, start_ns: int) -> Active:
        return Active(LINK_DOWN, start_ns, start_ns + round(rng.uniform(low_s, high_s) * SECOND), nothing, deaf=True)

    return make


def stuck(kind: type[AnyMessage], field: str, seconds: float = 3.0) -> Make:
    """What the first message of the fault says in this field is said again in all, under new numbers and times."""

    def mutation(rng: np.random.Generator) -> Mutation:
        first: dict[str, AnyMessage] = {}

        def mutate(message: AnyMessage, moment: Moment) -> Spoiled:
            if not isinstance(message, kind):
                return [(0, message)]
            old = first.setdefault(message.name, message)
            return [(0, replaced(message, **{field: getattr(old, field)}))]

        return mutate

    return drawn(mutation, f"stuck {field}", seconds)


def nothing(message: AnyMessage, moment: Moment) -> Spoiled:
    """The message is lost."""
    return []


def invalid(message: AnyMessage, moment: Moment) -> Spoiled:
    """The tracker says that it does not see the tool."""
    return [(0, replaced(message, quality=Quality.INVALID) if isinstance(message, Pose) else message)]
