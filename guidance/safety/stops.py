"""Stop requests: sent at once, repeated every 50 ms on every channel until each device confirms."""

from collections.abc import Iterable

import msgspec

from devices.messages import Acknowledgement, Command
from guidance.units import ms

REPEAT_NS = ms(50)
_IDS = 1_000_000_000  # numbers begin at the time of the first request, so that an old run's answer fits none of ours


class Stoppable(msgspec.Struct, frozen=True):
    """A device that takes STOP: its link, its name there, the safe state that it declared.

    `also` are further links that reach it; `values` go with the command.
    """

    link: str
    device: str
    safe_state: str
    also: tuple[str, ...] = ()
    values: dict[str, float] = {}

    @property
    def links(self) -> tuple[str, ...]:
        """Every channel that reaches it."""
        return (self.link, *self.also)


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

    def request(self, reason: str, now_ns: int, link: str = "") -> None:
        """Ask every device (those on `link`, where one is named) to stop.

        A device that is being asked keeps its first request; one that had confirmed is asked anew.
        """
        for target in self.targets:
            open_request = self.requests.get(target.device)
            asked = open_request is not None and not open_request.confirmed_ns
            if asked or (link and link not in target.links):
                continue
            self._issued = max(self._issued + 1, now_ns // ms(1) % _IDS)
            self.requests[target.device] = StopRequest(
                target=target, command_id=self._issued, reason=reason, since_ns=now_ns, next_ns=now_ns
            )

    def due(self, now_ns: int) -> list[tuple[str, Command]]:
        """(link, STOP) for every unconfirmed request whose time has come, on every channel."""
        out = []
        for request in self.requests.values():
            if not request.confirmed_ns and now_ns >= request.next_ns:
                request.next_ns = now_ns + REPEAT_NS
                request.sent += 1
                out += [(link, self._command(request, now_ns)) for link in request.target.links]
        return out

    def confirm(self, link: str, answer: Acknowledgement, now_ns: int) -> StopRequest | None:
        """Match an answer to its request; the request when this confirmed it."""
        for request in self.requests.values():
            same = link in request.target.links and request.command_id == answer.command_id
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
            values=request.target.values,
            reason=request.reason,
            device_time_ns=now_ns,
        )
