"""MCAP files of the sink `mcap`, which stay readable if the process is killed."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import BinaryIO

from mcap.writer import CompressionType, Writer

from orilla.devices.errors import OutputError
from orilla.runtime.sinks.ros_messages import Encoded, RosMessages

CHUNK_S = 1.0
"""Time in seconds after which a chunk is written to the file. A killed process loses only the last chunk."""

CHUNK_BYTES = 4 << 20
"""Number of bytes after which a chunk ends, even before `CHUNK_S` has passed."""

COMPRESSIONS = {"zstd": CompressionType.ZSTD, "lz4": CompressionType.LZ4, "none": CompressionType.NONE}


class McapFile:
    """One MCAP file of ROS 2 messages.

    Args:
        path: Name of the file.
        file: The open, empty and unbuffered file.
        compression: Key of `COMPRESSIONS`.

    Raises:
        OutputError: The start of the file cannot be written.
    """

    def __init__(self, path: Path, file: BinaryIO, compression: str) -> None:
        self._path, self._output = path, _WholeWrites(file)
        self._writer = Writer(self._output, chunk_size=sys.maxsize, compression=COMPRESSIONS[compression])  # type: ignore[arg-type]
        self._schemas: dict[str, int] = {}
        self._channels: dict[str, int] = {}
        self._sequence: dict[str, int] = {}
        self._written_s = time.monotonic()
        self._waiting = 0
        self._failed = False
        self._writer.start(profile="ros2")
        self._flush()

    @property
    def size(self) -> int:
        """Return the number of bytes written so far, including the current chunk, which is not compressed yet."""
        return self._output.tell() + self._waiting

    def write(self, message: Encoded, messages: RosMessages) -> None:
        """Add a message to the current chunk. `messages` knows the definition of its type."""
        if message.topic not in self._channels:
            if message.kind not in self._schemas:
                definition = messages.definition(message.kind).encode()
                self._schemas[message.kind] = self._writer.register_schema(message.kind, "ros2msg", definition)
            schema = self._schemas[message.kind]
            metadata = {"offered_qos_profiles": ""}
            self._channels[message.topic] = self._writer.register_channel(message.topic, "cdr", schema, metadata)
        number = self._sequence[message.topic] = self._sequence.get(message.topic, 0) + 1
        self._writer.add_message(self._channels[message.topic], message.at_ns, message.data, message.at_ns, number)
        self._waiting += len(message.data)

    def is_due(self) -> bool:
        """Return True if the current chunk must be written."""
        return self._waiting >= CHUNK_BYTES or time.monotonic() - self._written_s >= CHUNK_S

    def end_chunk(self) -> None:
        """Write the current chunk into the file.

        Raises:
            OutputError: The disk is full, or the file cannot be written. The file then ends with the last chunk.
        """
        self._writer.flush()  # type: ignore[no-untyped-call]
        self._flush()

    def close(self) -> None:
        """Write the index at the end of the file, and close it.

        Raises:
            OutputError: The end of the file cannot be written.
        """
        try:
            if not self._failed:
                self.end_chunk()
                self._writer.finish()  # type: ignore[no-untyped-call]
                self._flush()
        finally:
            self._output.file.close()

    def _flush(self) -> None:
        self._written_s, self._waiting = time.monotonic(), 0
        try:
            self._output.write_out()
        except OSError as error:
            self._failed = True
            msg = f"cannot write {self._path}: {error.strerror or error}"
            raise OutputError(msg) from error


class _WholeWrites:
    """Buffer that writes its content to a file either completely or not at all."""

    def __init__(self, file: BinaryIO) -> None:
        self.file = file
        self._waiting = bytearray()
        self._written = 0

    def write(self, data: bytes) -> int:
        """Append bytes to the buffer."""
        self._waiting += data
        return len(data)

    def tell(self) -> int:
        """Return the total number of bytes in the file and in the buffer."""
        return self._written + len(self._waiting)

    def flush(self) -> None:
        """Do nothing. The library calls this method, but only `write_out` writes to the file."""

    def write_out(self) -> None:
        """Write the buffer to the file. If this fails, restore the file's former size and raise `OSError`."""
        data, self._waiting = memoryview(self._waiting), bytearray()
        done = 0
        try:
            while done < len(data):
                done += self.file.write(data[done:])
        except OSError:
            if Path(f"/proc/self/fd/{self.file.fileno()}").is_file():
                os.ftruncate(self.file.fileno(), self._written)
            raise
        self._written += done
