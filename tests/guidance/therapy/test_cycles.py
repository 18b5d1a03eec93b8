"""Freeze-thaw cycles: time that is permitted counts, and thaw comes as planned only."""

from guidance.therapy.cycles import Cycles, Step


def through(cycles, seconds, permitted=True, start=0.0):
    seen = []
    for second in range(seconds):
        cycles.pass_time(start + second, permitted)
        seen.append((cycles.step, cycles.number))
    return seen


def test_the_steps_in_their_order():
    cycles = Cycles([(10.0, 5.0), (10.0, 5.0)], active_thaw_s=3.0)
    steps = list(dict.fromkeys(through(cycles, 40)))
    assert steps == [
        (Step.FREEZE, 1), (Step.REST, 1), (Step.FREEZE, 2), (Step.REST, 2), (Step.THAW, 2), (Step.DONE, 2),
    ]  # fmt: skip


def test_without_a_plan_there_is_no_active_thaw():
    cycles = Cycles([(5.0, 5.0)])
    assert Step.THAW not in dict(through(cycles, 30))
    assert cycles.step is Step.DONE


def test_a_hold_prolongs_the_freeze():
    cycles = Cycles([(10.0, 5.0)])
    through(cycles, 6)
    through(cycles, 100, permitted=False, start=6.0)
    assert cycles.step is Step.FREEZE
    assert cycles.step_s == 5.0
    through(cycles, 4, start=106.0)
    assert cycles.step is Step.FREEZE
    through(cycles, 3, start=110.0)
    assert cycles.step is Step.REST


def test_nothing_begins_before_it_may():
    cycles = Cycles([(10.0, 5.0)])
    through(cycles, 50, permitted=False)
    assert not cycles.begun
    assert cycles.number == 0
    assert cycles.step_s == 0.0
