"""What the MQTT link sends from: every change of an alarm until the broker has it for sure."""

import secrets
from collections import deque
from collections.abc import Iterable, Mapping
from itertools import islice
from typing import Protocol

from devices.errors import LocalProtocolError
from devices.messages import Alert


class Outbox(Protocol):
    """Alerts in order of `sequence`. No method blocks; a journal writes behind its own queue."""

    log: str  # names the numbering; another one means that sequences start anew
    confirmed_up_to: int  # the broker has acknowledged everything up to this sequence

    def add(self, alert: Alert) -> int:
        """Take an alert with the next sequence; returns how many old ones had to go (0 for a journal)."""
        ...

    def pending(self, limit: int) -> list[Alert]:
        """The oldest alerts that are not confirmed, at most `limit`, in order."""
        ...

    def confirm(self, sequence: int) -> None:
        """The broker has acknowledged everything up to and including `sequence`."""
        ...

    def current(self) -> Mapping[str, Alert]:
        """The newest alert of every alarm of this run, by name."""
        ...

    def since(self, sequence: int) -> Iterable[Alert]:
        """Confirmed alerts after `sequence`, oldest first, as far back as they are kept."""
        ...


class MemoryOutbox:
    """An outbox that lives as long as the process, for rooms without a journal and for tests."""

    def __init__(self, log: str = "", *, limit: int = 100_000, keep: int = 4096) -> None:
        self.log = log or secrets.token_hex(8)
        self._limit = limit
        self._pending: deque[Alert] = deque()
        self._kept: deque[Alert] = deque(maxlen=keep)
        self._current: dict[str, Alert] = {}
        self._last = self.confirmed_up_to = -1

    def add(self, alert: Alert) -> int:
        """See `Outbox`; LocalProtocolError where the sequence does not rise."""
        if alert.sequence <= self._last:
            raise LocalProtocolError(f"alert {alert.name!r} has sequence {alert.sequence} after {self._last}")
        self._last = alert.sequence
        self._pending.append(alert)
        self._current[alert.name] = alert
        if len(self._pending) <= self._limit:
            return 0
        self._pending.popleft()
        return 1

    def pending(self, limit: int) -> list[Alert]:
        """See `Outbox`."""
        return list(islice(self._pending, limit))

    def confirm(self, sequence: int) -> None:
        """See `Outbox`."""
        while self._pending and self._pending[0].sequence <= sequence:
            self._kept.append(self._pending.popleft())
        self.confirmed_up_to = max(self.confirmed_up_to, sequence)

    def current(self) -> Mapping[str, Alert]:
        """See `Outbox`."""
        return self._current

    def since(self, sequence: int) -> list[Alert]:
        """See `Outbox`."""
        return [alert for alert in self._kept if alert.sequence > sequence]
