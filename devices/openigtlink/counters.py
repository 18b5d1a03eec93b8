"""What a link counts: nothing is dropped, refused or withheld without a number that says so."""

from dataclasses import asdict, dataclass, field, replace
from typing import Any

from devices.counters import StreamCounters, StreamRow, stream_row


@dataclass(slots=True)
class PeerCounters:
    """Of one peer: totals, what it sends by device name, what it is sent by type and name."""

    received: int = 0
    bytes_in: int = 0
    dropped: int = 0
    withheld: int = 0
    rejected: int = 0
    gaps: int = 0
    queued_bytes: int = 0
    streams: dict[str, StreamCounters] = field(default_factory=dict)
    outgoing: dict[str, StreamCounters] = field(default_factory=dict)

    def stream(self, name: str) -> StreamCounters:
        """The counters of an incoming stream, made when first asked for."""
        return _of(self.streams, name)

    def outgoing_stream(self, name: str) -> StreamCounters:
        """The counters of an outgoing stream, made when first asked for."""
        return _of(self.outgoing, name)

    def rows(self, peer: str) -> list[StreamRow]:
        """Every stream of this peer in the common form."""
        rows = [stream_row(peer, name, "in", counters) for name, counters in self.streams.items()]
        return rows + [stream_row(peer, name, "out", counters) for name, counters in self.outgoing.items()]


def _of(streams: dict[str, StreamCounters], name: str) -> StreamCounters:
    found = streams.get(name)
    if found is None:
        found = streams[name] = StreamCounters()
    return found


@dataclass(slots=True)
class LinkCounters:
    """Of the whole link: the sums of peers that are gone, and what is no peer's. `closed` counts why they went."""

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

    def absorb(self, peer: PeerCounters) -> None:
        """Add what one peer counted."""
        self.received += peer.received
        self.sent += sum(stream.sent for stream in peer.outgoing.values())
        self.bytes_in += peer.bytes_in
        self.bytes_out += sum(stream.bytes for stream in peer.outgoing.values())
        self.dropped += peer.dropped
        self.withheld += peer.withheld
        self.rejected += peer.rejected
        self.gaps += peer.gaps

    def with_peers(self) -> "LinkCounters":
        """These totals and what the peers that are connected now have counted: each counts for itself only."""
        whole = replace(self)
        for peer in self.peers.values():
            whole.absorb(peer)
        return whole

    def as_dict(self) -> dict[str, Any]:
        """Plain numbers for a summary or a page of health."""
        return asdict(self)
