"""The journal's bytes: records that show whether they are whole, unchanged and in their place.

File: 32 bytes of head (magic and a random salt), then records of
`length u32 LE | CRC-32 u32 LE | chain (32 bytes) | payload`, where `chain` is SHA-256 of the chain
before and the payload (the first chain before is SHA-256 of the head), and the CRC covers length,
chain and payload. Records count from 1.
"""

import hashlib
import struct
import zlib
from pathlib import Path

import msgspec

from guidance.errors import RecordingError

MAGIC = b"GUIDEJ1\n"
HEAD_BYTES = 32
MAX_RECORD_BYTES = 1024 * 1024
_RECORD = struct.Struct("<II32s")


class Scan(msgspec.Struct, frozen=True):
    """What a journal's bytes hold: whole records, where they end, and the chain up to there."""

    records: list[bytes]
    chain: bytes
    good_bytes: int


def start_chain(head: bytes) -> bytes:
    """The chain before the first record."""
    return hashlib.sha256(head).digest()


def frame(chain: bytes, payload: bytes) -> tuple[bytes, bytes]:
    """The record's bytes and the chain after it. ValueError: empty, or above `MAX_RECORD_BYTES`."""
    if not 0 < len(payload) <= MAX_RECORD_BYTES:
        raise ValueError(f"a journal record has 1 to {MAX_RECORD_BYTES} bytes, not {len(payload)}")
    after = hashlib.sha256(chain + payload).digest()
    return _RECORD.pack(len(payload), _crc(len(payload), after, payload), after) + payload, after


def scan(data: bytes, path: Path) -> Scan:
    """Every whole record. What follows the last is a torn tail, the trace of a crash: `good_bytes` ends before it.

    RecordingError: not a journal, a record was changed, removed or put in, or whole records follow damaged bytes.
    """
    head = data[:HEAD_BYTES]
    if head[: len(MAGIC)] != MAGIC[: len(head)]:
        raise RecordingError(f"{path}: is not a journal")
    if len(head) < HEAD_BYTES:
        return Scan([], b"", 0)
    chain, at, records = start_chain(head), HEAD_BYTES, list[bytes]()
    while (payload := _whole_record(data, at)) is not None:
        before, chain = chain, hashlib.sha256(chain + payload).digest()
        if data[at + 8 : at + _RECORD.size] != chain:
            raise RecordingError(
                f"{path} at byte {at}: record {len(records) + 1} does not continue the chain {before.hex()[:16]}: "
                "a record was changed, removed or put in; keep the file and start a new journal"
            )
        records.append(payload)
        at += _RECORD.size + len(payload)
    later = next((i for i in range(at + 1, len(data)) if _whole_record(data, i) is not None), None)
    if later is not None:
        raise RecordingError(
            f"{path} at byte {at}: record {len(records) + 1} is damaged, yet a whole record follows at {later}: "
            "this is no torn tail; keep the file and start a new journal"
        )
    return Scan(records, chain, at)


def _whole_record(data: bytes, at: int) -> bytes | None:
    if at + _RECORD.size > len(data):
        return None
    length, crc, chain = _RECORD.unpack_from(data, at)
    end = at + _RECORD.size + length
    if not 0 < length <= MAX_RECORD_BYTES or end > len(data):
        return None
    payload = data[at + _RECORD.size : end]
    return payload if crc == _crc(length, chain, payload) else None


def _crc(length: int, chain: bytes, payload: bytes) -> int:
    return zlib.crc32(payload, zlib.crc32(chain, length))
