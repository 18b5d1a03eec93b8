"""The robot moves only while it is permitted, halts where it is, and lags by its speed."""

import numpy as np
import pytest

from devices.messages import Acknowledgement, Command, Pose, Reading
from sim.phantom.world import World, WorldSettings
from sim.robot import Robot
from sim.therapy_device import State

MS = 1_000_000


class Bench:
    """A robot with a service that beats its heart as long as `beating`."""

    def __init__(self, start_ns, **parameters):
        world = World(WorldSettings(), seed=1, start_ns=start_ns)
        self.robot = Robot(name="robot", world=world, rng=np.random.default_rng(1), start_ns=start_ns, **parameters)
        self.target_mm = world.target_mm
        self.now_ns, self.beating = start_ns, True

    def tell(self, verb):
        self.robot.accept(Command(name="R", command_id=1, verb=verb), self.now_ns)
        return next((m for m in self.robot.advance(self.now_ns) if isinstance(m, Acknowledgement)), None)

    def wait(self, milliseconds):
        said = []
        for _ in range(milliseconds // 100):
            if self.beating:
                self.tell("PERMIT")
            self.now_ns += 100 * MS
            said += self.robot.advance(self.now_ns)
        return said


@pytest.fixture
def bench(start_ns):
    found = Bench(start_ns)
    found.wait(200)
    return found


def test_it_reaches_the_target_and_lags_on_the_way(bench):
    assert bench.tell("START").done
    said = bench.wait(5000)
    readings = [m.values["following_error_mm"] for m in said if isinstance(m, Reading)]
    assert readings[-1] == pytest.approx(5.0 * 0.040, abs=0.03)
    assert len([m for m in said if isinstance(m, Pose)]) == pytest.approx(1250, abs=2)
    bench.wait(20_000)
    np.testing.assert_allclose(bench.robot.tip_mm, bench.target_mm, atol=0.1)


@pytest.mark.parametrize("halt", ["HOLD", "STOP"])
def test_it_halts_where_it_is(bench, halt):
    bench.tell("START")
    bench.wait(2000)
    assert bench.tell(halt).done
    there = bench.robot.actual_mm
    bench.wait(1000)
    assert bench.robot.actual_mm == there > 0
    assert bench.tell("RESUME").done == (halt == "HOLD")


def test_without_its_permit_it_holds(bench):
    bench.tell("START")
    bench.wait(1000)
    bench.beating = False
    bench.wait(400)
    there = bench.robot.actual_mm
    bench.wait(1000)
    assert bench.robot.state is State.HELD
    assert bench.robot.actual_mm == there
    assert not bench.tell("RESUME").done


def test_one_that_ignores_stop_says_so(start_ns):
    bench = Bench(start_ns, faults={"ignores_stop": 1.0})
    bench.wait(200)
    bench.tell("START")
    assert not bench.tell("STOP").done
    assert bench.robot.state is State.ON
