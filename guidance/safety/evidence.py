"""Evidence: from what happened in the room to the facts that rules judge. One function a fact family."""

from collections.abc import Mapping

from guidance.safety.facts import Fact, Facts
from guidance.timing.streams import StreamState

Scalars = Mapping[str, float | int | str | bool | None]
FRAME_FACTS = (
    "hot_region_c",
    "hot_voxel_twice_c",
    "hot_voxel_excess_c",
    "guard_dose_cem43_min",
    "thermometry_valid_share",
)


class GuardMemory:
    """What the two-frame rule needs to remember of each guard."""

    def __init__(self, limits_c: Mapping[str, float], limits_cem43_min: Mapping[str, float | None]) -> None:
        self._limits_c = limits_c
        self._limits_dose = limits_cem43_min
        self._last_voxel_c: dict[str, float] = {}

    def declare(self, facts: Facts, stream: str) -> None:
        """Every guard must have its facts; without them nothing can be armed."""
        for guard in self._limits_c:
            for name in FRAME_FACTS[:4]:
                facts.declare(name, guard)
        facts.declare("thermometry_valid_share", stream)
        facts.declare("thermometry_age_periods", stream)
        facts.declare("frames_not_rising", stream)

    def measure(self, facts: Facts, result: Scalars, stream: str, at_ns: int) -> None:
        """Facts of one thermometry result; a frame without temperature proves nothing."""
        proven = result.get("state") == "ok"
        share = _number(result, "valid_share")
        facts.set("thermometry_valid_share", stream, Fact(share, at_ns, proven))
        for guard, limit in self._limits_c.items():
            known = proven and bool(result.get(f"{guard}.known"))
            region, voxel = _number(result, f"{guard}.region_c"), _number(result, f"{guard}.voxel_c")
            twice = min(voxel, self._last_voxel_c.get(guard, voxel if not known else -273.15))
            if known:
                self._last_voxel_c[guard] = voxel
            dose = _number(result, f"{guard}.dose_upper_cem43_min")
            facts.set("hot_region_c", guard, Fact(region, at_ns, known, limit))
            facts.set("hot_voxel_twice_c", guard, Fact(twice, at_ns, known, limit))
            facts.set("hot_voxel_excess_c", guard, Fact(voxel - limit, at_ns, known))
            facts.set("guard_dose_cem43_min", guard, Fact(dose, at_ns, known, self._limits_dose[guard]))


def _number(result: Scalars, key: str) -> float:
    value = result.get(key)
    return float(value) if isinstance(value, (int, float)) else float("nan")


def image_age(facts: Facts, state: StreamState, now_ns: int) -> None:
    """Age of the newest frame in frame periods."""
    periods = state.age_ms(now_ns) / state.settings.period_ms
    facts.set("thermometry_age_periods", state.settings.name, Fact(periods, now_ns, state.received > 0))


def frames_rising(facts: Facts, state: StreamState, now_ns: int) -> None:
    """Frames in a row whose number or time did not rise."""
    facts.set("frames_not_rising", state.settings.name, Fact(float(state.not_rising), now_ns))


def pose_facts(
    facts: Facts, state: StreamState, now_ns: int, repeats: int, invalid_since_ns: int, impossible_per_s: int
) -> None:
    """Age, repetition, validity and plausibility of one pose stream."""
    settings = state.settings
    name = settings.name
    seen = state.received > 0
    age = state.age_ms(now_ns) if seen else 0.0
    invalid_ms = (now_ns - invalid_since_ns) / 1e6 if invalid_since_ns else 0.0
    facts.set("pose_age_ms", name, Fact(age, now_ns, seen, settings.limit_ms))
    facts.set("pose_repeats", name, Fact(float(repeats if settings.free_tool else 0), now_ns, seen))
    facts.set("pose_invalid_ms", name, Fact(invalid_ms, now_ns, seen))
    facts.set("impossible_poses_per_s", name, Fact(float(impossible_per_s), now_ns, seen))


def link_facts(facts: Facts, down_since_ns: Mapping[str, int], now_ns: int) -> None:
    """How long each link that must be up has been down; 0 = up, never up = unknown."""
    for link, since_ns in down_since_ns.items():
        down_ms = (now_ns - since_ns) / 1e6 if since_ns > 0 else 0.0
        facts.set("link_down_ms", link, Fact(down_ms, now_ns, proven=since_ns >= 0))


def stop_facts(facts: Facts, unconfirmed_ms: Mapping[str, float], now_ns: int) -> None:
    """How long the STOP of each device has been unconfirmed."""
    for device, waiting_ms in unconfirmed_ms.items():
        facts.set("stop_unconfirmed_ms", device, Fact(waiting_ms, now_ns))


class ClockWatch:
    """The wall clock against the clock that never steps: the largest step of the last ten seconds."""

    def __init__(self) -> None:
        self._difference_ns: int | None = None
        self._step_ns = 0
        self._step_at_ns = 0

    def measure(self, facts: Facts, wall_ns: int, now_ns: int) -> None:
        """Compare both clocks once a tick; a step stays a fact long enough for a person to read of it.

        `wall_ns` 0 means that this tick has no wall clock: nothing is learned.
        """
        difference = wall_ns - now_ns if wall_ns else self._difference_ns
        if difference is None:
            return
        step = abs(difference - self._difference_ns) if self._difference_ns is not None else 0
        self._difference_ns = difference
        if step >= self._step_ns or now_ns - self._step_at_ns > 10_000_000_000:
            self._step_ns, self._step_at_ns = step, now_ns
        facts.set("clock_step_ms", "clock", Fact(self._step_ns / 1e6, now_ns))
