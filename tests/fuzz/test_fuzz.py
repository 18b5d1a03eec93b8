"""Every kept input, then twenty seconds of new ones; `make fuzz` (--fuzz) goes on to 10^7 and 10^5."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
import subprocess

from fuzz import plain
from targets import TARGETS, seeds

SECONDS = {"stream": 4, "bodies": 5, "zeromq": 3, "mqtt": 1, "settings": 3, "plan": 4}
RUNS = {
    "stream": 4_000_000,
    "bodies": 4_000_000,
    "zeromq": 1_500_000,
    "mqtt": 500_000,
    "settings": 100_000,
    "plan": 100_000,
}


@pytest.mark.parametrize("name", sorted(TARGETS))
def test_every_kept_input_is_refused_or_sound(name: str) -> None:
    kept = seeds(name)
    assert kept
    for data in kept:
        TARGETS[name](data)


@pytest.mark.parametrize("name", sorted(TARGETS))
def test_new_inputs_are_refused_or_sound(name: str) -> None:
    assert plain(name, 0, SECONDS[name]) > 50


@pytest.mark.parametrize("name", sorted(TARGETS))
def test_long(name: str, pytestconfig: pytest.Config) -> None:
    if not pytestconfig.getoption("--fuzz"):
        pytest.skip("a long run: make fuzz")
    script = str(Path(__file__).with_name("fuzz.py"))
    done = subprocess.run([sys.executable, script, name, "--runs", str(RUNS[name])], check=False)
    assert done.returncode == 0
