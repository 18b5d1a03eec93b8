"""The alarm and command journal: append-only, and nothing is *confirmed* before it is on the disk.

`append` never waits; one thread writes whatever waits as one group and syncs it once. STOP and
alert bytes go out at once; only the word "confirmed" waits for `synced_up_to`.
"""

import fcntl
import os
import threading
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path

import msgspec

from guidance.errors import RecordingError
from guidance.recording.disk import AppendFile, open_append
from guidance.recording.journal_file import HEAD_BYTES, MAGIC, MAX_RECORD_BYTES, frame, scan, start_chain

MAX_WAITING = 200_000
_RETRY_S = 0.1
_GROUP_BYTES = 1024 * 1024


class JournalHealth(msgspec.Struct, frozen=True):
    """State of a journal at one moment. `error` is "" while writing works."""

    waiting: int  # appended and not yet on the disk
    synced_up_to: int
    last_sync_ms: float
    free_bytes: int
    error: str


class Journal:
    """One journal file, written by one process at a time. Sequences count from 1 over all restarts."""

    def __init__(self, folder: Path, name: str, on_synced: Callable[[int], None] | None = None) -> None:
        """Open or make `folder/name`, check every record and cut a torn tail off (kept beside, see `report`).

        `on_synced(sequence)` is called in the journal's thread after every sync: hand it over to the loop.
        RecordingError: another process writes it, it is damaged in the middle, or the disk refuses.
        """
        self._open(open_append(folder, name, new=False), on_synced)

    @classmethod
    def on(cls, file: AppendFile, on_synced: Callable[[int], None] | None = None) -> "Journal":
        """A journal on an open file."""
        journal = cls.__new__(cls)
        journal._open(file, on_synced)
        return journal

    def _open(self, file: AppendFile, on_synced: Callable[[int], None] | None) -> None:
        self.path = file.path
        self.report = ""  # what was found torn at opening, in words
        self.recovered: list[bytes] = []  # the records found at opening; sequence = index + 1
        self.identity = ""  # of this journal, for ever
        self._file, self.on_synced, self._good_bytes = file, on_synced, 0
        try:
            fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._chain = self._recover()
        except BlockingIOError as fault:
            file.close()
            raise RecordingError(f"{file.path}: another process writes this journal; stop it first") from fault
        except OSError as fault:
            file.close()
            raise RecordingError(f"{file.path}: cannot be opened: {fault.strerror}") from fault
        except RecordingError:
            file.close()
            raise
        self._waiting: deque[bytes] = deque()
        self._synced = len(self.recovered)
        self._last_sync_ms = 0.0
        self._free_bytes = file.free_bytes()
        self._error = ""
        self._closing = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._run, name="journal", daemon=True)
        self._thread.start()

    @property
    def synced_up_to(self) -> int:
        """Every record up to this sequence is on the disk."""
        return self._synced

    def append(self, record: bytes) -> int:
        """Queue a record for the disk; its sequence. ValueError: empty or too long.

        RecordingError: the journal is closed, or the disk has taken nothing for `MAX_WAITING` records.
        """
        if not 0 < len(record) <= MAX_RECORD_BYTES:
            raise ValueError(f"a journal record has 1 to {MAX_RECORD_BYTES} bytes, not {len(record)}")
        with self._changed:
            if self._closing or len(self._waiting) >= MAX_WAITING:
                state = "is closed" if self._closing else f"has {MAX_WAITING} records waiting for the disk"
                raise RecordingError(f"{self.path}: {state}; the record was not taken. {self._error}")
            self._waiting.append(record)
            sequence = self._synced + len(self._waiting)
            self._changed.notify_all()
        return sequence

    def wait(self, sequence: int, timeout_s: float) -> bool:
        """Wait until `sequence` is on the disk; False when it is not after `timeout_s`. Not for the loop."""
        with self._changed:
            return self._changed.wait_for(lambda: self._synced >= sequence, timeout_s)

    def health(self) -> JournalHealth:
        """The state now; callable from any thread."""
        dead = not self._thread.is_alive() and not self._closing
        error = "the journal's thread has ended" if dead else self._error
        return JournalHealth(len(self._waiting), self._synced, self._last_sync_ms, self._free_bytes, error)

    def close(self) -> JournalHealth:
        """Write what waits (one try, if the disk refuses), then close. The state says what did not reach the disk."""
        with self._changed:
            if self._closing:
                return self.health()
            self._closing = True
            self._changed.notify_all()
        self._thread.join()
        self._file.close()
        return self.health()

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._closing)
                group = self._next_group()
            if not group:
                return
            if self._write(group):
                with self._changed:
                    for _ in group:
                        self._waiting.popleft()
                    self._synced += len(group)
                    self._changed.notify_all()
                if self.on_synced is not None:
                    self.on_synced(self._synced)
            elif self._closing:
                return
            else:
                time.sleep(_RETRY_S)

    def _next_group(self) -> list[bytes]:
        group, size = list[bytes](), 0
        for record in self._waiting:
            group.append(record)
            size += len(record)
            if size >= _GROUP_BYTES:
                break
        return group

    def _write(self, group: list[bytes]) -> bool:
        """Put the group on the disk. A failed sync may have dropped any of it: cut it off and write it again."""
        whole, chain, parts = self._file.size, self._chain, list[bytes]()
        for record in group:
            framed, chain = frame(chain, record)
            parts.append(framed)
        start = time.monotonic_ns()
        try:
            if whole != self._good_bytes:
                self._file.truncate(self._good_bytes)
            self._file.write(parts)
            self._file.sync()
            self._free_bytes = self._file.free_bytes()
        except OSError as fault:
            self._error = f"{self.path.name}: the disk refuses: {fault.strerror}"
            return False
        finally:
            self._last_sync_ms = (time.monotonic_ns() - start) / 1e6
        self._good_bytes, self._chain, self._error = self._file.size, chain, ""
        return True

    def _recover(self) -> bytes:
        data = self._file.read_all()
        found = scan(data, self.path)
        torn = data[found.good_bytes :]
        if torn:
            aside = f"{self.path.name}.torn-{found.good_bytes}-{os.urandom(4).hex()}"
            keeper = open_append(self.path.parent, aside, new=True)
            try:
                keeper.write([torn])
                keeper.sync()
            finally:
                keeper.close()
            self._file.truncate(found.good_bytes)
            self.report = (
                f"{self.path}: {len(torn)} bytes after record {len(found.records)} were not a whole record "
                f"and are kept in {aside}"
            )
        self.recovered, chain, head = found.records, found.chain, data[:HEAD_BYTES]
        if not found.good_bytes:
            head = MAGIC + os.urandom(HEAD_BYTES - len(MAGIC))
            self._file.write([head])
            chain = start_chain(head)
        self.identity = head[len(MAGIC) :].hex()[:16]
        self._file.sync()
        self._good_bytes = self._file.size
        return chain


def read_journal(path: Path) -> list[bytes]:
    """The whole records of a journal that may still be written. RecordingError: unreadable or damaged."""
    try:
        return scan(path.read_bytes(), path).records
    except OSError as fault:
        raise RecordingError(f"{path}: cannot be read: {fault.strerror}") from fault
