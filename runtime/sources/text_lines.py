"""Texts, one a line, from a file or from standard input; or those that the caller has."""

from __future__ import annotations

import os
import select
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

from orilla.devices.errors import SourceError
from orilla.runtime.frame import Event, Line
from orilla.runtime.sources.source import SLICE_S, now_ns

LONGEST = 1 << 20
"""Bytes of a line."""

CHUNK = 1 << 16


class Lines:
    """One text for each line that isn't blank.

    Args:
        name: in messages.
        chunk: the next bytes; none at the end, None where there are none yet.
        close: frees what is read.
    """

    live = False
    rate_hz: float | None = None

    def __init__(self, name: str, chunk: Callable[[], bytes | None], close: Callable[[], None]) -> None:
        self._name, self._chunk, self._close = name, chunk, close
        self._buffer = b""
        self._ended = False
        self._index = self._line = 0

    @classmethod
    def open(cls, spec: str) -> Lines:
        """Opens `-`, standard input, or a file; raises `SourceError`."""
        if spec == "-":
            return cls("standard input", _standard_input, lambda: None)
        path = Path(spec)
        try:
            if path.is_dir():
                msg = f"{path} is a folder: a text model reads a text file, or - for standard input"
                raise SourceError(msg)
            file = path.open("rb")
        except FileNotFoundError as error:
            msg = f"no such file: {path}; a text model reads a text file, or - for standard input"
            raise SourceError(msg) from error
        return cls(str(path), lambda: file.read(CHUNK), file.close)

    def read(self) -> Line | Event | None:
        while (data := self._next()) is not None:
            self._line += 1
            try:
                text = data.decode("utf-8-sig" if self._line == 1 else "utf-8").strip()
            except UnicodeDecodeError as error:
                msg = f"{self._name} line {self._line} is not UTF-8: store it as UTF-8"
                raise SourceError(msg) from error
            if text:
                line = Line(self._index, text, now_ns())
                self._index += 1
                return line
        return None if self._ended else Event("waiting", self._index, now_ns(), "no line yet")

    def close(self) -> None:
        self._close()

    def _next(self) -> bytes | None:
        """The next line; None where none is there yet, or at the end."""
        while b"\n" not in self._buffer and not self._ended:
            if len(self._buffer) > LONGEST:
                msg = f"{self._name} line {self._line + 1} has more than {LONGEST} bytes: cut it"
                raise SourceError(msg)
            found = self._chunk()
            if found is None:
                return None
            self._ended = not found
            self._buffer += found
        if not self._buffer:
            return None
        data, _, self._buffer = self._buffer.partition(b"\n")
        if len(data) > LONGEST:
            msg = f"{self._name} line {self._line + 1} has more than {LONGEST} bytes: cut it"
            raise SourceError(msg)
        return data


class Texts:
    """Texts that the caller has: a list, or a generator that makes one after the other."""

    live = False
    rate_hz: float | None = None

    def __init__(self, texts: Iterable[object]) -> None:
        self._texts = iter(texts)
        self._index = 0

    def read(self) -> Line | Event | None:
        try:
            text = next(self._texts)
        except StopIteration:
            return None
        index, self._index = self._index, self._index + 1
        if not isinstance(text, str):
            return Event("corrupt", index, now_ns(), f"text {index} is passed over: it is {type(text).__name__}")
        return Line(index, text, now_ns())

    def close(self) -> None:
        self._texts = iter(())


def _standard_input() -> bytes | None:
    """What has come; a thread that waits in a read of it could not be ended."""
    try:
        number = sys.stdin.fileno()
    except (OSError, ValueError):  # a program has put a stream of its own in its place
        return sys.stdin.buffer.read(CHUNK)
    ready, _, _ = select.select([number], [], [], SLICE_S)
    return os.read(number, CHUNK) if ready else None
