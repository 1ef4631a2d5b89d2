"""Finish MCAP files whose end is missing because the process was killed.

The layout of the records is described at <https://mcap.dev/spec>.
"""

from __future__ import annotations

import fcntl
import os
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from mcap.data_stream import ReadDataStream, RecordBuilder
from mcap.opcode import Opcode
from mcap.records import Channel, Chunk, ChunkIndex, DataEnd, Footer, Message, MessageIndex, Schema, Statistics
from mcap.stream_reader import get_chunk_data_stream

MAGIC = b"\x89MCAP0\r\n"

RECORD_BYTES = 9
"""Number of bytes before the content of a record, which state its kind and the length of its content."""


@dataclass
class _Content:
    """Contents of the complete chunks of a file, which the index must list."""

    end: int = 0
    """Offset in bytes of the end of the last complete record."""
    schemas: dict[int, Schema] = field(default_factory=dict)
    channels: dict[int, Channel] = field(default_factory=dict)
    chunks: list[ChunkIndex] = field(default_factory=list)
    counts: Counter[int] = field(default_factory=Counter)
    """Number of messages of each channel. The keys are the channel numbers."""
    last_index: dict[int, MessageIndex] = field(default_factory=dict)
    """Times and offsets of the messages in the last chunk. The keys are the channel numbers."""


def finish_file(path: Path) -> int | None:
    """Remove an incomplete record at the end of a file, and write the index.

    Return the number of removed bytes. Return None if the file is left unchanged, because it is complete, because
    another program is writing it, or because it is not an MCAP file.

    Raises:
        OSError: The file cannot be read or written.
    """
    with path.open("r+b") as file:
        size = os.fstat(file.fileno()).st_size
        file.seek(max(0, size - len(MAGIC)))
        if size <= 2 * len(MAGIC) or file.read() == MAGIC:
            return None
        file.seek(0)
        if file.read(len(MAGIC)) != MAGIC or not _locked(file):
            return None
        times_ns = (os.fstat(file.fileno()).st_atime_ns, os.fstat(file.fileno()).st_mtime_ns)
        content = _scan(file, size)
        removed = size - content.end
        end = _end(content)
        file.truncate(content.end)
        file.seek(content.end)
        file.write(end)
        file.flush()
        os.utime(path, ns=times_ns)  # Restore the time of the file, because the sink deletes the oldest files first.
    return removed


def _locked(file: BinaryIO) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # Some network file systems have no locks.
        pass
    return True


def _scan(file: BinaryIO, size: int) -> _Content:
    """Read the records of a file up to the first one that is incomplete, damaged, or part of the end."""
    content = _Content(end=len(MAGIC))
    while content.end + RECORD_BYTES <= size:
        file.seek(content.end)
        start = file.read(RECORD_BYTES)
        length = int.from_bytes(start[1:], "little")
        behind = content.end + RECORD_BYTES + length
        if behind > size or start[0] not in (Opcode.HEADER, Opcode.CHUNK, Opcode.MESSAGE_INDEX):
            break
        if start[0] == Opcode.CHUNK:
            try:
                _add_chunk(content, Chunk.read(ReadDataStream(file)), RECORD_BYTES + length)
            except Exception:  # noqa: BLE001 - each decoder has errors of its own
                break
        elif start[0] == Opcode.MESSAGE_INDEX and content.chunks:
            index = MessageIndex.read(ReadDataStream(file))
            content.chunks[-1].message_index_offsets[index.channel_id] = content.end
            content.chunks[-1].message_index_length += RECORD_BYTES + length
        content.end = behind
    return content


def _add_chunk(content: _Content, chunk: Chunk, length: int) -> None:
    """Add a chunk that begins at `content.end`. Raise an error if its data is damaged."""
    stream, size = get_chunk_data_stream(chunk, validate_crc=True)
    content.last_index = {}
    while stream.count < size:
        at = stream.count
        kind, record_length = stream.read1(), stream.read8()
        if kind == Opcode.SCHEMA:
            schema = Schema.read(stream)
            content.schemas[schema.id] = schema
        elif kind == Opcode.CHANNEL:
            channel = Channel.read(stream)
            content.channels[channel.id] = channel
        elif kind == Opcode.MESSAGE:
            message = Message.read(stream, record_length)
            content.counts[message.channel_id] += 1
            index = content.last_index.setdefault(message.channel_id, MessageIndex(message.channel_id, []))
            index.records.append((message.log_time, at))
        else:
            stream.read(record_length)
    content.chunks.append(
        ChunkIndex(
            chunk_length=length,
            chunk_start_offset=content.end,
            compression=chunk.compression,
            compressed_size=len(chunk.data),
            message_end_time=chunk.message_end_time,
            message_index_length=0,
            message_index_offsets={},
            message_start_time=chunk.message_start_time,
            uncompressed_size=chunk.uncompressed_size,
        )
    )


def _end(content: _Content) -> bytes:
    """Return the bytes that complete a file: missing message indices of the last chunk, the index and the footer.

    If message indices are missing, `content.end` becomes the end of the last chunk.
    """
    builder = RecordBuilder()
    last = content.chunks[-1] if content.chunks else None
    if last is not None and set(last.message_index_offsets) != set(content.last_index):
        content.end = last.chunk_start_offset + last.chunk_length
        for index in content.last_index.values():
            last.message_index_offsets[index.channel_id] = content.end + builder.count
            index.write(builder)
        last.message_index_length = builder.count
    DataEnd(data_section_crc=0).write(builder)
    start = content.end + builder.count
    statistics = Statistics(
        attachment_count=0,
        channel_count=len(content.channels),
        channel_message_counts=dict(content.counts),
        chunk_count=len(content.chunks),
        message_count=content.counts.total(),
        message_end_time=max((chunk.message_end_time for chunk in content.chunks), default=0),
        message_start_time=min((chunk.message_start_time for chunk in content.chunks), default=0),
        metadata_count=0,
        schema_count=len(content.schemas),
    )
    for record in (*content.schemas.values(), *content.channels.values(), statistics, *content.chunks):
        record.write(builder)
    Footer(summary_start=start, summary_offset_start=0, summary_crc=0).write(builder)
    return bytes(builder.end()) + MAGIC  # type: ignore[no-untyped-call]
