# SPDX-License-Identifier: Apache-2.0
"""Read the messages of an mcap file that is cut short, damaged or without an index."""

from __future__ import annotations

import heapq
import struct
from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

import lz4.frame
import zstandard
from mcap.data_stream import ReadDataStream
from mcap.opcode import Opcode
from mcap.reader import make_reader
from mcap.records import Channel, Schema
from rosbags.interfaces import MessageDefinition, MessageDefinitionFormat, Qos
from rosbags.rosbag2.metadata import parse_qos

from fusion_mamba_ros.bags.bag_contents import BagError, BagMessage, BagTopic, BagWarning, first_line

_MAGIC = b"\x89MCAP0\r\n"
_RECORD = struct.Struct("<BQ")
_MESSAGE = struct.Struct("<HIQQ")
_CHUNK = struct.Struct("<QQQII")
# Messages outside of chunks are read in blocks of about this size.
_BLOCK_BYTES = 4_000_000
_FORMATS = {"ros2msg": MessageDefinitionFormat.MSG, "ros2idl": MessageDefinitionFormat.IDL}


@dataclass(frozen=True, order=True)
class _Block:
    """Part of the file with the messages of one time range: a chunk, or messages outside of chunks."""

    start_ns: int
    end_ns: int
    offset: int
    length: int
    is_chunk: bool


