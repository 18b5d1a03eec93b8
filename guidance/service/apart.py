"""A lane's work in a process of its own, with an interpreter of its own.

Drawing three planes takes 7 ms alone and took 25 to 65 ms as a thread of the service: every call into OpenCV or a
kernel lets go of the interpreter and then waits to get it back from the loop, the recorder or another lane. Jobs and
results go over a socket pair, arrays beside the pickled rest without another copy.

`python -m guidance.service.apart FD` is the other end; it ends when the service does.
"""

import os
import pickle
import signal
import socket
import struct
import subprocess
import sys
from typing import Any

from devices.priority import LANE, take_priority
from guidance.events import Job, JobDone
from guidance.lanes import Workbench, failed, warm_up
from guidance.plan import Plan
from guidance.settings import RoomSettings

_COUNT = struct.Struct("<I")
_SIZE = struct.Struct("<Q")
BUFFER_BYTES = 4 << 20  # asked for; the kernel may give less
WARM_S = 120.0  # to compile everything on a slow machine
ANSWER_S = 5.0  # a process that says nothing for so long hangs, and must not keep the room from ending
END_S = 5.0


class Apart:
    """A workbench in another process; one lane's thread asks it, one job at a time.

    Where the process dies the job that it had fails by that name, and the next one finds a new process.
    """

    def __init__(self, lane: str, settings: RoomSettings, plan: Plan | None) -> None:
        self._room = (lane, settings, plan)
        self._start()

    def _start(self) -> None:
        self._line, other = socket.socketpair()
        with other:
            words = [sys.executable, "-m", "guidance.service.apart", str(other.fileno())]
            self._process = subprocess.Popen(words, stdin=subprocess.DEVNULL, pass_fds=(other.fileno(),))
        self._line.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, BUFFER_BYTES)
        self._line.settimeout(WARM_S)
        _send(self._line, self._room)

    def wait_until_warm(self) -> None:
        """Return once the other process has compiled and loaded what it needs. OSError, EOFError where it died."""
        _receive(self._line)
        self._line.settimeout(ANSWER_S)

    def run(self, job: Job, started_ns: int) -> JobDone:
        """Do one job there; a failed result where that process has ended."""
        try:
            if self._process.poll() is not None:
                self.close()
                self._start()
                self.wait_until_warm()
            _send(self._line, (job, started_ns))
            done: JobDone = _receive(self._line)
        except (OSError, EOFError) as fault:
            if isinstance(fault, TimeoutError):
                self._process.kill()
            code = self.close()
            return failed(job, started_ns, f"the process of this lane ended with {code}: {fault}")
        return done

    def close(self) -> int:
        """End the process and return its exit code."""
        self._line.close()
        try:
            return self._process.wait(END_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            return self._process.wait()


def _send(line: socket.socket, what: Any) -> None:
    arrays: list[pickle.PickleBuffer] = []
    rest = pickle.dumps(what, 5, buffer_callback=arrays.append)
    parts = [memoryview(rest), *(array.raw() for array in arrays)]
    line.sendall(_COUNT.pack(len(parts)) + b"".join(_SIZE.pack(part.nbytes) for part in parts))
    for part in parts:
        line.sendall(part)


def _receive(line: socket.socket) -> Any:
    """The next thing that was sent; EOFError at the end."""
    (count,) = _COUNT.unpack(_exactly(line, _COUNT.size))
    sizes = _exactly(line, count * _SIZE.size)
    rest, *arrays = [_exactly(line, size) for (size,) in _SIZE.iter_unpack(sizes)]
    return pickle.loads(rest, buffers=arrays)  # noqa: S301 - from our own process only


def _exactly(line: socket.socket, size: int) -> bytearray:
    found = bytearray(size)
    view = memoryview(found)
    while view:
        got = line.recv_into(view)
        if not got:
            raise EOFError("the line was closed")
        view = view[got:]
    return found


def main() -> None:
    """Serve jobs until the line is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the service ends in order
    with socket.socket(fileno=int(sys.argv[1])) as line:
        line.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, BUFFER_BYTES)
        try:
            lane, settings, plan = _receive(line)
            take_priority(LANE)
            warm_up(settings, plan, (lane,))
            bench = Workbench(settings, plan)
            _send(line, "warm")
            while True:
                job, started_ns = _receive(line)
                _send(line, bench.run(job, started_ns))
        except (EOFError, ConnectionError):
            return


if __name__ == "__main__":
    main()
    os._exit(0)  # nothing is left to save, and unloading every library keeps the service waiting
