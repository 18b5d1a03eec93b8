"""OpenIGTLink: a codec without I/O, the translation to the messages of the room, and the asyncio link."""

from devices.openigtlink.framer import Budget, Decoder, Limits, encode

__all__ = ["Budget", "Decoder", "Limits", "encode"]
