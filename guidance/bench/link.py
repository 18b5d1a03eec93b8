"""OpenIGTLink on loopback, round trips and streams: our link beside the C++ library, pyigtl and a plain socket.

Every end is its own process. The peers take turns within one run, so that what else the machine does falls on all of
them. Where the memory of a process happens to lie moves small messages by a tenth, so every end is started several
times and the median of its starts' medians is compared. The C++ program is compiled from the text beside this module
where a compiler and libopenigtlink-dev are there, else its rows are left out.

A stream is sent as fast as the sender may, and what arrives is counted; its rows give the time of one message.
"""

import contextlib
import importlib.util
import os
import select
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
BYTES = {"image": 512 * 512, "volume": 256 * 256 * 5 * 4}
PEERS = {"raw": "raw socket"}
OURS = {"codec": "codec", "link": "link with translation and queues"}
# ours / peer, by peer and kind: what must be reached. The codec does what the C++ library does; the
# link's rows show beside it what translation, queues and counters at both ends cost.
LIMITS: dict[tuple[str, str], float] = {
    ("C++", "transform"): 2.5,
    ("C++", "image"): 0.06,
    ("C++", "volume"): 0.06,
    **{("pyigtl", kind): 1.0 for kind in KINDS},
}
STREAM_MS = 400
PATIENCE_S = 60.0  # for an answer of an end: only a hang takes so long
STREAM_STARTS = 2  # of a peer that does not answer
STREAM_PATIENCE_S = 10.0  # an end of a stream has to start, and then to send for `STREAM_MS`
PLACES = ("unpinned", "pinned")  # pinned: the echo on one core and the ping on another, where there are two
_SOURCE = Path(__file__).with_name("igtl_pingpong.cxx")


Key = tuple[str, str, str]  # end, place, kind


def rows(quick: bool) -> list[dict[str, Any]]:
    """Round trips, then streams, of each size beside each peer that is installed; one row a size and peer."""
    with tempfile.TemporaryDirectory() as folder:
        program = _compile(Path(folder))
        return [*_trip_rows(program, quick), *_stream_rows(program, quick)]


def _trip_rows(program: Path | None, quick: bool) -> list[dict[str, Any]]:
    places = PLACES[: min(len(os.sched_getaffinity(0)), 2)]
    commands = _commands("link_peers", ("link", "codec", "raw"), program)
    starts: dict[Key, list[float]] = {}
    for _ in range(1 if quick else 5):
        for key, trips in _one_start(commands, places, 2 if quick else 6).items():
            starts.setdefault(key, []).append(statistics.median(trips) / 1e6)
    medians = {key: statistics.median(found) for key, found in starts.items()}
    return [
        _row(kind, ours, name, place, medians)
        for kind in KINDS
        for place in places
        for ours in OURS
        for name in commands
        if name not in OURS
    ]


def _one_start(commands: dict[str, list[str]], places: tuple[str, ...], turns: int) -> dict[Key, list[int]]:
    """Start every end in every place and let them take turns; round trips in ns."""
    with contextlib.ExitStack() as stack:
        ends = {
            (name, place): stack.enter_context(_pair(command, ("echo", "ping"), pinned=place == "pinned"))[1]
            for name, command in commands.items()
            for place in places
        }
        trips: dict[Key, list[int]] = {(*end, kind): [] for end in ends for kind in KINDS}
        for turn in range(turns):
            for kind, count in TRIPS.items():
                for (name, place), ping in ends.items():
                    _tell(ping, kind, PYIGTL_TRIPS if name == "pyigtl" else count)
                    found = _answer(ping)
                    if turn:  # the first turn warms up
                        trips[name, place, kind] += found
    return trips


