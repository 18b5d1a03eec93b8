"""Whatever is compiled is compiled before the first frame: a fresh machine must not pause at the first watt."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
LIVED = """
import gc, sys
from numba.core.dispatcher import Dispatcher
from devices.clock import SystemClock
from guidance.core import Core
from guidance.lanes import warm_up
from guidance.load import config_file, load_room
from guidance.settings import read_toml
from guidance.trial import EPOCH_NS, build_peers
from guidance.virtual import VirtualRoom
from sim.__main__ import _build_for_now

def ready():
    found = [d for d in gc.get_objects() if isinstance(d, Dispatcher)]
    return {(d.py_func.__module__, d.py_func.__name__, str(s)) for d in found for s in d.overloads}

name, seconds = sys.argv[1], int(sys.argv[2])
settings, plan, limits = load_room(config_file("procedures", name))
_build_for_now(read_toml(config_file("scenarios", name)), 1, SystemClock())
warm_up(settings, plan)
before = ready()
room = build_peers(name, 1, EPOCH_NS)
virtual = VirtualRoom(Core(settings, plan, limits), room.peers, EPOCH_NS, on_sent=room.sends.note)
virtual.run_until(EPOCH_NS + seconds * 10**9)
new = ready() - before
late = sorted(f"{module}.{function}" for module, function, _ in new if module.startswith(("guidance", "sim")))
print(max((drive.power_w for drive in room.truth.world.drives), default=0.0), *late)
"""


HEATED_BY_S = {
    "hifu_liver": 17, "hifu_breathing": 21, "hyperthermia_release": 26, "laser_brain": 31, "cryo_kidney": 41
}  # fmt: skip


@pytest.mark.parametrize(("procedure", "seconds"), HEATED_BY_S.items())
def test_nothing_is_compiled_once_the_room_runs(procedure: str, seconds: int) -> None:
    command = [sys.executable, "-c", LIVED, procedure, str(seconds)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=True)
    power_w, *late = done.stdout.split()
    assert float(power_w) > 0.0
    assert late == []
