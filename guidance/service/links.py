"""Links of a room: from the configuration's rows to sockets. One table from kind to builder."""

from collections.abc import Callable
from typing import Any, Protocol

from devices.clock import Clock
from devices.counters import LinkRow
from devices.errors import LocalProtocolError
from devices.messages import AnyMessage
from devices.mqtt.link import MqttLink
from devices.mqtt.outbox import Outbox
from devices.openigtlink.link import OpenIGTLinkLink
from devices.zeromq.link import ZeroMQLink
from guidance.errors import SettingsError
from guidance.service import options
from guidance.settings import Link, RoomSettings

Hearing = dict[str, Any]


class AnyLink(Protocol):
    """What every link can do; none of it blocks."""

    @property
    def address(self) -> str | tuple[str, int]:
        """Where it is bound or connected to."""
        ...

    async def start(self) -> None:
        """Open sockets."""
        ...

    async def stop(self) -> None:
        """Close sockets."""
        ...

    def describe(self) -> LinkRow:
        """Totals, peers and streams in the form that all links have in common."""
        ...

    def send(self, message: AnyMessage, urgent: bool = False) -> None:
        """Queue or write one message."""
        ...


class Ears:
    """Who hears of a link: messages, ups and downs, losses. Bound to the link's id once."""

    def __init__(
        self,
        link: str,
        on_message: Callable[[str, AnyMessage], None],
        on_change: Callable[[str, bool, str, str], None],
        on_loss: Callable[[str, str, int, str], None],
    ) -> None:
        self.on_message = lambda message: on_message(link, message)
        self.on_change = lambda up, peer, reason: on_change(link, up, peer, reason)
        self.on_loss = lambda stream, count, reason: on_loss(link, stream, count, reason)


def build(row: Link, room: RoomSettings, clock: Clock, ears: Ears, outbox: Outbox) -> AnyLink:
    """The link of one row; SettingsError names the row and what is wrong with it."""
    hearing = {"on_message": ears.on_message, "on_change": ears.on_change, "on_loss": ears.on_loss}
    try:
        return _BUILDERS[row.kind](row, room, clock, hearing, outbox)
    except (ValueError, LocalProtocolError) as fault:
        raise SettingsError(f"links.{row.id}", [str(fault)]) from fault


def _openigtlink(row: Link, room: RoomSettings, clock: Clock, hearing: Hearing, outbox: Outbox) -> AnyLink:
    return OpenIGTLinkLink(options.openigtlink(row, room), clock=clock, **hearing)


def _zeromq(row: Link, room: RoomSettings, clock: Clock, hearing: Hearing, outbox: Outbox) -> AnyLink:
    return ZeroMQLink(options.zeromq(row, room), clock=clock, **hearing)


def _mqtt(row: Link, room: RoomSettings, clock: Clock, hearing: Hearing, outbox: Outbox) -> AnyLink:
    return MqttLink(options.mqtt(row, room), clock=clock, outbox=outbox, **hearing)


_BUILDERS: dict[str, Callable[[Link, RoomSettings, Clock, Hearing, Outbox], AnyLink]] = {
    "openigtlink": _openigtlink,
    "zeromq": _zeromq,
    "mqtt": _mqtt,
}
