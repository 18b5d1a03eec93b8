"""Wire messages to the room's messages and back; the tables stand in `incoming`, `outgoing` and `naming`."""

from devices.openigtlink.incoming import to_domain
from devices.openigtlink.naming import Naming
from devices.openigtlink.outgoing import to_wire

__all__ = ["Naming", "to_domain", "to_wire"]