class RecoveredMcap:
    """The messages of one mcap file, found by reading the whole file. See ``BagSource``.

    ``warnings`` say what is lost. The file is read twice, block by block: only overlapping blocks are in memory.
    Raises `BagError` if the file is no mcap file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: BinaryIO = path.open("rb")
        self._size = path.stat().st_size
        self._channels: dict[int, Channel] = {}
        self._schemas: dict[int, Schema] = {}
        self._blocks: list[_Block] = []
        self._counts: Counter[int] = Counter()
        self.warnings: list[BagWarning] = []
        try:
            if self._file.read(len(_MAGIC)) != _MAGIC:
                raise BagError(f"'{path}' is no bag that can be read: it does not start as an mcap file")
            self._scan()
        except BaseException:
            self._file.close()
            raise
        self.start_ns = min((block.start_ns for block in self._blocks), default=0)
        self.end_ns = max((block.end_ns for block in self._blocks), default=0)
        self.topics: dict[str, BagTopic] = {}
        self.definitions: dict[str, MessageDefinition] = {}
        for channel_id, count in self._counts.items():
            channel = self._channels[channel_id]
            schema = self._schemas[channel.schema_id]
            before = self.topics.get(channel.topic)
            count += before.count if before else 0
            self.topics[channel.topic] = BagTopic(channel.topic, schema.name, count, _qos_of(channel))
            form = _FORMATS.get(schema.encoding, MessageDefinitionFormat.NONE)
            self.definitions[channel.topic] = MessageDefinition(form, schema.data.decode("utf-8", "replace"))

    def messages(self, names: Collection[str]) -> Iterator[BagMessage]:
        """Yield the messages of the topics ``names`` in recording order."""
        waiting: list[tuple[int, int, BagMessage]] = []
        number = 0
        for block in sorted(self._blocks):
            # Messages of later blocks are not earlier than the start of this one.
            while waiting and waiting[0][0] <= block.start_ns:
                yield heapq.heappop(waiting)[2]
            self._file.seek(block.offset)
            for channel_id, recorded_ns, data in self._messages_in(self._file.read(block.length), block.is_chunk):
                channel = self._channels[channel_id]
                if channel.topic in names:
                    kind = self._schemas[channel.schema_id].name
                    number += 1
                    heapq.heappush(waiting, (recorded_ns, number, BagMessage(channel.topic, kind, recorded_ns, data)))
        while waiting:
            yield heapq.heappop(waiting)[2]

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _scan(self) -> None:
        """Find all blocks. Stop at the end of the data, or where the file is cut or damaged."""
        offset = len(_MAGIC)
        loose: list[tuple[int, int]] = []
        while True:
            self._file.seek(offset)
            head = self._file.read(_RECORD.size)
            if len(head) < _RECORD.size:
                self._warn(f"is cut short after {offset} bytes", self._size - offset)
                break
            opcode, length = _RECORD.unpack(head)
            # Opcodes from 0x80 on are private, and skipped like unknown ones.
            if not (0 < opcode <= Opcode.DATA_END or opcode >= 0x80):
                self._warn(f"is damaged at byte {offset}", self._size - offset)
                break
            end = offset + _RECORD.size + length
            if opcode == Opcode.DATA_END:
                break
            if end > self._size:
                what = "ends within a chunk" if opcode == Opcode.CHUNK else "ends within a record"
                self._warn(f"is cut short: it {what}", self._size - offset)
                if opcode == Opcode.CHUNK:
                    self._add(offset + _RECORD.size, self._size - offset - _RECORD.size, is_chunk=True)
                break
            if opcode == Opcode.CHUNK:
                self._add(offset + _RECORD.size, length, is_chunk=True)
            elif opcode in (Opcode.SCHEMA, Opcode.CHANNEL):
                try:
                    self._note(opcode, self._file.read(length))
                except Exception as error:
                    self._warn(f"has a damaged definition at byte {offset} ({first_line(error)})", length)
            elif opcode == Opcode.MESSAGE:
                if loose and loose[-1][0] + loose[-1][1] == offset and loose[-1][1] < _BLOCK_BYTES:
                    loose[-1] = (loose[-1][0], end - loose[-1][0])
                else:
                    loose.append((offset, end - offset))
            offset = end
        for start, size in loose:
            self._add(start, size, is_chunk=False)

    def _add(self, offset: int, length: int, *, is_chunk: bool) -> None:
        """Count the messages of a block and remember where it is."""
        self._file.seek(offset)
        counts: Counter[int] = Counter()
        times = []
        try:
            for channel_id, recorded_ns, _ in self._messages_in(self._file.read(length), is_chunk):
                counts[channel_id] += 1
                times.append(recorded_ns)
        except Exception as error:
            self._warn(f"has a damaged chunk at byte {offset} ({first_line(error)})", length)
            return
        if times:
            self._counts += counts
            self._blocks.append(_Block(min(times), max(times), offset, length, is_chunk))

    def _messages_in(self, data: bytes, is_chunk: bool) -> Iterator[tuple[int, int, bytes]]:
        """Yield (channel id, recording time, data) of the whole messages of a block. Note its schemas and channels."""
        records = memoryview(_records_of(data) if is_chunk else data)
        offset = 0
        while offset + _RECORD.size <= len(records):
            opcode, length = _RECORD.unpack_from(records, offset)
            offset += _RECORD.size
            if offset + length > len(records):
                return
            if opcode == Opcode.MESSAGE and length >= _MESSAGE.size:
                channel_id, _, recorded_ns, _ = _MESSAGE.unpack_from(records, offset)
                channel = self._channels.get(channel_id)
                if channel is not None and channel.schema_id in self._schemas:
                    yield channel_id, recorded_ns, bytes(records[offset + _MESSAGE.size : offset + length])
            elif opcode in (Opcode.SCHEMA, Opcode.CHANNEL):
                self._note(opcode, bytes(records[offset : offset + length]))
            offset += length

    def _note(self, opcode: int, body: bytes) -> None:
        stream = ReadDataStream(BytesIO(body))
        if opcode == Opcode.SCHEMA:
            schema = Schema.read(stream)
            self._schemas.setdefault(schema.id, schema)
        else:
            channel = Channel.read(stream)
            self._channels.setdefault(channel.id, channel)

    def _warn(self, what: str, lost_bytes: int) -> None:
        # The number of messages in the lost bytes is unknown.
        self.warnings.append(
            BagWarning(f"file '{self._path.name}' {what}: {lost_bytes} of {self._size} bytes are lost or incomplete")
        )


def has_index(path: Path) -> bool:
    """Return whether an undamaged mcap file has an index of its messages."""
    with path.open("rb") as file:
        try:
            summary = make_reader(file).get_summary()
        except Exception:  # damage that the first message will show
            return True
    return summary is not None and bool(summary.chunk_indexes)


def _records_of(chunk: bytes) -> bytes:
    """Return the decompressed records of the body of a chunk. The end of the chunk may be missing."""
    if len(chunk) < _CHUNK.size:
        return b""
    *_, name_length = _CHUNK.unpack_from(chunk)
    compression = chunk[_CHUNK.size : _CHUNK.size + name_length].decode()
    data = chunk[_CHUNK.size + name_length + 8 :]
    if compression == "zstd":
        return zstandard.ZstdDecompressor().decompressobj().decompress(data)
    if compression == "lz4":
        return bytes(lz4.frame.LZ4FrameDecompressor().decompress(data))
    if compression:
        raise ValueError(f"compressed with {compression}")
    return data


def _qos_of(channel: Channel) -> tuple[Qos, ...]:
    try:
        return tuple(parse_qos(channel.metadata.get("offered_qos_profiles", "")))
    except Exception:  # a damaged profile does not make the messages unreadable
        return ()
