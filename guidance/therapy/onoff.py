"""On and off of a source of fixed power: until the damage that is wanted is there, with pauses where it is too hot.

The pause has a hysteresis; what is judged is what is expected at the next frame, since frames are slow. It asks for
energy and never decides safety: the guards' limits stop the device without it.
"""

from dataclasses import dataclass
from enum import StrEnum


class Why(StrEnum):
    """Why the source is on or off."""

    ON = "on"
    DONE = "damage reached"
    HOT = "hottest tissue"
    GUARD = "guard"
    LONG = "longest time"
    UNSEEN = "not seen"


@dataclass(frozen=True)
class OnOffSettings:
    """Temperatures in degC of the hottest tissue; `reserve_c` is kept to every guard's limit, `longest_s` of light."""

    off_above_c: float
    on_below_c: float
    reserve_c: float
    longest_s: float
    covered_share: float


@dataclass(frozen=True)
class Expected:
    """What one frame says of the next: hottest tissue, room to the nearest guard's limit, cover if power went off now.

    `known` is False where target or guards are not seen.
    """

    known: bool
    hottest_c: float
    guard_room_c: float
    covered_share: float


class OnOffControl:
    """State of one source: `why` says what holds it, `done` stays once the damage is reached."""

    def __init__(self, settings: OnOffSettings) -> None:
        if not settings.on_below_c <= settings.off_above_c:
            raise ValueError(f"on_below_c {settings.on_below_c} lies above off_above_c {settings.off_above_c}")
        self.settings = settings
        self.why = Why.UNSEEN
        self.done = False
        self._on_s = 0.0
        self._last_s: float | None = None

    def update(self, expected: Expected, time_s: float) -> bool:
        """True where the source is to be on until the next frame."""
        settings = self.settings
        if self.why is Why.ON and self._last_s is not None:
            self._on_s += max(time_s - self._last_s, 0.0)
        self._last_s = time_s
        resting = self.why in (Why.HOT, Why.GUARD)
        hot_c = settings.on_below_c if self.why is Why.HOT else settings.off_above_c
        reserve_c = 2.0 * settings.reserve_c if resting else settings.reserve_c
        self.done |= expected.known and expected.covered_share >= settings.covered_share
        rows = (
            (self.done, Why.DONE),
            (self._on_s >= settings.longest_s, Why.LONG),
            (not expected.known, Why.UNSEEN),
            (expected.guard_room_c < reserve_c, Why.GUARD),
            (expected.hottest_c > hot_c, Why.HOT),
        )
        self.why = next((why for holds, why in rows if holds), Why.ON)
        return self.why is Why.ON
