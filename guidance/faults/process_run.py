"""Campaign C: processes and disks. The real command under its supervisor, and what becomes of it when they fail.

Each case starts `guidance run campaign` beside its simulated devices, breaks something that belongs to the
operating system, and looks from outside: bytes at the device, exit codes, what is left running, what can be read.
"""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import psutil

from guidance.faults.score import Finding, Outcome
from guidance.load import config_file
from guidance.replay import check

LIVE_S = 30.0
END_MS = 2000.0


class Processes(msgspec.Struct):
    """One supervised service with its devices in one folder."""

    folder: Path
    devices: subprocess.Popen[bytes]
    supervisor: psutil.Process
    service: psutil.Process
    popen: subprocess.Popen[bytes]

    def gone_ms(self, processes: list[psutil.Process]) -> float | None:
        """How long until all of them had ended, None where one did not."""
        began = time.monotonic()
        _, alive = psutil.wait_procs(processes, timeout=3 * END_MS / 1e3)
        return None if alive else (time.monotonic() - began) * 1e3


def _start(folder: Path, seed: int, words: Iterable[str] = ()) -> Processes:
    scenario, room = (str(config_file(kind, "campaign")) for kind in ("scenarios", "procedures"))
    devices = subprocess.Popen(
        [sys.executable, "-m", "sim", scenario, "--seed", str(seed)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    assert devices.stdout is not None
    addresses: dict[str, str] = json.loads(devices.stdout.readline())["ready"]
    links = [word for name, address in addresses.items() for word in ("--link", f"{name}={address}")]
    links += ["--link", "bus=127.0.0.1:0"]
    with (folder / "said").open("wb") as said:
        popen = subprocess.Popen(
            [sys.executable, "-m", "guidance", "run", room, *links, "--record", str(folder / "run.mcap"), *words],
            stdout=said, stderr=said, cwd=folder,
        )  # fmt: skip
    supervisor = psutil.Process(popen.pid)
    deadline = time.monotonic() + LIVE_S
    while time.monotonic() < deadline:
        children = supervisor.children()
        if children and b"link tracker" in (folder / "said").read_bytes():
            return Processes(folder, devices, supervisor, children[0], popen)
        time.sleep(0.02)
    popen.kill()
    devices.kill()
    raise RuntimeError(f"the service did not come up: {(folder / 'said').read_text(errors='replace')[-2000:]}")


def _end(room: Processes) -> None:
    for process in (room.popen, room.devices):
        if process.poll() is None:
            process.send_signal(signal.SIGCONT)
            process.kill()
        process.wait()
    if room.service.is_running():
        room.service.kill()
    if room.devices.stdout is not None:
        room.devices.stdout.close()


def _found(rule: str, subject: str, effect: str, late_ms: float | None, bound_ms: float) -> Finding:
    return Finding(rule, rule, subject, effect, bound_ms, late_ms, late_ms is None or late_ms > bound_ms)


def _ends(number: int, frozen: bool) -> Callable[[Processes, np.random.Generator], list[Finding]]:
    """A signal to the supervisor ends every process; also where the service itself does not move."""

    def case(room: Processes, rng: np.random.Generator) -> list[Finding]:
        time.sleep(float(rng.uniform(0, 0.5)))
        if frozen:
            room.service.suspend()
        room.popen.send_signal(number)
        late = room.gone_ms([room.service, room.supervisor])
        return [_found("END", signal.Signals(number).name, "ENDS", late, END_MS + 500.0)]

    return case


def _killed_service(room: Processes, rng: np.random.Generator) -> list[Finding]:
    """kill -9 at a random moment: the supervisor ends with its code, the recording reads to its last whole record."""
    time.sleep(float(rng.uniform(1.0, 2.5)))  # the first chunks are on the disk
    room.service.kill()
    began = time.monotonic()
    code = room.popen.wait(timeout=3 * END_MS / 1e3)  # only its own Popen may reap it, or the code is lost
    late = (time.monotonic() - began) * 1e3
    told = _found("C2", "service killed", "ENDS", late if code == 128 + signal.SIGKILL else None, END_MS)
    return [told, _readable(room)]


def _killed_supervisor(room: Processes, rng: np.random.Generator) -> list[Finding]:
    """The service goes on without its supervisor, and ends when asked."""
    time.sleep(float(rng.uniform(0, 0.5)))
    room.supervisor.kill()
    room.popen.wait()
    time.sleep(0.5)
    alive = _found("C2w", "supervisor killed", "LIVES", 0.0 if room.service.is_running() else None, END_MS)
    room.service.terminate()
    return [alive, _found("END", "SIGTERM", "ENDS", room.gone_ms([room.service]), END_MS), _readable(room)]


def _killed_devices(room: Processes, rng: np.random.Generator) -> list[Finding]:
    """All devices die: the service lives, says so, and ends when asked."""
    room.devices.kill()
    time.sleep(float(rng.uniform(0.5, 1.0)))
    alive = _found("N1", "devices killed", "LIVES", 0.0 if room.service.is_running() else None, END_MS)
    room.popen.terminate()
    return [alive, _found("END", "SIGTERM", "ENDS", room.gone_ms([room.service, room.supervisor]), END_MS + 500.0)]


def _stopped_devices(room: Processes, rng: np.random.Generator) -> list[Finding]:
    """Devices that stand still with open sockets hold nobody up."""
    os.kill(room.devices.pid, signal.SIGSTOP)
    time.sleep(float(rng.uniform(0.5, 1.0)))
    room.popen.terminate()
    late = room.gone_ms([room.service, room.supervisor])
    os.kill(room.devices.pid, signal.SIGCONT)
    return [_found("END", "devices stopped", "ENDS", late, END_MS + 500.0)]


def _full_disk(room: Processes, rng: np.random.Generator) -> list[Finding]:
    """No byte can be written any more (a file size limit stands for the disk): the service lives and ends clean."""
    size = sum(row.stat().st_size for row in room.folder.iterdir())
    psutil.Process(room.service.pid).rlimit(psutil.RLIMIT_FSIZE, (size, size))
    time.sleep(float(rng.uniform(1.0, 2.0)))
    alive = _found("C3", "disk full", "LIVES", 0.0 if room.service.is_running() else None, END_MS)
    room.popen.terminate()
    late = room.gone_ms([room.service, room.supervisor])
    return [alive, _found("END", "disk full", "ENDS", late, END_MS + 500.0), _readable(room)]


def _readable(room: Processes) -> Finding:
    """The recording reads and replays up to where it was cut."""
    report: Any = check(room.folder / "run.mcap")
    return _found("REC", "recording", "READS", 0.0 if report.ok else None, 0.0)


CASES: dict[str, Callable[[Processes, np.random.Generator], list[Finding]]] = {
    "SIGTERM": _ends(signal.SIGTERM, False),
    "SIGINT": _ends(signal.SIGINT, False),
    "SIGTERM with a stopped service": _ends(signal.SIGTERM, True),
    "service killed": _killed_service,
    "supervisor killed": _killed_supervisor,
    "devices killed": _killed_devices,
    "devices stopped": _stopped_devices,
    "disk full": _full_disk,
}


def run_process_cases(seeds: Iterable[int], without: str) -> Iterator[tuple[int, str, Outcome]]:
    """Every seed's case in a folder of its own."""
    names = list(CASES)
    for seed in seeds:
        name = names[seed % len(names)]
        with tempfile.TemporaryDirectory(prefix="guidance-faults-") as folder:
            room = _start(Path(folder), seed)
            try:
                findings = CASES[name](room, np.random.default_rng([seed, 17]))
            finally:
                _end(room)
        yield seed, name, Outcome(findings, [])
