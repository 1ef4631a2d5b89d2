"""Write lines of text to files, one per tick. The sinks `jsonl` and `csv` use it."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import msgspec

from orilla.devices.errors import OutputError
from orilla.runtime.sinks.segments import FileOptions, Segments, descriptor_of
from orilla.runtime.sinks.sink import Setup

TAIL = 1 << 20
"""Number of bytes at the end of an existing file that are searched for the start of the last line."""


class LineFiles:
    """Writes whole lines. If the process is killed, only the last line can be incomplete.

    Args:
        target: Name of the files.
        options: Options of the sink.
        setup: Description of the loop.
        header: Function that returns the first line of a new file, with its line break.
    """

    def __init__(
        self, target: str, options: FileOptions, setup: Setup, header: Callable[[], bytes] = lambda: b""
    ) -> None:
        self._segments, self._setup, self._header = Segments(target, options), setup, header
        left = self._segments.left()
        if left is not None:
            repair(left, setup)
        self._open_next()

    def write(self, line: bytes) -> None:
        """Write one line, which includes its line break.

        Raises:
            OutputError: The disk is full, or the file cannot be written. An incomplete line is removed.
        """
        if self._size and self._segments.is_full(self._size):
            self._file.close()
            self._open_next()
        if not self._size:
            line = self._header() + line
        try:
            written = self._file.write(line)
            while written < len(line):
                written += self._file.write(line[written:])
        except OSError as error:
            self._cut(self._size)
            msg = f"cannot write {self._path}: {error.strerror or error}"
            raise OutputError(msg) from error
        self._size += len(line)

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _open_next(self) -> None:
        self._path: Path
        self._file: BinaryIO
        self._path, self._file = self._segments.next()
        self._regular = self._path.is_file() and descriptor_of(self._path) is None
        self._size = self._file.tell() if self._regular else 0

    def _cut(self, size: int) -> None:
        if self._regular:
            os.ftruncate(self._file.fileno(), size)
            self._file.seek(size)
            self._size = size


def repair(path: Path, setup: Setup) -> None:
    """Remove the last line of a file if it is incomplete because a process was killed."""
    with path.open("r+b") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - TAIL))
        partial = file.read().rpartition(b"\n")[2]
        if not partial:
            return
        if _is_document(partial):
            file.write(b"\n")
            return
        file.truncate(size - len(partial))
    setup.report(
        f"removed an incomplete last line of {len(partial)} bytes from {path}, left behind by a killed process"
    )


def _is_document(line: bytes) -> bool:
    """Return True if a line is a complete JSON document that lacks only its line break."""
    try:
        return isinstance(msgspec.json.decode(line), dict)
    except msgspec.DecodeError:
        return False
