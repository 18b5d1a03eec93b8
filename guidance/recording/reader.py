"""Reading a recording back: whole, or cut short by a crash, and strictly in both cases.

A file that ends inside a record was cut there: everything before is good, and `cut_bytes` says how
much is not. Anything else that is not as the recorder writes it is a RecordingError with its offset.
"""

import json
import os
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import lz4.frame
import msgspec
from mcap.data_stream import ReadDataStream
from mcap.exceptions import McapError
from mcap.opcode import Opcode
from mcap.records import Header

from guidance.errors import RecordingError
from guidance.events import AnyEvent
from guidance.recording.codec import read_event
from guidance.recording.mcap_file import MAGIC, PROFILE
from guidance.recording.writer import EVENTS, HEADER, OUTPUTS

MAX_CHUNK_BYTES = 512 * 1024 * 1024
_RECORD = struct.Struct("<BQ")
_CHUNK = struct.Struct("<QQQII3sQ")  # start, end, size, CRC, length of the name, "lz4", packed size
_MESSAGE = struct.Struct("<HIQQ")

Step = tuple[AnyEvent, list[bytes]]


class Recording:
    """One recording. `header` as it was given to the recorder; `complete` = it was closed properly."""

    def __init__(self, path: Path) -> None:
        """Look through the file's records. RecordingError names the file, the offset and the fault."""
        self.path = path
        self.complete = False
        self.cut_bytes = 0  # at the end of the file, of a record that is not whole
        self.missing = 0  # steps that the recorder lost, known once `steps` has run to its end
        self._chunks: list[tuple[int, int]] = []  # offset and length of each chunk's content
        try:
            with path.open("rb") as file:
                self._scan(file)
                self.header = self._read_header(file)
        except OSError as fault:
            raise RecordingError(f"{path}: cannot be read: {fault.strerror}") from fault

    def steps(self) -> Iterator[Step]:
        """Every recorded step in order: the event, and the records of what the core gave for it."""
        self.missing = 0
        due = 0
        try:
            with self.path.open("rb") as file:
                for offset, length in self._chunks[1:]:
                    for number, step in self._read_steps(offset, self._read_chunk(file, offset, length)):
                        if number < due:
                            raise self._fault(offset, f"step {number} comes after step {due - 1}")
                        self.missing += number - due
                        due = number + 1
                        yield step
        except OSError as fault:
            raise RecordingError(f"{self.path}: cannot be read: {fault.strerror}") from fault

    def _scan(self, file: IO[bytes]) -> None:
        size = os.fstat(file.fileno()).st_size
        start = file.read(len(MAGIC))
        if start != MAGIC[: len(start)]:
            raise self._fault(0, "is not an MCAP file")
        at, ended = len(MAGIC), False
        while at < size and not self.complete:
            head = file.read(_RECORD.size)
            if len(head) < _RECORD.size:
                break
            opcode, length = _RECORD.unpack(head)
            if at + _RECORD.size + length > size:
                break
            self._note(file, opcode, at, length, ended)
            ended = ended or opcode == Opcode.DATA_END
            at += _RECORD.size + length
            file.seek(at)
            if opcode == Opcode.FOOTER:
                end = file.read(len(MAGIC) + 1)
                if end != MAGIC[: len(end)]:
                    raise self._fault(at, "the end mark is wrong")
                self.complete = end == MAGIC
                at = size if self.complete else at
        self.cut_bytes = 0 if self.complete else size - min(at, size)
        if not self._chunks:
            raise self._fault(at, "holds no whole chunk; it was cut before its header reached the disk")

    def _note(self, file: IO[bytes], opcode: int, at: int, length: int, ended: bool) -> None:
        if opcode not in _KNOWN or (at == len(MAGIC)) != (opcode == Opcode.HEADER):
            raise self._fault(at, f"a record of kind {opcode} cannot stand here")
        if opcode in (Opcode.CHUNK, Opcode.MESSAGE_INDEX) and ended:
            raise self._fault(at, f"a record of kind {opcode} comes after the end of the data")
        if opcode == Opcode.HEADER:
            try:
                profile = Header.read(ReadDataStream(file)).profile
            except (McapError, struct.error, UnicodeDecodeError) as fault:
                raise self._fault(at, f"the file's head is broken: {fault}") from fault
            if profile != PROFILE:
                raise self._fault(at, f"is of profile {profile!r}; this version reads {PROFILE!r}")
        if opcode == Opcode.CHUNK:
            self._chunks.append((at + _RECORD.size, length))

    def _read_header(self, file: IO[bytes]) -> dict[str, Any]:
        offset, length = self._chunks[0]
        messages = list(self._messages(offset, self._read_chunk(file, offset, length)))
        if len(messages) != 1 or messages[0][0] != HEADER:
            raise self._fault(offset, "does not begin with its header")
        try:
            header = json.loads(messages[0][2].tobytes())
        except (ValueError, RecursionError) as fault:
            raise self._fault(offset, f"the header is not JSON: {fault}") from fault
        if not isinstance(header, dict):
            raise self._fault(offset, "the header is not a JSON object")
        return header

    def _read_chunk(self, file: IO[bytes], offset: int, length: int) -> memoryview:
        file.seek(offset)
        content = file.read(length)
        if len(content) != length or length < _CHUNK.size:
            raise self._fault(offset, "the chunk is too short")
        _, _, size, crc, name_length, name, packed = _CHUNK.unpack_from(content)
        if name_length != 3 or name != b"lz4" or packed != length - _CHUNK.size or size > MAX_CHUNK_BYTES:
            raise self._fault(offset, "the chunk's head is not one that the recorder writes")
        try:
            data = lz4.frame.LZ4FrameDecompressor().decompress(memoryview(content)[_CHUNK.size :], size + 1)
        except RuntimeError as fault:
            raise self._fault(offset, f"the chunk does not decompress: {fault}") from fault
        if len(data) != size or zlib.crc32(data) != crc:
            raise self._fault(offset, "the chunk's checksum is wrong")
        return memoryview(data)

    def _messages(self, offset: int, data: memoryview) -> Iterator[tuple[int, int, memoryview]]:
        at, head = 0, _RECORD.size + _MESSAGE.size
        while at < len(data):
            if at + head > len(data):
                raise self._fault(offset, "the chunk ends inside a message")
            opcode, length = _RECORD.unpack_from(data, at)
            end = at + _RECORD.size + length
            if opcode != Opcode.MESSAGE or end > len(data) or length < _MESSAGE.size:
                raise self._fault(offset, f"the chunk holds no whole message at {at}")
            channel, number, _, _ = _MESSAGE.unpack_from(data, at + _RECORD.size)
            yield channel, number, data[at + head : end]
            at = end

    def _read_steps(self, offset: int, data: memoryview) -> Iterator[tuple[int, Step]]:
        messages = self._messages(offset, data)
        for channel, number, event in messages:
            follower = next(messages, None)
            if channel != EVENTS or follower is None or follower[:2] != (OUTPUTS, number):
                raise self._fault(offset, f"step {number} is not an event followed by its outputs")
            try:
                yield number, (read_event(event), _OUTPUTS.decode(follower[2]))
            except (RecordingError, msgspec.MsgspecError) as fault:
                raise self._fault(offset, f"step {number}: {fault}") from fault

    def _fault(self, offset: int, what: str) -> RecordingError:
        return RecordingError(f"{self.path} at byte {offset}: {what}")


_OUTPUTS = msgspec.msgpack.Decoder(list[bytes])
_KNOWN = frozenset(
    {
        Opcode.HEADER,
        Opcode.CHANNEL,
        Opcode.CHUNK,
        Opcode.MESSAGE_INDEX,
        Opcode.DATA_END,
        Opcode.STATISTICS,
        Opcode.CHUNK_INDEX,
        Opcode.SUMMARY_OFFSET,
        Opcode.FOOTER,
    }
)


def read(path: Path) -> Iterator[Step]:
    """The steps of the recording at `path`; see `Recording` for its header and how it ended."""
    return Recording(path).steps()
