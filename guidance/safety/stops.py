"""Stop requests: sent at once, repeated every 50 ms on every channel until each device confirms."""

from collections.abc import Iterable

import msgspec

from devices.messages import Acknowledgement, Command
from guidance.units import ms

REPEAT_NS = ms(50)


class Stoppable(msgspec.Struct, frozen=True):
    """A device that takes STOP: its link, its name there and the safe state that it declared."""

    link: str
    device: str
    safe_state: str


class StopRequest(msgspec.Struct):
    """One STOP to one device, from first sending to confirmation."""

    target: Stoppable
    command_id: int
    reason: str
    since_ns: int
    next_ns: int
    confirmed_ns: int = 0
    sent: int = 0


class Stops:
    """Latched stop requests, one a device at the most."""

    def __init__(self, targets: Iterable[Stoppable]) -> None:
        self.targets = tuple(targets)
        self.requests: dict[str, StopRequest] = {}
        self._issued = 0

    def request(self, reason: str, now_ns: int) -> None:
        """Ask every device to stop; one that is already being asked keeps its first request."""
        for target in self.targets:
            if target.device not in self.requests:
                self._issued += 1
                self.requests[target.device] = StopRequest(
                    target=target, command_id=self._issued, reason=reason, since_ns=now_ns, next_ns=now_ns
                )

    def due(self, now_ns: int) -> list[tuple[str, Command]]:
        """(link, STOP) for every unconfirmed request whose time has come."""
        out = []
        for request in self.requests.values():
            if not request.confirmed_ns and now_ns >= request.next_ns:
                request.next_ns = now_ns + REPEAT_NS
                request.sent += 1
                out.append((request.target.link, self._command(request, now_ns)))
        return out

    def confirm(self, link: str, answer: Acknowledgement, now_ns: int) -> StopRequest | None:
        """Match an answer to its request; the request when this confirmed it."""
        for request in self.requests.values():
            same = request.target.link == link and request.command_id == answer.command_id
            if same and answer.verb == "STOP" and answer.done and not request.confirmed_ns:
                request.confirmed_ns = now_ns
                return request
        return None

    def unconfirmed_ms(self, now_ns: int) -> dict[str, float]:
        """For every device: how long its STOP has been unconfirmed (0 = none open)."""
        waiting = {
            name: (now_ns - request.since_ns) / 1e6
            for name, request in self.requests.items()
            if not request.confirmed_ns
        }
        return {target.device: waiting.get(target.device, 0.0) for target in self.targets}

    @property
    def all_confirmed(self) -> bool:
        """True when no request waits for its device."""
        return all(request.confirmed_ns for request in self.requests.values())

    def clear(self) -> None:
        """Forget confirmed requests (the operator reset the stop)."""
        self.requests = {name: request for name, request in self.requests.items() if not request.confirmed_ns}

    @staticmethod
    def _command(request: StopRequest, now_ns: int) -> Command:
        return Command(
            name=request.target.device,
            command_id=request.command_id,
            verb="STOP",
            reason=request.reason,
            device_time_ns=now_ns,
        )
