"""What can be set on an OpenIGTLink link."""

import ipaddress
import ssl
from dataclasses import dataclass, field
from typing import Literal

from devices.errors import LocalProtocolError
from devices.openigtlink.bodies import QUERY_TYPES
from devices.openigtlink.framer import Limits

_LOOPBACK_NAMES = ("localhost", "127.0.0.1", "::1")


@dataclass(frozen=True)
class OpenIGTLinkSettings:
    """One link. `listen` serves many peers, `connect` keeps one connection to a device.

    OpenIGTLink itself has no security: beyond loopback a link listens only to the networks in
    `allowed_peers`, and carries commands only over TLS (`tls`).
    """

    id: str
    mode: Literal["listen", "connect"]
    host: str = "127.0.0.1"
    port: int = 18944  # 0 = a free one (listen)
    default_frame: str = "Tracker"  # fixed frame of poses whose name does not say it
    image_frame: str = "RAS"
    point_frame: str = "RAS"
    header_version: Literal[1, 2] | None = None  # None: 1 until the peer has spoken 2
    push: bool = True  # send every stream to every peer; False: only what a peer subscribed to (alerts always)
    ask: tuple[str, ...] = ()  # what a device is asked at every connection, e.g. ("STT_TDATA", "GET_IMGMETA")
    ask_interval_ms: int = 20  # least time between messages that an STT_ asks for
    reconnect: bool = True  # some devices want an operator's consent per connection: switch it off there
    backoff_first_s: float = 0.1
    backoff_most_s: float = 1.0
    connect_timeout_s: float = 2.0
    handshake_s: float = 2.0  # for TLS, of a peer that connects to us
    message_deadline_s: float = 2.0  # from the first byte of a message to its last
    idle_limit_s: float | None = None  # close a peer that has sent nothing for this long; None: never
    write_stall_s: float = 2.5  # close a peer that has read nothing for this long
    max_clients: int = 256
    max_devices: int = 64  # device names of one peer
    in_flight_bytes: int = 512 * 1024 * 1024  # of all peers together, received and waiting to be sent
    queue_bytes: int = 32 * 1024 * 1024  # waiting to be sent to one peer
    allowed_peers: tuple[str, ...] = ()  # networks, e.g. "10.1.2.0/24"
    tls: ssl.SSLContext | None = None
    limits: Limits = field(default_factory=Limits)

    def __post_init__(self) -> None:
        if self.mode not in ("listen", "connect"):
            raise LocalProtocolError(f"link {self.id!r}: mode {self.mode!r} is not listen or connect")
        unknown = sorted(set(self.ask) - set(QUERY_TYPES))
        if unknown:
            raise LocalProtocolError(f"link {self.id!r} cannot ask {unknown}: there are no such questions")
        for network in self.allowed_peers:
            ipaddress.ip_network(network)
        if self.mode == "listen" and not self.on_loopback and not self.allowed_peers:
            raise LocalProtocolError(
                f"link {self.id!r} would listen on {self.host} for anyone: name the networks in allowed_peers, "
                "or listen on 127.0.0.1"
            )

    @property
    def on_loopback(self) -> bool:
        """True where no other machine can reach the link."""
        if self.host in _LOOPBACK_NAMES:
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    @property
    def carries_commands(self) -> bool:
        """Commands pass on loopback and over TLS, never in the open on a network."""
        return self.on_loopback or self.tls is not None

    def allows(self, address: str) -> bool:
        """True where a peer with this IP address may connect."""
        if not self.allowed_peers:
            return True
        ip = ipaddress.ip_address(address.split("%", 1)[0])
        return any(ip in ipaddress.ip_network(network) for network in self.allowed_peers)
