"""An MCAP file written chunk by chunk (https://mcap.dev/spec), readable to its last whole chunk at any moment.

Own chunks instead of the library's writer for one reason: pixels go from the image to the
compressor piece by piece with the GIL free, where the library copies every message under it.
"""

import struct
import zlib
from collections.abc import Sequence

import lz4.frame
from mcap.data_stream import RecordBuilder
from mcap.opcode import Opcode
from mcap.records import (
    Channel,
    ChunkIndex,
    DataEnd,
    Footer,
    Header,
    McapRecord,
    MessageIndex,
    Statistics,
    SummaryOffset,
)

from guidance.recording.disk import AppendFile

MAGIC = b"\x89MCAP0\r\n"
PROFILE = "guidance-1"
_MESSAGE = struct.Struct("<BQHIQQ")  # opcode, length, channel, sequence, log time, publish time
_CHUNK = struct.Struct("<BQQQQI")  # opcode, length, start, end, uncompressed size, uncompressed CRC
_PIECE = 128 * 1024


class _Chunk:
    """The chunk being filled: compressed pieces, never the plain whole."""

    def __init__(self) -> None:
        self._compressor = lz4.frame.LZ4FrameCompressor(block_size=lz4.frame.BLOCKSIZE_MAX256KB)
        self.pieces: list[bytes] = [self._compressor.begin()]
        self._small = bytearray()
        self.size = 0
        self.crc = 0
        self.times: list[int] = []
        self.index: dict[int, list[tuple[int, int]]] = {}

    def add(self, channel: int, sequence: int, time_ns: int, parts: Sequence[bytes | memoryview]) -> None:
        length = 22 + sum(len(part) for part in parts)
        self.index.setdefault(channel, []).append((time_ns, self.size))
        self.times.append(time_ns)
        self._small += _MESSAGE.pack(Opcode.MESSAGE, length, channel, sequence & 0xFFFFFFFF, time_ns, time_ns)
        for part in parts:
            if len(part) < _PIECE:
                self._small += part
            else:
                self._squeeze()
                self._feed(memoryview(part))
        if len(self._small) >= _PIECE:
            self._squeeze()
        self.size += 9 + length

    def _squeeze(self) -> None:
        small, self._small = self._small, bytearray()
        self._feed(memoryview(small))

    def _feed(self, data: memoryview) -> None:
        for at in range(0, len(data), _PIECE):
            piece = data[at : at + _PIECE]
            self.crc = zlib.crc32(piece, self.crc)
            self.pieces.append(self._compressor.compress(piece))

    def finish(self) -> int:
        """End the compressed stream; its size in bytes."""
        self._squeeze()
        self.pieces.append(self._compressor.flush())
        return sum(len(piece) for piece in self.pieces)


class McapFile:
    """Messages by channel in lz4 chunks. Not for several threads at once."""

    def __init__(self, file: AppendFile, channels: dict[str, str]) -> None:
        """Write the start of the file. `channels`: topic to message encoding; ids count from 1 in their order."""
        self._file = file
        self._channels = [
            Channel(id=number, topic=topic, message_encoding=encoding, metadata={}, schema_id=0)
            for number, (topic, encoding) in enumerate(channels.items(), 1)
        ]
        self._chunk = _Chunk()
        self._chunks: list[ChunkIndex] = []
        self._counts: dict[int, int] = {}
        self._append([MAGIC, _bytes(Header(PROFILE, "guidance"), *self._channels)])

    @property
    def pending_bytes(self) -> int:
        """Plain size of the chunk being filled; 0 = nothing waits for `flush`."""
        return self._chunk.size

    def add(self, channel: int, sequence: int, time_ns: int, parts: Sequence[bytes | memoryview]) -> None:
        """Add a message to the chunk being filled; nothing is written before `flush`."""
        self._chunk.add(channel, sequence, time_ns, parts)

    def flush(self) -> None:
        """Write the chunk being filled. OSError: none of it stands in the file, and its messages are lost."""
        chunk, self._chunk = self._chunk, _Chunk()
        if not chunk.size:
            return
        packed = chunk.finish()
        start, end = min(chunk.times), max(chunk.times)
        head = _CHUNK.pack(Opcode.CHUNK, 40 + 3 + packed, start, end, chunk.size, chunk.crc)
        head += struct.pack("<I3sQ", 3, b"lz4", packed)
        indices = [MessageIndex(channel, records) for channel, records in chunk.index.items()]
        at = self._file.size
        after = at + len(head) + packed
        offsets: dict[int, int] = {}
        tail = b""
        for index in indices:
            offsets[index.channel_id] = after + len(tail)
            tail += _bytes(index)
        self._append([head, *chunk.pieces, tail])
        self._chunks.append(ChunkIndex(after - at, at, "lz4", packed, end, len(tail), offsets, start, chunk.size))
        for index in indices:
            self._counts[index.channel_id] = self._counts.get(index.channel_id, 0) + len(index.records)

    def finish(self) -> None:
        """Flush, then write the summary by which a reader can seek."""
        self.flush()
        data_end = _bytes(DataEnd(0))
        start = self._file.size + len(data_end)
        groups: list[tuple[int, bytes]] = [
            (Opcode.CHANNEL, _bytes(*self._channels)),
            (Opcode.STATISTICS, _bytes(self._statistics())),
            (Opcode.CHUNK_INDEX, _bytes(*self._chunks)),
        ]
        summary, offsets = b"", b""
        for opcode, group in groups:
            if group:
                offsets += _bytes(SummaryOffset(opcode, start + len(summary), len(group)))
            summary += group
        offset_start = start + len(summary)
        footer_head = struct.pack("<BQQQ", Opcode.FOOTER, 20, start, offset_start)
        crc = zlib.crc32(footer_head, zlib.crc32(summary + offsets))
        self._append([data_end, summary, offsets, _bytes(Footer(start, offset_start, crc)), MAGIC])

    def _statistics(self) -> Statistics:
        return Statistics(
            attachment_count=0,
            channel_count=len(self._channels),
            channel_message_counts=self._counts,
            chunk_count=len(self._chunks),
            message_count=sum(self._counts.values()),
            message_end_time=max((c.message_end_time for c in self._chunks), default=0),
            message_start_time=min((c.message_start_time for c in self._chunks), default=0),
            metadata_count=0,
            schema_count=0,
        )

    def _append(self, parts: Sequence[bytes]) -> None:
        whole = self._file.size
        try:
            self._file.write(parts)
        except OSError:
            self._file.truncate(whole)
            raise


def _bytes(*records: McapRecord) -> bytes:
    builder = RecordBuilder()
    for record in records:
        record.write(builder)
    return bytes(builder.end())
