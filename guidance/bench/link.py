"""OpenIGTLink round trips on loopback: our link beside the C++ library, pyigtl and a socket without protocol.

Every end is its own process. The peers take turns within one run, so that what else the machine
does falls on all of them; the medians of all trips are compared. The C++ program is compiled from
the text beside this module where a compiler and libopenigtlink-dev are there, else its rows are left out.
"""

import contextlib
import importlib.util
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

KINDS = {"transform": "TRANSFORM", "image": "IMAGE 512x512 u8", "volume": "IMAGE 256x256x5 f32"}
TRIPS = {"transform": 400, "image": 60, "volume": 20}
PYIGTL_TRIPS = 5  # 20 ms each
OURS = {"codec": "codec", "link": "link with translation and queues"}
# ours / peer, by peer and kind: what must be reached. The codec does what the C++ library does; the
# link's rows show beside it what translation, queues and counters at both ends cost.
LIMITS: dict[tuple[str, str], float] = {
    ("C++", "transform"): 2.5,
    ("C++", "image"): 0.06,
    ("C++", "volume"): 0.06,
    **{("pyigtl", kind): 1.0 for kind in KINDS},
}
PLACES = ("unpinned", "pinned")  # pinned: the echo on one core and the ping on another, where there are two
_SOURCE = Path(__file__).with_name("igtl_pingpong.cxx")


def rows(quick: bool) -> list[dict[str, Any]]:
    """Median round trip of each size beside each peer that is installed; one row a size and peer."""
    places = PLACES[: min(len(os.sched_getaffinity(0)), 2)]
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        commands = _commands(Path(folder))
        ends = {
            (name, place): stack.enter_context(_pair(command, pinned=place == "pinned"))
            for name, command in commands.items()
            for place in places
        }
        trips: dict[tuple[str, str, str], list[int]] = {(*end, kind): [] for end in ends for kind in KINDS}
        for turn in range(3 if quick else 12):
            for kind, count in TRIPS.items():
                for (name, place), end in ends.items():
                    found = _ask(end, kind, PYIGTL_TRIPS if name == "pyigtl" else count)
                    if turn:  # the first turn warms up
                        trips[name, place, kind] += found
    medians = {key: statistics.median(found) / 1e6 for key, found in trips.items()}
    return [
        _row(kind, ours, name, place, medians)
        for kind in KINDS
        for place in places
        for ours in OURS
        for name in commands
        if name not in OURS
    ]


def _row(kind: str, ours: str, peer: str, place: str, medians: dict[tuple[str, str, str], float]) -> dict[str, Any]:
    ratio = medians[ours, place, kind] / medians[peer, place, kind]
    limit = LIMITS.get((peer, kind))
    return {
        "name": f"round trip p50, {OURS[ours]}",
        "size": f"{KINDS[kind]}, {place}",
        "ours_ms": medians[ours, place, kind],
        "peer": peer,
        "peer_ms": medians[peer, place, kind],
        "ratio": ratio,
        "limit": limit,
        "ok": None if limit is None else ratio <= limit,
    }


def _commands(folder: Path) -> dict[str, list[str]]:
    """The program of each peer, to be given a role and a port."""
    python = [sys.executable, "-m", "guidance.bench.link_peers"]
    commands = {"codec": [*python, "codec"], "link": [*python, "link"], "raw socket": [*python, "raw"]}
    if importlib.util.find_spec("pyigtl") is not None:
        commands["pyigtl"] = [*python, "pyigtl"]
    program = _compile(folder)
    if program is not None:
        commands["C++"] = [str(program)]
    return commands


def _compile(folder: Path) -> Path | None:
    """The C++ ping-pong, or None where it cannot be built here."""
    compiler = shutil.which("c++")
    if compiler is None or not Path("/usr/include/openigtlink").is_dir():
        return None
    program = folder / "igtl_pingpong"
    flags = ["-O2", "-I/usr/include/openigtlink", "-o", str(program), str(_SOURCE), "-lOpenIGTLink"]
    built = subprocess.run([compiler, *flags], capture_output=True, check=False)
    return program if built.returncode == 0 else None


@contextlib.contextmanager
def _pair(command: list[str], pinned: bool) -> Iterator[subprocess.Popen[str]]:
    """An echo and a ping connected to each other, pinned to two cores or left alone; the ping is what is asked."""
    cores = sorted(os.sched_getaffinity(0))[:2]
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    with contextlib.ExitStack() as stack:
        quiet = subprocess.DEVNULL
        echo = subprocess.Popen([*command, "echo", port], stdout=quiet, stderr=quiet)
        stack.callback(_end, echo)
        if pinned:
            os.sched_setaffinity(echo.pid, cores[:1])
        _wait_for(int(port))
        ping = subprocess.Popen(
            [*command, "ping", port], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=quiet, text=True
        )
        stack.callback(_end, ping)
        if pinned:
            os.sched_setaffinity(ping.pid, cores[1:])
        yield ping


def _wait_for(port: int) -> None:
    """Until something listens: seen in the kernel's table, since a probing connection would be taken for the peer."""
    listening = f":{port:04X} 00000000:0000 0A"
    deadline = 600
    while listening not in Path("/proc/net/tcp").read_text():
        deadline -= 1
        if not deadline:
            raise TimeoutError(f"no echo on port {port}")
        subprocess.run(["sleep", "0.05"], check=True)


def _end(process: "subprocess.Popen[Any]") -> None:
    process.kill()
    process.wait()
    for stream in (process.stdin, process.stdout):
        if stream is not None:
            with contextlib.suppress(BrokenPipeError):
                stream.close()


def _ask(end: subprocess.Popen[str], kind: str, count: int) -> list[int]:
    assert end.stdin is not None
    assert end.stdout is not None
    end.stdin.write(f"{kind} {count}\n")
    end.stdin.flush()
    return [int(trip) for trip in end.stdout.readline().split()]
