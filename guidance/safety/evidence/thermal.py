"""Evidence of thermometry: every guard's temperature and dose, age of images and of answers, what frames say."""

from collections.abc import Mapping
from typing import NamedTuple

from guidance.safety.facts import Fact, Facts
from guidance.timing.streams import StreamState

Scalars = Mapping[str, float | int | str | bool | None]
GUARD_FACTS = (
    "hot_region_c",
    "hot_voxel_twice_c",
    "hot_voxel_excess_c",
    "guard_dose_cem43_min",
    "guard_unseen_frames",
    "heat_rate_c_per_s",
    "residual_heat_c",
)
PLACED = "placed"  # role of a region that a person put on the image
ROLE_FACTS = {"unheated": "reference_drift_c", "near_field": "near_field_dose_cem43_min", "target": "boiling_c"}
STREAM_FACTS = (
    "thermometry_valid_share",
    "guard_unseen_frames",
    "frames_repeated",
    "thermometry_mismatch",
    "signal_void",
)
FRAME_FACTS = (*GUARD_FACTS, *ROLE_FACTS.values(), *STREAM_FACTS, "thermometry_answer_periods")
NO_TEMPERATURE_C = -273.15
# What the state of a frame says beyond "no temperature": fact -> states
STATES: dict[str, frozenset[str]] = {
    "thermometry_mismatch": frozenset({"echo_time_changed", "field_changed", "shape_changed"}),
    "signal_void": frozenset({"no_signal", "missing_slice"}),
}
REPEATED = frozenset({"repeated_frame", "time_not_rising"})


class _Last(NamedTuple):
    voxel_c: float
    mean_c: float
    at_ns: int


