"""The devices' side of the room's links: a row of a scenario becomes a link of `devices`.

`options` of a row are fields of that link's settings. An OpenIGTLink device speaks header version
2 unless told otherwise. A ZeroMQ row that listens publishes on its address, one that connects
subscribes to it; `publish`, `subscribe`, `issue`, `execute` in `options` add further sockets.
"""

from collections.abc import Callable
from typing import Any, Protocol

from devices.clock import Clock
from devices.errors import LocalProtocolError
from devices.messages import AnyMessage
from devices.openigtlink import OpenIGTLinkLink, OpenIGTLinkSettings
from devices.zeromq.link import ZeroMQLink
from devices.zeromq.settings import ZeroMQSettings
from sim.errors import ScenarioError
from sim.scenario import LinkRow

OnMessage = Callable[[AnyMessage], None]
OnChange = Callable[[bool, str, str], None]
OnLoss = Callable[[str, int, str], None]


class Link(Protocol):
    """What the runner needs of a link."""

    async def start(self) -> None:
        """Listen or begin to connect."""

    async def stop(self) -> None:
        """Close everything."""

    def send(self, message: AnyMessage, urgent: bool = False) -> None:
        """Send without blocking."""


def _openigtlink(row: LinkRow) -> tuple[type[Any], Any]:
    host, _, port = row.address.rpartition(":")
    options: dict[str, Any] = {"header_version": 2, **row.options}
    return OpenIGTLinkLink, OpenIGTLinkSettings(id=row.id, mode=row.mode, host=host, port=int(port), **options)  # type: ignore[arg-type]


def _zeromq(row: LinkRow) -> tuple[type[Any], Any]:
    endpoint = f"tcp://{row.address.removesuffix(':0')}{':*' if row.address.endswith(':0') else ''}"
    options: dict[str, Any] = {"room": "or-1", **row.options}
    options |= {key: tuple(options[key]) for key in ("subscribe",) if key in options}
    if row.mode == "listen":
        options.setdefault("publish", endpoint)
    else:
        options["subscribe"] = (endpoint, *options.get("subscribe", ()))
    return ZeroMQLink, ZeroMQSettings(**options)


KINDS: dict[str, Callable[[LinkRow], tuple[type[Any], Any]]] = {"openigtlink": _openigtlink, "zeromq": _zeromq}


def make_link(row: LinkRow, clock: Clock, on_message: OnMessage, on_change: OnChange, on_loss: OnLoss) -> Link:
    """The link of a row, not yet started; ScenarioError for a kind or an option that does not exist."""
    if row.kind not in KINDS:
        raise ScenarioError(f"link {row.id!r}: kind {row.kind!r} is not one of {sorted(KINDS)}")
    try:
        kind, settings = KINDS[row.kind](row)
    except (TypeError, ValueError, LocalProtocolError) as fault:
        raise ScenarioError(f"link {row.id!r}: {fault}") from fault
    link: Link = kind(settings, clock=clock, on_message=on_message, on_change=on_change, on_loss=on_loss)
    return link


def address_of(link: Link) -> str:
    """Where the link is, as text; links keep it as text or as (host, port)."""
    address: str | tuple[str, int] = getattr(link, "address", "")
    return address if isinstance(address, str) else f"{address[0]}:{address[1]}"
