"""Bytes of events and effects, the same on every machine.

An event is recorded whole, apart from the arrays that a lane computed. An effect is recorded so
that a replay can compare it byte for byte. In both, a computed array above `WHOLE_BYTES` stands as
its `Digest`: a replay that passes the digest on where the live run passed the array gives the same
bytes, so decisions can be checked without computing the arrays again.

Form of an event: 4 bytes little-endian length of a msgpack head, the head, then the bytes of every
large array, which the head names by {dtype, shape, at, nbytes}. Large arrays stay outside msgpack so
that a writer can pass them on without a copy.
"""

import hashlib
import struct
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from devices import packing
from devices.errors import RemoteProtocolError
from devices.messages import AnyMessage
from guidance.errors import RecordingError
from guidance.events import AnyEvent, Arrival, Effect, Health, Job, JobDone, Send

WHOLE_BYTES = 4096
_HEAD = struct.Struct("<I")

Bytes = bytes | memoryview


class Digest(msgspec.Struct, frozen=True, kw_only=True):
    """Stands for `nbytes` bytes that were not recorded: an array's little-endian C-order bytes, or a packed message."""

    sha256: bytes
    nbytes: int
    dtype: str
    shape: tuple[int, ...]


class SendRecord(msgspec.Struct, frozen=True, array_like=True, tag="send"):
    """A recorded `Send`. `message` is the message's fields as a dict: arrays as arrays or `Digest`s."""

    link: str
    urgent: bool
    message: Any


class JobRecord(msgspec.Struct, frozen=True, array_like=True, tag="job"):
    """A recorded `Job`: what was asked of a lane, without the inputs."""

    number: int
    lane: str
    slot: str
    kind: str
    evidence: dict[str, int]


def digest(array: NDArray[Any]) -> Digest:
    """SHA-256 of the array's little-endian C-order bytes with its dtype and shape (the GIL is free meanwhile)."""
    plain = packing.little_endian(array)
    data = packing.raw(plain)
    return Digest(
        sha256=hashlib.sha256(data).digest(), nbytes=plain.nbytes, dtype=plain.dtype.str, shape=tuple(plain.shape)
    )


class Packer:
    """Packs one step (an event and its effects): an array that occurs twice is hashed once.

    Hold one for a step only: arrays are known by identity while it lives.
    """

    def __init__(self) -> None:
        self._digests: dict[int, Digest] = {}
        self._beside: list[memoryview] = []
        self._beside_bytes = 0

    def event(self, event: AnyEvent) -> list[Bytes]:
        """The event's bytes in parts; a part may be a view on an array of the event. TypeError: not recordable."""
        if isinstance(event, Arrival):
            message = exact(event.message)
            event = event if message is event.message else msgspec.structs.replace(event, message=message)
            head = msgspec.msgpack.encode(event, enc_hook=self._put_beside)
        elif isinstance(event, Health):
            event = msgspec.structs.replace(event, facts={name: float(value) for name, value in event.facts.items()})
            head = msgspec.msgpack.encode(event)
        else:
            head = msgspec.msgpack.encode(event, enc_hook=self._digest)
        beside, self._beside, self._beside_bytes = self._beside, [], 0
        return [_HEAD.pack(len(head)) + head, *beside]

    def effect(self, effect: Effect) -> bytes:
        """The effect's canonical bytes (maps sorted, numbers of a float field as floats)."""
        if isinstance(effect, Job):
            row = JobRecord(effect.number, effect.lane, effect.slot, effect.kind, effect.evidence)
            return msgspec.msgpack.encode(row, enc_hook=packing.enc_hook, order="deterministic")
        record = self._send(effect, exact(effect.message))
        if len(record) <= WHOLE_BYTES:
            return record
        whole = Digest(sha256=hashlib.sha256(record).digest(), nbytes=len(record), dtype="msgpack", shape=())
        kind = str(type(effect.message).__struct_config__.tag)
        return self._send(effect, {"type": kind, "name": effect.message.name, "digest": whole})

    def result(self, done: JobDone) -> bytes:
        """What a job computed, without its times: equal bytes mean equal results, live or read back."""
        row = (done.lane, done.kind, done.facts, done.arrays, done.failed)
        return msgspec.msgpack.encode(row, enc_hook=self._digest, order="deterministic")

    def _send(self, effect: Send, message: Any) -> bytes:
        row = SendRecord(effect.link, effect.urgent, message)
        return msgspec.msgpack.encode(row, enc_hook=self._digest, order="deterministic")

    def _digest(self, value: Any) -> Any:
        if isinstance(value, np.ndarray) and value.nbytes > WHOLE_BYTES:
            known = self._digests.get(id(value))
            if known is None:
                known = self._digests[id(value)] = digest(value)
            return known
        return packing.enc_hook(value)

    def _put_beside(self, value: Any) -> Any:
        if not isinstance(value, np.ndarray) or value.nbytes <= WHOLE_BYTES:
            return packing.enc_hook(value)
        plain = packing.little_endian(value)
        row = {"dtype": plain.dtype.str, "shape": plain.shape, "at": self._beside_bytes, "nbytes": plain.nbytes}
        self._beside.append(packing.raw(plain))
        self._beside_bytes += plain.nbytes
        return row


