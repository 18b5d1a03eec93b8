"""What a link counts: nothing is dropped, refused or withheld without a number that says so."""

from dataclasses import asdict, dataclass, field
from typing import Any

_SMOOTHING = 16


@dataclass(slots=True)
class StreamCounters:
    """Of one stream: what came and went, and how steadily. Ages and jitter in ns; age needs a device time."""

    received: int = 0
    sent: int = 0
    bytes: int = 0
    dropped: int = 0
    withheld: int = 0
    rejected: int = 0
    unusable: int = 0  # received with a quality that is not OK: lost, invalid
    gaps: int = 0
    age_ns: int = 0
    jitter_ns: int = 0
    period_ns: int = 0
    last_receive_ns: int = 0
    _number: int = -1

    def arrived(self, size: int, receive_time_ns: int, device_time_ns: int) -> None:
        """Count a message and follow its period: jitter is the smoothed distance from the smoothed period."""
        self.received += 1
        self.bytes += size
        if self.last_receive_ns:
            period = receive_time_ns - self.last_receive_ns
            if self.period_ns:
                off = period - self.period_ns
                self.jitter_ns += (abs(off) - self.jitter_ns) // _SMOOTHING
                self.period_ns += off // _SMOOTHING
            else:
                self.period_ns = period
        self.last_receive_ns = receive_time_ns
        if device_time_ns:
            self.age_ns = receive_time_ns - device_time_ns

    def numbered(self, number: int) -> int:
        """Count and return the samples that are missing before `number`."""
        missing = number - self._number - 1 if number > self._number >= 0 else 0
        self.gaps += missing
        self._number = number
        return missing


@dataclass(slots=True)
class PeerCounters:
    """Of one peer: totals, what it sends by device name, what it is sent by type and name."""

    received: int = 0
    sent: int = 0
    bytes_in: int = 0
    bytes_out: int = 0
    dropped: int = 0
    withheld: int = 0
    rejected: int = 0
    gaps: int = 0
    queued_bytes: int = 0
    streams: dict[str, StreamCounters] = field(default_factory=dict)
    outgoing: dict[str, StreamCounters] = field(default_factory=dict)

    def left(self, stream: str, size: int) -> None:
        """Count a packet that was handed to the socket."""
        self.sent += 1
        self.bytes_out += size
        counters = self.outgoing.get(stream) or _of(self.outgoing, stream)
        counters.sent += 1
        counters.bytes += size

    def stream(self, name: str) -> StreamCounters:
        """The counters of an incoming stream, made when first asked for."""
        return _of(self.streams, name)

    def outgoing_stream(self, name: str) -> StreamCounters:
        """The counters of an outgoing stream, made when first asked for."""
        return _of(self.outgoing, name)


def _of(streams: dict[str, StreamCounters], name: str) -> StreamCounters:
    found = streams.get(name)
    if found is None:
        found = streams[name] = StreamCounters()
    return found


@dataclass(slots=True)
class LinkCounters:
    """Of the whole link. Peers that are gone stay in the totals; `closed` counts why they went."""

    received: int = 0
    sent: int = 0
    bytes_in: int = 0
    bytes_out: int = 0
    dropped: int = 0
    withheld: int = 0
    rejected: int = 0
    gaps: int = 0
    connected: int = 0
    refused: int = 0
    closed: dict[str, int] = field(default_factory=dict)
    peers: dict[str, PeerCounters] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """Plain numbers for a summary or a page of health."""
        return asdict(self)
