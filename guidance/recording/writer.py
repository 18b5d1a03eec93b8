"""The recorder: the loop hands over references, a thread packs, compresses and writes them.

`append` costs about a microsecond and never waits (unless asked to). What cannot be kept is counted
and told by `health`; a gap shows in the file as a gap in the steps' numbers.
"""

import json
import os
import threading
import time
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from devices.messages import Image
from guidance.errors import RecordingError
from guidance.events import AnyEvent, Arrival, Effect, JobDone
from guidance.recording.codec import Packer
from guidance.recording.disk import AppendFile, new_name, open_append
from guidance.recording.mcap_file import McapFile

CHANNELS = {"header": "json", "events": "guidance-event", "outputs": "msgpack"}
HEADER, EVENTS, OUTPUTS = 1, 2, 3  # channel ids
CHUNK_BYTES = 1024 * 1024
CHUNK_S = 0.4  # a chunk is written at the latest after this, plus one turn of the thread
SYNC_S = 1.0
_TURN_S = 0.02
_HOLD_NS = 200_000  # longest stretch of packing before the thread lets others run
_REST_S = 0.0001

_Step = tuple[int, AnyEvent, tuple[Effect, ...]]


class Health(msgspec.Struct, frozen=True):
    """State of a recorder at one moment. `error` is the last fault in words, "" while all is well."""

    queued: int
    queued_bytes: int  # of pixels and arrays
    written: int  # steps that stand in the file
    lost: int  # steps that do not and never will
    file_bytes: int
    last_fsync_ms: float
    sync_running_ms: float  # age of a disk sync that has not returned; 0 = none is running
    free_bytes: int
    error: str