def pack_event(event: AnyEvent) -> bytes:
    """The event's bytes; `read_event` is the inverse."""
    return b"".join(Packer().event(event))


def output_record(effect: Effect) -> bytes:
    """The effect's canonical bytes: whole up to `WHOLE_BYTES`, else with digests in the place of what is large."""
    return Packer().effect(effect)


def fingerprint(done: JobDone) -> bytes:
    """SHA-256 of what a job computed (facts, arrays, failure), without its times."""
    return hashlib.sha256(Packer().result(done)).digest()


def exact(message: AnyMessage) -> AnyMessage:
    """The message with whole numbers in float fields made floats, as they would be read back."""
    changes: dict[str, Any] = {}
    values: dict[str, float] | None = getattr(message, "values", None)
    if values and any(type(value) is not float for value in values.values()):
        changes["values"] = {name: float(value) for name, value in values.items()}
    for field in ("value", "limit"):
        number = getattr(message, field, None)
        if number is not None and type(number) is not float:
            changes[field] = float(number)
    return msgspec.structs.replace(message, **changes) if changes else message


class _Unpacker:
    """Typed reading of events; `beside` is where the arrays of the event at hand lie."""

    def __init__(self) -> None:
        self._beside = memoryview(b"")
        self._decoder = msgspec.msgpack.Decoder(AnyEvent, dec_hook=self._array)

    def read(self, data: memoryview) -> AnyEvent:
        if len(data) < _HEAD.size:
            raise RemoteProtocolError(f"an event of {len(data)} bytes has no head")
        end = _HEAD.size + _HEAD.unpack_from(data)[0]
        if end > len(data):
            raise RemoteProtocolError(f"an event's head of {end} bytes does not fit its {len(data)} bytes")
        self._beside = data[end:]
        event: AnyEvent = self._decoder.decode(data[_HEAD.size : end])
        if isinstance(event, JobDone) and event.arrays:
            event = msgspec.structs.replace(event, arrays={name: revive(v) for name, v in event.arrays.items()})
        return event

    def _array(self, kind: Any, value: Any) -> Any:
        if isinstance(value, dict) and value.keys() == {"dtype", "shape", "at", "nbytes"}:
            start, size = value["at"], value["nbytes"]
            if type(start) is not int or type(size) is not int or not 0 <= start <= start + size <= len(self._beside):
                raise RemoteProtocolError(f"an array at {start!r} of {size!r} bytes is not in the event")
            return packing.read_array(value["dtype"], value["shape"], bytes(self._beside[start : start + size]))
        return packing.dec_hook(kind, value)


def revive(value: Any) -> Any:
    """A decoded plain value with its arrays and `Digest`s made again, at any depth."""
    if isinstance(value, list):
        return [revive(item) for item in value]
    if not isinstance(value, dict):
        return value
    if value.keys() == {"dtype", "shape", "data"}:
        return packing.read_array(value["dtype"], value["shape"], value["data"])
    if value.keys() == {"dtype", "shape", "sha256", "nbytes"}:
        return msgspec.convert(value, Digest)
    return {name: revive(item) for name, item in value.items()}


_unpacker = _Unpacker()
_output_decoder = msgspec.msgpack.Decoder(SendRecord | JobRecord)
_FAULTS = (msgspec.MsgspecError, RemoteProtocolError, TypeError, ValueError, RecursionError)


def read_event(data: Bytes) -> AnyEvent:
    """Inverse of `pack_event`. Arrays are read-only copies; computed ones above `WHOLE_BYTES` are `Digest`s.

    Raises RecordingError on anything that is not a packed event. Not for several threads at once.
    """
    try:
        return _unpacker.read(memoryview(data))
    except _FAULTS as fault:
        raise RecordingError(f"not a recorded event: {fault}") from fault


def read_output(record: Bytes) -> SendRecord | JobRecord:
    """An output record for people and reports: the message as a dict. Raises RecordingError."""
    try:
        row = _output_decoder.decode(record)
        return SendRecord(row.link, row.urgent, revive(row.message)) if isinstance(row, SendRecord) else row
    except _FAULTS as fault:
        raise RecordingError(f"not a recorded output: {fault}") from fault
