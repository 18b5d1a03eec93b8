"""What waits for one peer: urgent first, never shed; of every live stream only the newest; all in bounds."""

from collections import OrderedDict, deque

import msgspec

from devices.openigtlink.bodies.base import Buffer


class Packet(msgspec.Struct, frozen=True, eq=False):
    """One encoded message, shared by all peers that get it. `newest_only`: a newer one of `stream` replaces it."""

    stream: str
    buffers: list[Buffer]
    size: int
    newest_only: bool


class SendQueue:
    """Packets in the order in which they go out. No I/O; `limit` bounds the bytes that wait."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._urgent: deque[Packet] = deque()
        self._waiting: OrderedDict[str | int, Packet] = OrderedDict()
        self._ticket = 0
        self.bytes = 0

    def __len__(self) -> int:
        return len(self._urgent) + len(self._waiting)

    def push(self, packet: Packet, urgent: bool) -> int:
        """Add a packet; the number that it replaced (0 or 1), or -1 where the queue has no room for it.

        One packet larger than the whole limit is let in when nothing else waits.
        """
        if urgent:
            if self.bytes + packet.size > self._limit and self._urgent:
                return -1
            self._urgent.append(packet)
            self.bytes += packet.size
            return 0
        key: str | int = packet.stream if packet.newest_only else self._next_ticket()
        before = self._waiting.get(key)
        grown = packet.size - (before.size if before else 0)
        if self.bytes + grown > self._limit and len(self) > (before is not None):
            return -1
        self._waiting[key] = packet
        self.bytes += grown
        return int(before is not None)

    def _next_ticket(self) -> int:
        self._ticket += 1
        return self._ticket

    def pop(self) -> Packet | None:
        """The next packet to send."""
        if self._urgent:
            packet = self._urgent.popleft()
        elif self._waiting:
            packet = self._waiting.popitem(last=False)[1]
        else:
            return None
        self.bytes -= packet.size
        return packet

    def clear(self) -> int:
        """Forget everything; the number of packets lost."""
        lost = len(self)
        self._urgent.clear()
        self._waiting.clear()
        self.bytes = 0
        return lost
