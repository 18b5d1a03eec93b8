"""Faults are injected as their rows say, and only then."""

import numpy as np
import pytest

from devices.messages import Pose, Reading
from sim.faults import KINDS, Fault, Faulty

MS = 1_000_000


class Clockwork:
    """A peer that says a pose and a reading every 10 ms."""

    name = "tracker"

    def __init__(self):
        self.number = 0
        self.heard = []

    def next_due_ns(self):
        return self.number * 10 * MS

    def advance(self, now_ns):
        if now_ns < self.next_due_ns():
            return []
        matrix = np.eye(4)
        matrix[0, 3] = self.number
        about = {"device_time_ns": now_ns, "name": "Needle"}
        pose = Pose(moving="Needle", fixed="Tracker", fixed_from_moving=matrix, number=self.number, **about)
        self.number += 1
        return [pose, Reading(name="Other", device_time_ns=now_ns, values={"a": 2.0})]

    def accept(self, message, now_ns):
        self.heard.append(message)


def run(*rows, milliseconds=300, seed=1):
    peer = Faulty(Clockwork(), [Fault(link="tracker", **row) for row in rows], np.random.default_rng(seed), 0)
    said = []
    while (due := peer.next_due_ns()) < milliseconds * MS:
        said += [(due, message) for message in peer.advance(due)]
    return peer, said


WINDOW = {"start_s": 0.1, "duration_s": 0.1, "message": "Needle"}


def x_of(said):
    return [message.fixed_from_moving[0, 3] for _, message in said if isinstance(message, Pose)]


def test_outside_its_window_nothing_happens():
    for kind in KINDS:
        _, said = run({"kind": kind, "start_s": 5.0})
        assert x_of(said) == list(range(30))


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("drop", [*range(10), *range(20, 30)]),
        ("stop", [*range(10), *range(20, 30)]),
        ("freeze", [*range(10), *[9] * 10, *range(20, 30)]),
        ("repeat", [*range(10), *[9] * 10, *range(20, 30)]),
        ("duplicate", [*range(10), *sorted([*range(10, 20)] * 2), *range(20, 30)]),
    ],
)
def test_what_arrives(kind, expected):
    _, said = run({"kind": kind, **WINDOW})
    assert x_of(said) == expected


def test_freeze_goes_on_counting_and_repeat_does_not():
    fresh = [m.number for _, m in run({"kind": "freeze", **WINDOW})[1] if isinstance(m, Pose)]
    old = [m.number for _, m in run({"kind": "repeat", **WINDOW})[1] if isinstance(m, Pose)]
    assert fresh == list(range(30))
    assert old == [*range(10), *[9] * 10, *range(20, 30)]


def test_delay_jump_shear_stamp_and_corrupt():
    late = [now - m.device_time_ns for now, m in run({"kind": "delay", "amount": 25.0, **WINDOW})[1]]
    assert max(late) == 25 * MS
    assert sum(1 for n in late if n) == 10
    _, said = run({"kind": "jump", "amount": 50.0, **WINDOW})
    moved = [m.fixed_from_moving[:3, 3] - [m.number, 0, 0] for _, m in said if isinstance(m, Pose)]
    assert np.linalg.norm(moved, axis=1) == pytest.approx([0.0] * 10 + [50.0] * 10 + [0.0] * 10)
    _, said = run({"kind": "shear", **WINDOW})
    assert sum(m.fixed_from_moving[0, 1] != 0 for _, m in said if isinstance(m, Pose)) == 10
    _, said = run({"kind": "stamp", "amount": 3.6e6, **WINDOW})
    assert sum(m.device_time_ns > 3000 * 1000 * MS for _, m in said) == 10
    _, said = run({"kind": "corrupt", "amount": 3.0, **WINDOW | {"message": "Other"}})
    assert sum(m.values["a"] == 6.0 for _, m in said if isinstance(m, Reading)) == 10


def test_share_and_seed():
    runs = [x_of(run({"kind": "drop", "share": 0.3}, milliseconds=3000, seed=seed)[1]) for seed in (1, 1, 2)]
    assert runs[0] == runs[1] != runs[2]
    assert 0.6 < len(runs[0]) / 300 < 0.8


def test_a_stopped_peer_is_deaf():
    peer, _ = run({"kind": "stop", "start_s": 0.1, "duration_s": 0.1})
    peer.accept("a", 50 * MS)
    peer.accept("b", 150 * MS)
    assert peer.peer.heard == ["a"]