class Recorder:
    """One recording, from construction to `close`."""

    def __init__(
        self,
        folder: Path,
        header: dict[str, Any],
        *,
        name: str = "",
        suffix: str = "",
        waits: bool = False,
        max_queued: int = 65_536,
        max_queued_bytes: int = 256 * 1024 * 1024,
    ) -> None:
        """Open a new file in `folder` and put `header` (JSON values) on the disk.

        `name` is for the operator's own choice of a file; without it the name is made from UTC time
        and `suffix` (hexadecimal; drawn from the system when empty). `waits`: a full queue makes
        `append` wait (virtual time, where the loop can) instead of losing the step.
        RecordingError: the file cannot be made, or the disk has no room for the header.
        """
        name = name or new_name(time.time_ns(), suffix or os.urandom(4).hex())
        self._start(open_append(folder, name, new=True), header, waits, max_queued, max_queued_bytes)

    @classmethod
    def on(
        cls, file: AppendFile, header: dict[str, Any], *, waits: bool = False, max_queued: int = 65_536
    ) -> "Recorder":
        """A recorder on an open empty file."""
        recorder = cls.__new__(cls)
        recorder._start(file, header, waits, max_queued, 256 * 1024 * 1024)
        return recorder

    def _start(self, file: AppendFile, header: dict[str, Any], waits: bool, limit: int, limit_bytes: int) -> None:
        self.path = file.path
        self._file, self._waits, self._limit, self._limit_bytes = file, waits, limit, limit_bytes
        self._queue: deque[_Step] = deque()
        self._next = 0  # number of the next step; counted by the loop thread, like _refused and _bytes_in
        self._refused = 0
        self._bytes_in = 0
        self._bytes_out = 0  # counted by the writing thread, like all that follows
        self._written = 0
        self._in_chunk = 0
        self._lost = 0
        self._last_fsync_ms = 0.0
        self._sync_since_ns = 0
        self._free_bytes = 0
        self._error = ""
        self._chunk_since_ns = 0
        self._sync_due_ns = 0
        self._unsynced = False
        self._stop = threading.Event()
        try:
            self._mcap = McapFile(file, CHANNELS)
            self._mcap.add(HEADER, 0, 0, [json.dumps(header, sort_keys=True).encode()])
            self._mcap.flush()
            self._sync()
        except OSError as fault:
            file.close()
            raise RecordingError(f"{file.path}: the header cannot be written: {fault.strerror}") from fault
        self._thread = threading.Thread(target=self._run, name="recorder", daemon=True)
        self._thread.start()

    def append(self, event: AnyEvent, effects: Sequence[Effect]) -> None:
        """Hand over one step of the core: what it consumed and what it gave. Neither may change afterwards."""
        number = self._next
        self._next = number + 1
        while len(self._queue) >= self._limit or self._bytes_in - self._bytes_out > self._limit_bytes:
            if not self._waits or not self._thread.is_alive():
                self._refused += 1
                return
            time.sleep(0.001)
        if type(event) is Arrival or type(event) is JobDone:
            self._bytes_in += _weight(event)
        self._queue.append((number, event, tuple(effects)))

    def health(self) -> Health:
        """The state now; callable from any thread."""
        since = self._sync_since_ns
        dead = not self._thread.is_alive() and not self._stop.is_set()
        return Health(
            queued=len(self._queue),
            queued_bytes=self._bytes_in - self._bytes_out,
            written=self._written,
            lost=self._lost + self._refused,
            file_bytes=self._file.size,
            last_fsync_ms=self._last_fsync_ms,
            sync_running_ms=(time.monotonic_ns() - since) / 1e6 if since else 0.0,
            free_bytes=self._free_bytes,
            error="the recorder's thread has ended" if dead else self._error or self._refusal(),
        )

    def close(self) -> Health:
        """Write what is queued, the summary and the end mark, sync and close. Returns the last state."""
        if self._stop.is_set():
            return self.health()
        self._stop.set()
        self._thread.join()
        try:
            self._mcap.finish()
            self._sync()
        except OSError as fault:
            self._fail(f"the file could not be finished: {fault.strerror}")
        self._file.close()
        return self.health()

    def _refusal(self) -> str:
        return f"{self._refused} steps found the queue full" if self._refused else ""

    def _run(self) -> None:
        while not self._stop.wait(_TURN_S if not self._waits else _TURN_S / 20):
            self._drain()
            self._write_due(time.monotonic_ns())
        self._drain()
        self._flush()

    def _drain(self) -> None:
        held_since = time.monotonic_ns()
        while self._queue:
            self._pack(*self._queue.popleft())
            now = time.monotonic_ns()
            if self._mcap.pending_bytes >= CHUNK_BYTES:
                self._flush()
                self._write_due(now)
            if now - held_since > _HOLD_NS and not self._waits:
                time.sleep(_REST_S)  # a plain release would mostly win the GIL back before the loop wakes up
                held_since = time.monotonic_ns()

    def _pack(self, number: int, event: AnyEvent, effects: tuple[Effect, ...]) -> None:
        packer = Packer()
        try:
            parts = packer.event(event)
            outputs = msgspec.msgpack.encode([packer.effect(effect) for effect in effects])
        except (TypeError, NotImplementedError, ValueError, OverflowError) as fault:
            self._lost += 1
            self._fail(f"step {number} ({type(event).__name__}) cannot be recorded: {fault}")
        else:
            if not self._mcap.pending_bytes:
                self._chunk_since_ns = time.monotonic_ns()
            self._mcap.add(EVENTS, number, event.now_ns, parts)
            self._mcap.add(OUTPUTS, number, event.now_ns, [outputs])
            self._in_chunk += 1
        if type(event) is Arrival or type(event) is JobDone:
            self._bytes_out += _weight(event)

    def _write_due(self, now_ns: int) -> None:
        if self._mcap.pending_bytes and now_ns - self._chunk_since_ns >= CHUNK_S * 1e9:
            self._flush()
        if now_ns >= self._sync_due_ns:
            self._sync_due_ns = now_ns + int(SYNC_S * 1e9)
            try:
                self._sync()
            except OSError as fault:
                self._fail(f"the disk did not sync: {fault.strerror}")

    def _flush(self) -> None:
        steps, self._in_chunk = self._in_chunk, 0
        try:
            self._mcap.flush()
        except OSError as fault:
            self._lost += steps
            self._fail(f"{steps} steps could not be written: {fault.strerror}")
        else:
            self._written += steps
            self._unsynced = True

    def _sync(self) -> None:
        self._free_bytes = self._file.free_bytes()
        if not self._unsynced and self._written:
            return
        self._sync_since_ns = start = time.monotonic_ns()
        try:
            self._file.sync()
            self._unsynced = False
        finally:
            self._last_fsync_ms = (time.monotonic_ns() - start) / 1e6
            self._sync_since_ns = 0

    def _fail(self, what: str) -> None:
        self._error = f"{self.path.name}: {what}"


def _weight(event: Arrival | JobDone) -> int:
    """Bytes of pixels and arrays that the queue keeps alive for this event."""
    if isinstance(event, Arrival):
        return event.message.pixels.nbytes if type(event.message) is Image else 0
    return sum(getattr(array, "nbytes", 0) for array in event.arrays.values())