class GuardMemory:
    """What rules over more than one frame need to remember of each guard.

    `roles` as in the room's settings (absent = organ at risk), `t0_c` the body's temperature. With `period_ns`, the
    time between two frames, a frame that never came counts as one without temperature, and answers that come in a
    heap after a stall are no faster change: they were acquired a period apart.
    """

    def __init__(
        self,
        limits_c: Mapping[str, float],
        limits_cem43_min: Mapping[str, float | None],
        roles: Mapping[str, str] | None = None,
        t0_c: float | None = None,
        period_ns: int = 0,
    ) -> None:
        self._limits_c = dict(limits_c)
        self._limits_dose = dict(limits_cem43_min)
        self._roles = dict(roles or {})
        self._t0_c = t0_c if t0_c is not None else float("nan")
        self._last: dict[str, _Last] = {}
        self._period_ns = period_ns
        self._unseen: dict[str, int] = {}
        self._seen_ns: dict[str, int] = {}
        self._repeated = 0

    def declare(self, facts: Facts, stream: str) -> None:
        """Every guard must have its facts; without them nothing can be armed."""
        for guard in self._limits_c:
            role = ROLE_FACTS.get(self._roles.get(guard, ""))
            for name in (*GUARD_FACTS, role) if role else GUARD_FACTS:
                facts.declare(name, guard)
        for name in (*STREAM_FACTS, "thermometry_age_periods", "thermometry_answer_periods", "frames_not_rising"):
            facts.declare(name, stream)

    def add(self, guard: str, limit_c: float) -> None:
        """A region that a person placed on the image: only its temperature is limited."""
        self._limits_c[guard], self._roles[guard] = limit_c, PLACED

    def remove(self, facts: Facts, guard: str) -> None:
        """It is not watched any more."""
        if self._limits_c.pop(guard, None) is None:
            return
        for name in GUARD_FACTS:
            facts.forget(name, guard)
        for memory in (self._last, self._unseen, self._seen_ns, self._roles):
            memory.pop(guard, None)

    def measure(self, facts: Facts, result: Scalars, stream: str, at_ns: int) -> None:
        """Facts of one thermometry result; a frame without temperature proves nothing."""
        state = result.get("state")
        proven = state == "ok"
        self._repeated = self._repeated + 1 if state in REPEATED else 0
        facts.set("frames_repeated", stream, Fact(float(self._repeated), at_ns))
        for name, states in STATES.items():
            facts.set(name, stream, Fact(float(state in states), at_ns))
        facts.set("thermometry_valid_share", stream, Fact(_number(result, "valid_share"), at_ns))
        self._see(facts, stream, proven, at_ns)
        for guard in self._limits_c:
            self._guard(facts, guard, result, proven and bool(result.get(f"{guard}.known")), at_ns)

    def failed(self, facts: Facts, stream: str, at_ns: int) -> None:
        """A frame that could not be computed: nothing is seen."""
        self._see(facts, stream, False, at_ns)
        for guard in self._limits_c:
            self._guard(facts, guard, {}, False, at_ns)

    def _see(self, facts: Facts, subject: str, known: bool, at_ns: int) -> None:
        frames = 0 if known else self._unseen.get(subject, 0) + 1
        if known:
            self._seen_ns[subject] = at_ns
        elif self._period_ns and subject in self._seen_ns:
            frames = max(frames, round((at_ns - self._seen_ns[subject]) / self._period_ns))
        self._unseen[subject] = frames
        facts.set("guard_unseen_frames", subject, Fact(float(self._unseen[subject]), at_ns))

    def _guard(self, facts: Facts, guard: str, result: Scalars, known: bool, at_ns: int) -> None:
        limit = self._limits_c[guard]
        voxel, mean = _number(result, f"{guard}.voxel_c"), _number(result, f"{guard}.mean_c")
        dose = _number(result, f"{guard}.dose_upper_cem43_min")
        last = self._last.get(guard)
        twice = min(voxel, last.voxel_c) if last else NO_TEMPERATURE_C
        apart_s = max(at_ns - (last.at_ns if last else 0), self._period_ns, 1_000_000) / 1e9
        rate = abs(mean - last.mean_c) / apart_s if last else 0.0
        self._see(facts, guard, known, at_ns)
        if known:
            self._last[guard] = _Last(voxel, mean, at_ns)
        rows = {
            "hot_region_c": Fact(_number(result, f"{guard}.region_c"), at_ns, known, limit),
            "hot_voxel_twice_c": Fact(twice, at_ns, known, limit),
            "hot_voxel_excess_c": Fact(voxel - limit, at_ns, known),
        }
        role = self._roles.get(guard, "")
        if role != PLACED:
            rows |= {
                "guard_dose_cem43_min": Fact(dose, at_ns, limit=self._limits_dose[guard]),  # a bound, also while unseen
                "heat_rate_c_per_s": Fact(rate, at_ns, known),
                "residual_heat_c": Fact(mean - self._t0_c, at_ns, known),
            }
        if role in ROLE_FACTS:
            value = {"unheated": abs(mean - self._t0_c), "near_field": dose}.get(
                role, _number(result, f"{guard}.max_c")
            )
            rows[ROLE_FACTS[role]] = Fact(value, at_ns, known or role == "near_field")
        for name, fact in rows.items():
            facts.set(name, guard, fact)


def _number(result: Scalars, key: str) -> float:
    value = result.get(key)
    return float(value) if isinstance(value, (int, float)) else float("nan")


def image_age(facts: Facts, state: StreamState, now_ns: int) -> None:
    """Age of the newest frame in frame periods."""
    periods = state.age_ms(now_ns) / state.settings.period_ms
    facts.set("thermometry_age_periods", state.settings.name, Fact(periods, now_ns, state.received > 0))


def answer_age(facts: Facts, state: StreamState, answered_ns: int, now_ns: int) -> None:
    """Frame periods since a result last came; `answered_ns` 0 = never."""
    periods = (now_ns - answered_ns) / 1e6 / state.settings.period_ms
    facts.set("thermometry_answer_periods", state.settings.name, Fact(periods, now_ns, answered_ns > 0))


def frames_rising(facts: Facts, state: StreamState, now_ns: int) -> None:
    """Frames in a row whose number or time did not rise."""
    facts.set("frames_not_rising", state.settings.name, Fact(float(state.not_rising), now_ns))
