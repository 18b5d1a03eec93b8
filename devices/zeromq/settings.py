"""What a ZeroMQ link is told, and the gate that keeps plain text on loopback."""

from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path

from devices.errors import LocalProtocolError

LOCAL_TRANSPORTS = ("inproc", "ipc")


@dataclass(frozen=True)
class CurveKeys:
    """Key files in ZeroMQ's own format (`python -m devices.zeromq.keys FOLDER NAME` makes a pair)."""

    secret: Path  # our own NAME.key_secret
    allowed: Path | None = None  # folder of the public .key files that may connect to what we bind
    server: Path | None = None  # public .key of the side that we connect to


@dataclass(frozen=True)
class ZeroMQSettings:
    """Endpoints are `tcp://HOST:PORT`, `ipc://PATH` or `inproc://NAME`; port `*` takes a free one.

    An empty endpoint means that the link has no such socket.
    """

    room: str
    publish: str = ""  # bind: everything that we send except images
    publish_images: str = ""  # bind: images and overlays; "" = together with the rest
    listen: str = ""  # bind: devices connect here and publish poses and frames
    subscribe: tuple[str, ...] = ()  # connect: publishers that we listen to
    issue: str = ""  # connect: the device that executes our commands
    execute: str = ""  # bind: commands for us arrive here
    latest: frozenset[str] = frozenset({"image", "overlay"})  # kinds of which only the newest waiting counts
    curve: CurveKeys | None = None
    max_part_bytes: int = 64 * 1024 * 1024  # libzmq refuses a larger part; parts may not be more together either
    queue: int = 256  # messages per peer, each way
    image_queue: int = 16  # the same on `publish_images`
    heartbeat_ms: int = 500
    silent_ms: int = 1500  # a peer that answers no heartbeat for this long is gone
    ask_again_ms: int = 100  # an unanswered command is sent again this often ...
    give_up_ms: int = 2000  # ... for this long


def is_local(endpoint: str) -> bool:
    """True where the endpoint cannot be reached from another machine; LocalProtocolError if it is none."""
    transport, mark, rest = endpoint.partition("://")
    if not mark or not rest or transport not in ("tcp", *LOCAL_TRANSPORTS):
        raise LocalProtocolError(f"{endpoint!r} is not tcp://HOST:PORT, ipc://PATH or inproc://NAME")
    if transport in LOCAL_TRANSPORTS:
        return True
    host, _, port = rest.rpartition(":")
    if not host or not port:
        raise LocalProtocolError(f"{endpoint!r} needs a host and a port")
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"


def check_endpoint(endpoint: str, curve: CurveKeys | None, *, binds: bool) -> None:
    """LocalProtocolError where an endpoint beyond this machine has not the keys that it needs."""
    local = is_local(endpoint)
    if curve is None and not local:
        raise LocalProtocolError(
            f"{endpoint} can be reached from other machines: give CURVE keys (settings `curve`) or use 127.0.0.1"
        )
    if curve is not None and binds and curve.allowed is None:
        raise LocalProtocolError(f"{endpoint} needs `curve.allowed`: the folder of public keys that may connect")
    if curve is not None and not binds and curve.server is None:
        raise LocalProtocolError(f"{endpoint} needs `curve.server`: the public key file of the other side")
