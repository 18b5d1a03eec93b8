"""What a link counts of each stream, and the one form in which every kind of link shows it from outside.

Nothing is dropped, refused or withheld without a number that says so.
"""

from dataclasses import dataclass
from typing import Literal, TypedDict

_SMOOTHING = 16


@dataclass(slots=True)
class StreamCounters:
    """Of one stream: what came and went, and how steadily. Ages and jitter in ns; age needs a device time."""

    received: int = 0
    sent: int = 0
    bytes: int = 0
    dropped: int = 0
    withheld: int = 0  # sound, but its peer's protocol version cannot say it
    rejected: int = 0
    unusable: int = 0  # received with a quality that is not OK: lost, invalid
    gaps: int = 0  # missing in the sender's own numbering
    age_ns: int = 0
    jitter_ns: int = 0
    period_ns: int = 0
    last_receive_ns: int = 0
    number: int = -1

    def arrived(self, size: int, receive_time_ns: int, device_time_ns: int) -> None:
        """Count a message and follow its period: jitter is the smoothed distance from the smoothed period."""
        self.received += 1
        self.bytes += size
        last_ns, self.last_receive_ns = self.last_receive_ns, receive_time_ns
        if last_ns:
            smooth_ns = self.period_ns
            if smooth_ns:
                off_ns = receive_time_ns - last_ns - smooth_ns
                self.jitter_ns += (abs(off_ns) - self.jitter_ns) // _SMOOTHING
                self.period_ns = smooth_ns + off_ns // _SMOOTHING
            else:
                self.period_ns = receive_time_ns - last_ns
        if device_time_ns:
            self.age_ns = receive_time_ns - device_time_ns

    def numbered(self, number: int) -> int:
        """Count and return the samples that are missing before `number`."""
        missing = number - self.number - 1 if number > self.number >= 0 else 0
        self.gaps += missing
        self.number = number
        return missing


class StreamRow(TypedDict):
    """One stream as seen from outside. `age_ms` is the last message's age at arrival, None without device time."""

    peer: str
    name: str
    direction: Literal["in", "out"]
    count: int
    bytes: int
    dropped: int
    withheld: int
    rejected: int
    unusable: int
    gaps: int
    age_ms: float | None
    jitter_ms: float | None
    period_ms: float | None


class LinkRow(TypedDict):
    """One link as seen from outside; every kind of link describes itself so."""

    kind: Literal["openigtlink", "zeromq", "mqtt"]
    address: str
    secured: bool
    peers: list[str]
    received: int
    sent: int
    dropped: int
    rejected: int
    gaps: int
    queued_bytes: int  # of this process; what libraries hold in their own queues is not in it
    streams: list[StreamRow]
    more: dict[str, int]  # what only this kind of link counts


def stream_row(peer: str, name: str, direction: Literal["in", "out"], counters: StreamCounters) -> StreamRow:
    """One stream's counters in the common form."""
    steady = direction == "in" and counters.period_ns > 0
    return StreamRow(
        peer=peer,
        name=name,
        direction=direction,
        count=counters.received if direction == "in" else counters.sent,
        bytes=counters.bytes,
        dropped=counters.dropped,
        withheld=counters.withheld,
        rejected=counters.rejected,
        unusable=counters.unusable,
        gaps=counters.gaps,
        age_ms=_ms(counters.age_ns) if counters.age_ns else None,
        jitter_ms=_ms(counters.jitter_ns) if steady else None,
        period_ms=_ms(counters.period_ns) if steady else None,
    )


def _ms(time_ns: int) -> float:
    return round(time_ns / 1e6, 3)
