"""Anything may happen in any order: energy never flows with a condition present, and no stop is ever lost."""

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from safety_kit import LIMITS, TICK_NS, World

from guidance.safety.phases import Phase
from guidance.safety.rules import RULES, Compare, Reaction
from guidance.units import ms

ROWS = {row.fact: row for row in RULES}
ACTS = st.sampled_from(["STOP", "HOLD", "RESUME", "ARM", "START", "FINISH", "RESET"])


class Room(RuleBasedStateMachine):
    """Facts come and go, people act, devices obey or do not, time passes."""

    def __init__(self) -> None:
        super().__init__()
        self.world = World()
        self.world.treat()
        self.reset_asked = False

    @rule(fact=st.sampled_from(sorted(ROWS)), far=st.sampled_from([-1.0, -0.01, 0.01, 1.0]), proven=st.booleans())
    def measure(self, fact: str, far: float, proven: bool) -> None:
        limit = LIMITS[ROWS[fact].limit].value
        self.world.set(fact, limit + far * max(abs(limit), 1.0), proven=proven)

    @rule(fact=st.sampled_from(sorted(ROWS)))
    def recover(self, fact: str) -> None:
        row = ROWS[fact]
        good = LIMITS[row.limit].value * (0.1 if row.compare is Compare.ABOVE else 10.0)
        for subject in list(self.world.facts.subjects(fact)):
            self.world.set(fact, good, subject)

    @rule()
    def all_well(self) -> None:
        for fact in ROWS:
            self.recover(fact)
        self.world.tick()
        for alarm in self.world.judge.shown():
            alarm.acknowledge("anna", self.world.now_ns)
            alarm.reset()

    @rule(verb=ACTS)
    def act(self, verb: str) -> None:
        before = self.world.phase
        done = self.world.act(verb).done
        if before is Phase.STOPPED and self.world.phase is not Phase.STOPPED:
            assert verb == "RESET"
            assert done
            assert self.world.stops.all_confirmed

    @rule(obeys=st.booleans())
    def devices(self, obeys: bool) -> None:
        self.world.obeys = obeys

    @rule(ticks=st.integers(1, 20))
    def wait(self, ticks: int) -> None:
        for _ in range(ticks):
            before = self.world.phase
            self.world.tick()
            assert before is not Phase.STOPPED or self.world.phase is Phase.STOPPED, "only a person leaves STOPPED"

    @rule()
    def judged(self) -> None:
        self.world.tick()
        present = {reaction: self.world.judge.present(reaction) for reaction in Reaction}
        if present[Reaction.STOP]:
            assert self.world.phase is Phase.STOPPED
        if present[Reaction.STOP] or present[Reaction.HOLD]:
            assert self.world.permit == 0.0

    @invariant()
    def energy_needs_the_phase(self) -> None:
        assert self.world.permit == float(self.world.phase is Phase.TREATING)

    @invariant()
    def no_stop_is_lost(self) -> None:
        for request in self.world.stops.requests.values():
            assert request.confirmed_ns or request.sent
            assert request.confirmed_ns or request.next_ns <= self.world.now_ns + ms(50) + TICK_NS
            assert request.confirmed_ns or self.world.phase is Phase.STOPPED

    @invariant()
    def what_stopped_is_shown_until_somebody_saw_it(self) -> None:
        for alarm in self.world.judge.alarms.values():
            latched = alarm.rule.latch and alarm.first_ns and not alarm.acknowledged_by
            assert not latched or alarm.shown


TestRoom = Room.TestCase
TestRoom.settings = settings(
    max_examples=60,
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    derandomize=True,
)
