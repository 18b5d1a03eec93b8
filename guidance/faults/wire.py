"""Faults on the bytes of an OpenIGTLink connection: what a peer says is encoded, spoiled and decoded again.

As on a socket: a decoder that refuses ends the connection, which comes back after a pause.
"""

from collections.abc import Callable
from itertools import pairwise

import numpy as np

from devices.errors import LocalProtocolError, RemoteProtocolError
from devices.messages import AnyMessage
from devices.openigtlink import Decoder, Naming, encode, to_domain, to_wire

Spoil = Callable[[bytes, np.random.Generator], bytes]
RECONNECT_NS = 120_000_000
HEADER = 58


def _flip(data: bytes, rng: np.random.Generator) -> bytes:
    at = int(rng.integers(len(data)))
    return data[:at] + bytes([data[at] ^ (1 << int(rng.integers(8)))]) + data[at + 1 :]


def _body_flip(data: bytes, rng: np.random.Generator) -> bytes:
    at = int(rng.integers(HEADER, len(data)))
    return data[:at] + bytes([data[at] ^ (1 << int(rng.integers(8)))]) + data[at + 1 :]


def _wrong_crc(data: bytes, rng: np.random.Generator) -> bytes:
    return data[:50] + rng.bytes(8) + data[58:]


def _huge(data: bytes, rng: np.random.Generator) -> bytes:
    size = (2**31, 2**40, 2**63, 2**64 - 1)[int(rng.integers(4))]
    return data[:42] + size.to_bytes(8, "big") + data[50:]


def _version(data: bytes, rng: np.random.Generator) -> bytes:
    return int(rng.choice([0, 3, 99, 65535])).to_bytes(2, "big") + data[2:]


def _cut(data: bytes, rng: np.random.Generator) -> bytes:
    return data[: int(rng.integers(1, len(data)))]


def _noise(data: bytes, rng: np.random.Generator) -> bytes:
    return rng.bytes(int(rng.integers(64, 400)))


def _http(data: bytes, rng: np.random.Generator) -> bytes:
    return b"GET / HTTP/1.1\r\nHost: tracker\r\nConnection: keep-alive\r\nAccept: */*\r\n\r\n" * 2


def _hello(data: bytes, rng: np.random.Generator) -> bytes:
    return b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + rng.bytes(300)


# name -> (what it does to the bytes, whether what remains of the message must be refused)
SPOILS: dict[str, tuple[Spoil, bool]] = {
    "flip": (_flip, False),  # a bit of a name or a time stamp is covered by no CRC
    "body_flip": (_body_flip, True),
    "wrong_crc": (_wrong_crc, True),
    "huge_size": (_huge, True),
    "version": (_version, True),
    "cut": (_cut, True),
    "noise": (_noise, True),
    "http": (_http, True),
    "tls_hello": (_hello, True),
    "split": (lambda data, rng: data, False),
}


class Wire:
    """One connection through which messages pass. `share` of them are spoiled by `kind`; always fed in pieces."""

    def __init__(self, kind: str, share: float) -> None:
        self.kind = kind
        self.reason = ""
        self.spoiled = self.wrongly_accepted = 0
        self._share = share
        self._decoder = Decoder()
        self._naming = Naming("Tracker", "RAS", "RAS")
        self._down_until_ns = 0

    def up(self, now_ns: int) -> bool:
        """True while connected."""
        return now_ns >= self._down_until_ns

    def carry(self, message: AnyMessage, now_ns: int, rng: np.random.Generator) -> list[AnyMessage]:
        """What arrives of the message; nothing while the connection is down."""
        if not self.up(now_ns):
            return []
        if self._down_until_ns:
            self._down_until_ns, self._decoder = 0, Decoder()
        try:
            data = b"".join(bytes(part) for wire in to_wire(message, 2) for part in encode(wire, 2))
        except LocalProtocolError:
            return []  # what cannot be said in the protocol cannot come over it
        spoil, must_refuse = SPOILS[self.kind]
        hit = rng.random() < self._share
        if hit:
            self.spoiled += 1
            data = spoil(data, rng)
        out: list[AnyMessage] = []
        try:
            for piece in _pieces(data, rng):
                for wire in self._decoder.feed(piece):
                    out += to_domain(wire, now_ns, self._naming)
            if self._decoder.fault is not None:
                raise self._decoder.fault
        except RemoteProtocolError as fault:
            self._end(now_ns, f"rejected: {fault}")
        if hit and must_refuse:
            self.wrongly_accepted += len(out)
            if self.kind == "cut" and self._decoder.in_message:
                self._end(now_ns, "closed by the peer")
        return out

    def _end(self, now_ns: int, reason: str) -> None:
        self.reason, self._down_until_ns = reason, now_ns + RECONNECT_NS


def _pieces(data: bytes, rng: np.random.Generator) -> list[bytes]:
    cuts = sorted({0, len(data), *(int(n) for n in rng.integers(0, len(data) + 1, 3))})
    return [data[a:b] for a, b in pairwise(cuts)]
