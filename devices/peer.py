"""What a peer is in virtual time: a device, simulated or recorded, that time is told to.

`sim` wraps peers in processes and sockets; `guidance/virtual.py` drives the same objects in
virtual time. A peer owns no clock, no socket and no thread; its randomness is a seeded generator.
"""

from typing import Protocol

from devices.messages import AnyMessage

NEVER_NS = 2**63 - 1


class Peer(Protocol):
    """A device in virtual time. Times are service time in ns."""

    name: str  # the link id that it speaks on, e.g. "tracker"

    def next_due_ns(self) -> int:
        """When it next wants `advance`; NEVER_NS when it has nothing more to say."""
        ...

    def advance(self, now_ns: int) -> list[AnyMessage]:
        """Live up to `now_ns` and return what it says, oldest first."""
        ...

    def accept(self, message: AnyMessage, now_ns: int) -> None:
        """Hear a message; any answer comes with the next `advance` (due at once)."""
        ...
