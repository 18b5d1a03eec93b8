"""OpenIGTLink: a codec without I/O, the translation to the messages of the room, and the asyncio link."""

from devices.openigtlink.framer import Budget, Decoder, Limits, encode
from devices.openigtlink.link import OpenIGTLinkLink
from devices.openigtlink.settings import OpenIGTLinkSettings
from devices.openigtlink.translate import Naming, to_domain, to_wire

__all__ = [
    "Budget",
    "Decoder",
    "Limits",
    "Naming",
    "OpenIGTLinkLink",
    "OpenIGTLinkSettings",
    "encode",
    "to_domain",
    "to_wire",
]
