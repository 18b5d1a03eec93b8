"""Device desk: readings and statuses of devices, and how long links that must be up have been down."""

from collections.abc import Iterable

from devices.messages import AnyMessage, Reading, Status
from guidance.core.scene import Desk, Scene
from guidance.events import Effect, LinkChange
from guidance.safety import evidence
from guidance.safety.consoles import Consoles
from guidance.safety.facts import Fact
from guidance.timing.streams import StreamState

MUST_BE_UP = ("therapy", "robot")  # roles whose loss while energy flows is a STOP
SUPERVISOR = "supervisor"  # the line to the process that stops devices when this one cannot


class DeviceDesk(Desk):
    """Keeps the newest reading and status of each stream."""

    kinds = frozenset({"reading", "status"})
    takes = (Reading, Status)
    judged = ("link_down_ms", "device_fault", *sorted(evidence.TOLD))

    def __init__(self, scene: Scene, consoles: Consoles) -> None:
        self._scene = scene
        self._consoles = consoles
        self.readings: dict[str, dict[str, float]] = {}
        self.statuses: dict[str, Status] = {}
        links = scene.settings.links
        self._down_since = {row.id: -1 for row in links if row.role in MUST_BE_UP}
        self._console_peers: dict[str, set[str]] = {row.id: set() for row in links if row.role == "console"}
        self._console_down: dict[str, int] = {}

    def take(self, state: StreamState, message: AnyMessage, now_ns: int) -> Iterable[Effect]:
        """One reading or status."""
        if isinstance(message, Reading):
            self.readings[state.settings.name] = message.values
            evidence.reading_facts(self._scene.facts, state.settings.name, message.values, now_ns)
        elif isinstance(message, Status):
            self.statuses[state.settings.name] = message
            evidence.device_fault(self._scene.facts, state.settings.name, message.code, now_ns)
        return ()

    def link(self, event: LinkChange) -> None:
        """A link came up or went down."""
        peers = self._console_peers.get(event.link)
        if peers is not None:
            (peers.add if event.up else peers.discard)(event.peer)
            self._console_down[event.link] = 0 if peers else event.now_ns
        if event.link in self._down_since or event.link == SUPERVISOR:
            self._down_since[event.link] = 0 if event.up else event.now_ns
        self.measure(event.now_ns)

    def measure(self, now_ns: int) -> None:
        """How long each link has been down; of the consoles' links only the one that holds control counts."""
        holder = self._consoles.holder
        consoles = {link: since_ns if link == holder else 0 for link, since_ns in self._console_down.items()}
        since = {**self._down_since, **consoles}
        lost_ns = since.pop(SUPERVISOR, None)
        evidence.link_facts(self._scene.facts, since, now_ns)
        if lost_ns is not None:  # a room without a supervisor has no such fact
            age_ms = (now_ns - lost_ns) / 1e6 if lost_ns else 0.0
            self._scene.facts.set("supervisor_age_ms", SUPERVISOR, Fact(age_ms, now_ns))
