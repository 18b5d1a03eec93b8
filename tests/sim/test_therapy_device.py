"""The energy device obeys, acknowledges, and switches itself off."""

import numpy as np
import pytest

from devices.messages import Acknowledgement, Command, Reading
from sim.phantom.world import World, WorldSettings
from sim.therapy_device import MOVES, NEEDS_PERMIT, State, TherapyDevice

S, MS = 1_000_000_000, 1_000_000


class Bench:
    """A device with a service that beats its heart as long as `beating`."""

    def __init__(self, start_ns, **parameters):
        self.world = World(WorldSettings(), seed=1, start_ns=start_ns)
        rng = np.random.default_rng(1)
        self.device = TherapyDevice(name="therapy", world=self.world, rng=rng, start_ns=start_ns, **parameters)
        self.now_ns = start_ns
        self.beating = True
        self.said = []

    def tell(self, verb, **values):
        self.device.accept(Command(name="T", command_id=len(self.said), verb=verb, values=values), self.now_ns)
        self.said += self.device.advance(self.now_ns)
        answers = [message for message in self.said if isinstance(message, Acknowledgement)]
        return answers[-1] if answers else None

    def wait(self, milliseconds):
        until = self.now_ns + milliseconds * MS
        while self.now_ns < until:
            if self.beating:
                self.tell("PERMIT", permit=1.0)
            end = min(until, self.now_ns + 100 * MS)
            while (due := self.device.next_due_ns()) <= end:
                self.said += self.device.advance(due)
            self.now_ns = end

    @property
    def power_w(self):
        return self.world.drives[-1].power_w


@pytest.fixture
def bench(start_ns):
    found = Bench(start_ns)
    found.wait(200)
    return found


def test_power_flows_between_start_and_stop(bench):
    assert bench.tell("POWER", power_w=40.0).done
    assert bench.tell("START").done
    bench.wait(2000)
    assert bench.power_w == 40.0
    assert bench.tell("STOP").done
    assert bench.power_w == 0.0
    reading = [message for message in bench.said if isinstance(message, Reading)][-1]
    assert reading.values["energy_j"] == pytest.approx(80.0, abs=4.1)
    assert not bench.tell("START").done, "STOP is latched"
    assert bench.tell("ARM").done
    assert bench.tell("START").done


def test_hold_and_resume(bench):
    bench.tell("START")
    assert bench.tell("HOLD").done
    assert bench.power_w == 0.0
    assert bench.tell("RESUME").done
    assert bench.power_w > 0


@pytest.mark.parametrize("verb", sorted({verb for verb, _ in MOVES}))
@pytest.mark.parametrize("state", list(State))
def test_what_is_not_in_the_table_is_refused(bench, verb, state):
    bench.device.state = state
    answer = bench.tell(verb)
    assert answer.done == ((verb, state) in MOVES)
    assert bench.device.state is MOVES.get((verb, state), state)


def test_three_missed_beats_switch_it_off(bench):
    bench.tell("START")
    bench.beating = False
    began_ns = bench.now_ns
    bench.wait(1000)
    assert bench.power_w == 0.0
    assert bench.device.state is State.HELD
    off_ns = bench.device.switched[-1][0]
    assert off_ns - began_ns <= 300 * MS
    assert not bench.tell("RESUME").done, "no permit"


@pytest.mark.parametrize("verb", sorted(NEEDS_PERMIT))
def test_no_emission_without_a_permit(start_ns, verb):
    bench = Bench(start_ns)
    bench.device.state = State.READY if verb == "START" else State.HELD
    answer = bench.tell(verb)
    assert not answer.done
    assert "permit" in answer.text


def test_a_withdrawn_permit_works_at_once(bench):
    bench.tell("START")
    bench.tell("PERMIT", permit=0.0)
    assert bench.power_w == 0.0


def test_nonsense_is_refused(bench):
    assert not bench.tell("POWER", power_w=1e6).done
    assert not bench.tell("POWER").done
    assert not bench.tell("FOCUS", x_mm=500.0, y_mm=0.0, z_mm=0.0).done
    assert not bench.tell("FOCUS", x_mm=78.0).done
    assert not bench.tell("EXPLODE").done


def test_focus_moves_the_heat(bench):
    bench.tell("START")
    assert bench.tell("FOCUS", x_mm=80.0, y_mm=2.0, z_mm=1.0).done
    assert bench.world.drives[-1].focus_mm == (80.0, 2.0, 1.0)


def test_a_device_that_ignores_stop_says_so(start_ns):
    bench = Bench(start_ns, faults={"ignores_stop": 1.0})
    bench.wait(200)
    bench.tell("START")
    assert not bench.tell("STOP").done
    assert bench.power_w > 0


def test_a_late_acknowledgement_is_late_and_the_stop_is_not(start_ns):
    bench = Bench(start_ns, faults={"late_ack_ms": 500.0})
    bench.wait(200)
    bench.tell("START")
    bench.wait(600)
    assert bench.tell("STOP").verb == "START"
    assert bench.power_w == 0.0
    bench.wait(600)
    assert bench.said[-7:] and any(isinstance(m, Acknowledgement) and m.verb == "STOP" for m in bench.said)


def test_its_own_program_needs_the_permit_too(start_ns):
    program = [{"at_s": 1.0, "duration_s": 2.0, "power_w": 30.0}]
    with_permit, without = Bench(start_ns, program=program), Bench(start_ns, program=program)
    without.beating = False
    for bench in (with_permit, without):
        bench.wait(5000)
    times = [(when - start_ns) / S for when, _ in with_permit.device.switched]
    assert times == pytest.approx([1.0, 3.0], abs=0.11)
    assert without.device.switched == []
