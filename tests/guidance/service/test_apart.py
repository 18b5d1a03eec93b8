"""A lane in a process of its own: the same pictures to the byte, and a death that is told and mended."""

import os
import signal
import threading
from collections.abc import Iterator

import numpy as np
import pytest

from devices.messages import Image
from guidance.events import Job
from guidance.lanes import Workbench
from guidance.load import config_file, load_room
from guidance.service.apart import Apart


def frame(number: int, shade: int = 90) -> Job:
    image = Image(
        name="Ultrasound", pixels=np.full((1, 64, 80), shade, np.uint8), frame="Transducer",
        frame_from_image_mm=np.eye(4), device_time_ns=number,
    )  # fmt: skip
    inputs = {"stream": "Ultrasound", "image": image, "ras_from_image": np.eye(4)}
    return Job(number, "show", "", "frame", {**inputs, "tools": {}, "tips": {}, "zones": [], "void": ""}, {})


@pytest.fixture(scope="module")
def room():
    settings, plan, _ = load_room(config_file("procedures", "hifu_liver"))
    return settings, plan


@pytest.fixture(scope="module")
def apart(room) -> Iterator[Apart]:
    bench = Apart("show", *room)
    bench.wait_until_warm()
    yield bench
    assert bench.close() == 0


def test_pictures_are_those_of_a_bench_in_this_process(apart, room):
    here = Workbench(*room)
    for number in range(3):
        ours, theirs = here.run(frame(number, 80 + number), 7), apart.run(frame(number, 80 + number), 7)
        assert not theirs.failed
        assert (theirs.job, theirs.kind, theirs.started_ns, theirs.facts) == (number, "frame", 7, ours.facts)
        assert all(np.array_equal(ours.arrays[name], theirs.arrays[name]) for name in ours.arrays)


def test_bad_input_is_a_failed_result_there_too(apart):
    job = Job(5, "show", "", "planes", {"tools": {}, "tips": {}, "zones": [], "void": "", "pointer": "Nobody"}, {})
    assert not apart.run(job, 1).failed
    bad = Job(6, "show", "", "frame", {**frame(6).inputs, "ras_from_image": np.zeros((4, 4))}, {})
    answer = apart.run(bad, 1)
    assert answer.failed or answer.arrays
    assert not apart.run(frame(7), 1).failed


def test_a_process_that_dies_is_told_and_replaced(apart):
    os.kill(apart._process.pid, signal.SIGSTOP)  # it must not answer before it dies
    threading.Timer(0.1, os.kill, (apart._process.pid, signal.SIGKILL)).start()
    assert "process of this lane ended with -9" in apart.run(frame(10), 1).failed
    assert not apart.run(frame(11), 1).failed


def test_a_process_that_hangs_is_replaced(apart):
    apart._line.settimeout(0.3)
    os.kill(apart._process.pid, signal.SIGSTOP)
    assert "timed out" in apart.run(frame(12), 1).failed
    assert not apart.run(frame(13), 1).failed
