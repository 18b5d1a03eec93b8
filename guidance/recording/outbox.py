"""The journal as the outbox of an alert feed: what was not confirmed is told after a restart, however it came about."""

from collections import deque
from collections.abc import Mapping
from itertools import islice

import msgspec

from devices import packing
from devices.errors import LocalProtocolError, RemoteProtocolError
from devices.messages import Alert, AnyMessage
from guidance.errors import RecordingError
from guidance.events import Act
from guidance.recording.codec import exact
from guidance.recording.journal import Journal


class Said(msgspec.Struct, frozen=True, tag="said"):
    """Journal entry: a message that went out or came in on `link` at `now_ns` (alert, command, acknowledgement)."""

    link: str
    message: AnyMessage
    now_ns: int = 0


class Acted(msgspec.Struct, frozen=True, tag="acted"):
    """Journal entry: an operator's act, as the core got it."""

    act: Act


class Moved(msgspec.Struct, frozen=True, tag="moved"):
    """Journal entry: the treatment went from one phase to another."""

    before: str
    after: str
    now_ns: int


class Confirmed(msgspec.Struct, frozen=True, tag="confirmed"):
    """Journal entry: feed `feed` has delivered every alert up to `sequence`."""

    feed: str
    sequence: int


Entry = Said | Acted | Moved | Confirmed
_decoder = msgspec.msgpack.Decoder(Entry, dec_hook=packing.dec_hook)


def pack_entry(entry: Entry) -> bytes:
    """A journal record of the entry."""
    if isinstance(entry, Said):
        entry = msgspec.structs.replace(entry, message=exact(entry.message))
    return msgspec.msgpack.encode(entry, enc_hook=packing.enc_hook)


def read_entry(record: bytes) -> Entry:
    """Inverse of `pack_entry`; RecordingError on anything else."""
    try:
        entry: Entry = _decoder.decode(record)
        return entry
    except (msgspec.MsgspecError, RemoteProtocolError, TypeError, ValueError, RecursionError) as fault:
        raise RecordingError(f"not a journal entry: {fault}") from fault


class JournalOutbox:
    """`devices.mqtt.Outbox` over a journal, for one feed. All methods in the loop's thread; none blocks.

    Sequences rise over restarts: where the core counts from the start again, they are carried on from
    the journal's last. `unwritten` counts alerts that the journal refused (they are told all the same).
    """

    def __init__(self, journal: Journal, feed: str = "mqtt", *, keep: int = 100_000) -> None:
        """Take up what the journal holds. RecordingError names a record that is no entry."""
        self.log = journal.identity
        self.unwritten = 0
        self._journal, self._feed = journal, feed
        self._pending: deque[Alert] = deque()
        self._kept: deque[Alert] = deque(maxlen=keep)  # confirmed ones
        self._current: dict[str, Alert] = {}
        self._last = self.confirmed_up_to = -1
        self._offset: int | None = None
        for number, record in enumerate(journal.recovered, 1):
            try:
                self._restore(read_entry(record))
            except RecordingError as fault:
                raise RecordingError(f"{journal.path}: record {number}: {fault}") from fault

    @property
    def last_sequence(self) -> int:
        """The newest sequence given out; -1 = none yet."""
        return self._last

    def add(self, alert: Alert) -> int:
        """Take an alert whose sequence rises within this run; 1 where the journal refused it, else 0."""
        if self._offset is None:
            self._offset = 0 if alert.sequence > self._last else self._last + 1 - alert.sequence
        sequence = alert.sequence + self._offset
        if sequence <= self._last:
            raise LocalProtocolError(
                f"alert {alert.name!r} has sequence {alert.sequence} after {self._last - self._offset}"
            )
        if self._offset:
            alert = msgspec.structs.replace(alert, sequence=sequence)
        self._last = sequence
        self._pending.append(alert)
        self._current[alert.name] = alert
        return self._write(Said(self._feed, alert))

    def pending(self, limit: int) -> list[Alert]:
        """The oldest alerts that are not confirmed, at most `limit`, in order."""
        return list(islice(self._pending, limit))

    def confirm(self, sequence: int) -> None:
        """The feed has delivered everything up to and including `sequence`."""
        if sequence > self.confirmed_up_to:
            self._settle(sequence)
            self._write(Confirmed(self._feed, sequence))

    def current(self) -> Mapping[str, Alert]:
        """The newest alert of every alarm of this run, by name."""
        return self._current

    def since(self, sequence: int) -> list[Alert]:
        """Confirmed alerts after `sequence`, oldest first, as far back as they are kept."""
        return [alert for alert in self._kept if alert.sequence > sequence]

    def _restore(self, entry: Entry) -> None:
        if isinstance(entry, Said) and entry.link == self._feed and isinstance(entry.message, Alert):
            self._pending.append(entry.message)
            self._last = entry.message.sequence
        elif isinstance(entry, Confirmed) and entry.feed == self._feed:
            self._settle(entry.sequence)

    def _settle(self, sequence: int) -> None:
        while self._pending and self._pending[0].sequence <= sequence:
            self._kept.append(self._pending.popleft())
        self.confirmed_up_to = max(self.confirmed_up_to, sequence)

    def _write(self, entry: Entry) -> int:
        try:
            self._journal.append(pack_entry(entry))
        except RecordingError:
            self.unwritten += 1
            return 1
        return 0
