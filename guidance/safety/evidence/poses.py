"""Evidence of tracking: age, repetition and plausibility of poses, the two references, the robot's corridor."""

from devices.messages import Matrix
from guidance.exact import Vector
from guidance.navigation.fixtures import Fixture, judge_fixture
from guidance.navigation.watches import PairWatch
from guidance.plan.model import Trajectory
from guidance.safety.facts import Fact, Facts
from guidance.timing.streams import StreamState


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
    sent_as_valid = settings.free_tool and not invalid_since_ns
    facts.set("pose_repeats", name, Fact(float(repeats if sent_as_valid else 0), now_ns, seen))
    facts.set("pose_invalid_ms", name, Fact(invalid_ms, now_ns, seen))
    facts.set("impossible_poses_per_s", name, Fact(float(impossible_per_s), now_ns, seen))


def robot_age(facts: Facts, state: StreamState, usable_ns: int, now_ns: int) -> None:
    """Age of the newest usable pose of a stream that a robot sends, received at `usable_ns` (0 = never).

    A robot that says that its pose is invalid is as blind as one that says nothing.
    """
    fact = Fact((now_ns - usable_ns) / 1e6, now_ns, usable_ns > 0, state.settings.limit_ms)
    facts.set("robot_pose_age_ms", state.settings.name, fact)


class ReferencePair:
    """Two references on one patient: how far the first moved against the second since the first look."""

    def __init__(self, first: str) -> None:
        self._first = first
        self._watch = PairWatch()

    def measure(self, facts: Facts, first: Matrix, second: Matrix, now_ns: int) -> None:
        """Poses (4, 4) of both in one frame, each proven live."""
        shift = self._watch.check(first, second).shift_mm
        facts.set("reference_shift_mm", self._first, Fact(shift, now_ns))


class Corridor:
    """Where the robot's tip is against its way, and where it will be before it stands."""

    def __init__(self, device: str, fixture: Fixture, way: Trajectory) -> None:
        self._device, self._fixture, self._way = device, fixture, way
        self._last: tuple[Vector, int] | None = None
        self._velocity: Vector | None = None

    def measure(self, facts: Facts, tip_mm: Vector, at_ns: int, now_ns: int) -> None:
        """Tip (3,) RAS mm as received at `at_ns`; the speed is taken over at least 20 ms."""
        last = self._last
        if last is None or at_ns - last[1] >= 20_000_000:
            if last is not None:
                self._velocity = (tip_mm - last[0]) / ((at_ns - last[1]) / 1e9)
            self._last = (tip_mm, at_ns)
        velocity = self._velocity if self._velocity is not None else tip_mm * 0.0
        found = judge_fixture(self._fixture, self._way, tip_mm, velocity)
        outer = self._fixture.outer_mm
        facts.set("corridor_lateral_mm", self._device, Fact(found.lateral_mm, at_ns, limit=outer))
        facts.set("corridor_foretold_mm", self._device, Fact(found.foretold_mm, at_ns, limit=outer))
        facts.set("corridor_past_mm", self._device, Fact(-found.to_go_mm, at_ns, limit=self._fixture.beyond_mm))