def _stream_rows(program: Path | None, quick: bool) -> list[dict[str, Any]]:
    commands = _commands("link_streams", ("link", "raw"), program)
    took: dict[tuple[str, str], list[float]] = {(name, kind): [] for name in commands for kind in KINDS}
    with contextlib.ExitStack() as stack:
        streams = {name: stack.enter_context(_Stream(command)) for name, command in commands.items()}
        for turn in range(2 if quick else 6):
            for kind in KINDS:
                for name, stream in streams.items():
                    count, ns = stream.run(kind, STREAM_MS // 4 if quick else STREAM_MS)
                    if turn and count > 1:
                        took[name, kind].append(ns / 1e6 / (count - 1))
    ms = {key: statistics.median(found) for key, found in took.items() if found}
    return [_stream_row(kind, name, ms) for kind in KINDS for name in commands if name != "link"]


class _Stream(contextlib.AbstractContextManager["_Stream"]):
    """A sink and its source, started anew where they stop answering.

    pyigtl does under load: a send that takes more than 10 ms breaks its connection within a message, and its server
    never takes the next one.
    """

    def __init__(self, command: list[str]) -> None:
        self._command, self._stack = command, contextlib.ExitStack()
        self._given_up = False
        self._start()

    def _start(self) -> None:
        self._stack.close()
        self._ends = self._stack.enter_context(_pair(self._command, ("sink", "source"), pinned=False))

    def run(self, kind: str, milliseconds: int) -> tuple[int, int]:
        """One stream: messages that came, and ns from the first to the last; (0, 0) from the second silent start on."""
        for _ in range(STREAM_STARTS):
            with contextlib.suppress(TimeoutError):
                return self._once(kind, milliseconds) if not self._given_up else (0, 0)
            self._start()
        self._given_up = True
        return 0, 0

    def _once(self, kind: str, milliseconds: int) -> tuple[int, int]:
        for end in self._ends:
            _tell(end, kind, milliseconds)
        count, ns = _answer(self._ends[0], STREAM_PATIENCE_S)
        return count, ns

    def __exit__(self, *_: object) -> None:
        self._stack.close()


def _stream_row(kind: str, peer: str, ms: dict[tuple[str, str], float]) -> dict[str, Any]:
    """Ours beside a peer; without numbers of the peer where it never finished a stream."""
    ours_ms, peer_ms = ms["link", kind], ms.get((peer, kind))
    return {
        "name": "stream, one message, link with translation and queues",
        "size": f"{KINDS[kind]}: ours {_rate(kind, ours_ms)}, peer {_rate(kind, peer_ms)}",
        "ours_ms": ours_ms, "peer": peer, "peer_ms": peer_ms, "ratio": ours_ms / peer_ms if peer_ms else None,
        "limit": None, "ok": None,
    }  # fmt: skip


def _rate(kind: str, ms: float | None) -> str:
    if ms is None:
        return "stopped answering"
    return f"{1e3 / ms:,.0f}/s" + (f" ({BYTES[kind] / ms / 1e3:,.0f} MB/s)" if kind in BYTES else "")


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


def _commands(module: str, ends: tuple[str, ...], program: Path | None) -> dict[str, list[str]]:
    """The program of each peer, to be given a role and a port."""
    python = [sys.executable, "-m", f"guidance.bench.{module}"]
    commands = {PEERS.get(end, end): [*python, end] for end in ends}
    if importlib.util.find_spec("pyigtl") is not None:
        commands["pyigtl"] = [*python, "pyigtl"]
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
def _pair(command: list[str], roles: tuple[str, str], pinned: bool) -> Iterator[list[subprocess.Popen[str]]]:
    """Two ends connected to each other, pinned to two cores or left alone; the first of `roles` listens."""
    cores = sorted(os.sched_getaffinity(0))[:2]
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    with contextlib.ExitStack() as stack:
        quiet = subprocess.DEVNULL
        ends: list[subprocess.Popen[str]] = []
        for role, core in zip(roles, (cores[:1], cores[1:]), strict=True):
            words = [*command, role, port]
            end = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=quiet, text=True)
            stack.callback(_end, end)
            ends.append(end)
            if pinned:
                os.sched_setaffinity(end.pid, core)
            if len(ends) == 1:
                _wait_for(int(port))
        yield ends


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


def _tell(end: subprocess.Popen[str], kind: str, count: int) -> None:
    assert end.stdin is not None
    end.stdin.write(f"{kind} {count}\n")
    end.stdin.flush()


def _answer(end: subprocess.Popen[str], patience_s: float = PATIENCE_S) -> list[int]:
    """The numbers on the next line of an end; TimeoutError where none comes."""
    assert end.stdout is not None
    if not select.select([end.stdout], [], [], patience_s)[0]:
        raise TimeoutError(f"{end.args!r} does not answer")
    return [int(number) for number in end.stdout.readline().split()]
