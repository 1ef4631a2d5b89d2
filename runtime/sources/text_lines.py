"""Sources of texts: the lines of a file or of standard input, or strings from the caller."""

from __future__ import annotations

import codecs
import os
import select
import sys
from collections import deque
from collections.abc import Callable, Iterable
from pathlib import Path

from orilla.devices.errors import SourceError, neighbour
from orilla.devices.text_files import MARK, MARKS
from orilla.runtime.frame import Event, Line
from orilla.runtime.sources.source import SLICE_S, now_ns

MAX_LINE_BYTES = 1 << 20
"""Maximum length of a line in bytes."""

CHUNK_BYTES = 1 << 16
"""Number of bytes that are read at a time."""


class Lines:
    """Delivers one text per line. Blank lines are skipped.

    Args:
        name: Name of the source in messages.
        chunk: Function that returns the next bytes, None if there are none yet, or an empty `bytes` at the end.
        close: Function that releases the file.
    """

    live = False
    rate_hz: float | None = None

    def __init__(self, name: str, chunk: Callable[[], bytes | None], close: Callable[[], None]) -> None:
        self._name, self._chunk, self._close = name, chunk, close
        self._buffer = b""
        self._lines: deque[bytes] = deque()
        self._decoder: codecs.IncrementalDecoder | None = None
        self._is_begun = self._ended = False
        self._index = self._line = 0

    @classmethod
    def open(cls, spec: str) -> Lines:
        """Open a file, or standard input if `spec` is `-`. Raise `SourceError` if there is no such file."""
        if spec == "-":
            return cls("standard input", _standard_input, lambda: None)
        path = Path(spec)
        try:
            if path.is_dir():
                msg = f"{path} is a folder: a text model reads a text file, or `-` for standard input"
                raise SourceError(msg)
            file = path.open("rb")
        except FileNotFoundError as error:
            msg = f"no such file: {path}{neighbour(path)}; a text model reads a text file, or `-` for standard input"
            raise SourceError(msg) from error
        return cls(str(path), lambda: file.read(CHUNK_BYTES), file.close)

    def read(self) -> Line | Event | None:
        """Return the next text or an event, or None at the end.

        Raises:
            SourceError: The text is not in the encoding that its byte order mark states, or in UTF-8 if there is no
                mark, or a line is too long.
        """
        while (data := self._next()) is not None:
            self._line += 1
            name = f"{self._name} line {self._line}"
            try:
                text = data.decode().lstrip(MARK).strip()
            except UnicodeDecodeError as error:
                odd = f"byte {error.start + 1} is 0x{data[error.start]:02X}"
                msg = f"{name} is not UTF-8 ({odd}): convert the file to UTF-8"
                raise SourceError(msg) from error
            if "\0" in text:
                msg = f"{name} contains a NUL character: the file is not text, or UTF-16 without a byte order mark"
                raise SourceError(msg)
            if text:
                line = Line(self._index, text, now_ns())
                self._index += 1
                return line
        return None if self._ended else Event("waiting", self._index, now_ns(), "there is no new line yet")

    def close(self) -> None:
        """Release the source."""
        self._close()

    def _next(self) -> bytes | None:
        """Return the next line, or None at the end and while no complete line is available."""
        if self._lines:
            return self._lines.popleft()
        while not (self._is_begun and b"\n" in self._buffer) and not self._ended:
            self._check_length(self._buffer)
            data = self._chunk()
            if data is None:
                return None
            self._ended = not data
            self._add(data)
        if not self._buffer:
            return None
        data, _, self._buffer = self._buffer.partition(b"\n")
        # Some programs end lines with a carriage return, alone or in front of the line feed.
        self._lines.extend(data.removesuffix(b"\r").split(b"\r"))
        for line in self._lines:
            self._check_length(line)
        return self._lines.popleft()

    def _add(self, data: bytes) -> None:
        """Append bytes to the buffer, as UTF-8. The byte order mark at the start may state a different encoding."""
        if not self._is_begun:
            self._buffer += data
            if not self._ended and any(mark.startswith(self._buffer) for mark, _ in MARKS):
                return
            self._is_begun, data, self._buffer = True, self._buffer, b""
            mark, kind = next(((mark, kind) for mark, kind in MARKS if data.startswith(mark)), (b"", "utf-8"))
            self._decoder = None if kind == "utf-8" else codecs.getincrementaldecoder(kind)()
            data = data[len(mark) :]
        if self._decoder is None:
            self._buffer += data
            return
        try:
            self._buffer += self._decoder.decode(data, final=self._ended).encode()
        except UnicodeError as error:
            msg = f"{self._name} is damaged: its byte order mark states an encoding in which it is invalid ({error})"
            raise SourceError(msg) from error

    def _check_length(self, line: bytes) -> None:
        """Raise `SourceError` if a line is too long."""
        if len(line) > MAX_LINE_BYTES:
            msg = f"{self._name} line {self._line + 1} has more than {MAX_LINE_BYTES} bytes: shorten it"
            raise SourceError(msg)


class Texts:
    """Delivers the strings of a list or a generator. Other values are reported as corrupt and skipped."""

    live = False
    rate_hz: float | None = None

    def __init__(self, texts: Iterable[object]) -> None:
        self._texts = iter(texts)
        self._index = 0

    def read(self) -> Line | Event | None:
        """Return the next text or an event, or None at the end."""
        try:
            text = next(self._texts)
        except StopIteration:
            return None
        index, self._index = self._index, self._index + 1
        if not isinstance(text, str):
            return Event(
                "corrupt", index, now_ns(), f"text {index} is skipped: expected a string, got {type(text).__name__}"
            )
        return Line(index, text, now_ns())

    def close(self) -> None:
        """Release the source."""
        self._texts = iter(())


def _standard_input() -> bytes | None:
    """Wait for standard input, and return the available bytes.

    The wait is at most `SLICE_S`, because it blocks the end of the loop.
    """
    try:
        number = sys.stdin.fileno()
    except (OSError, ValueError):  # The program may have replaced standard input with its own stream.
        return sys.stdin.buffer.read(CHUNK_BYTES)
    ready, _, _ = select.select([number], [], [], SLICE_S)
    return os.read(number, CHUNK_BYTES) if ready else None
