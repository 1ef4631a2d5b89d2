"""Texts, one a line, from a file or from standard input."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import BinaryIO

from orilla.devices.errors import SourceError
from orilla.runtime.frame import Line
from orilla.runtime.sources.source import now_ns

LONGEST = 1 << 20
"""Bytes of a line."""


class Lines:
    """One text for each line that isn't blank."""

    live = False
    rate_hz: float | None = None

    def __init__(self, name: str, stream: BinaryIO) -> None:
        self._name, self._stream = name, stream
        self._index = self._line = 0

    @classmethod
    def open(cls, spec: str) -> Lines:
        """Opens `-`, standard input, or a file; raises `SourceError`."""
        if spec == "-":
            return cls("standard input", sys.stdin.buffer)
        path = Path(spec)
        try:
            if path.is_dir():
                raise SourceError(f"{path} is a folder: a text model reads a text file, or - for standard input")
            return cls(str(path), path.open("rb"))
        except FileNotFoundError as error:
            raise SourceError(
                f"no such file: {path}; a text model reads a text file, or - for standard input"
            ) from error

    def read(self) -> Line | None:
        while True:
            data = self._stream.readline(LONGEST + 1)
            if not data:
                return None
            self._line += 1
            if len(data) > LONGEST:
                raise SourceError(f"{self._name} line {self._line} has more than {LONGEST} bytes: cut it")
            try:
                text = data.decode("utf-8-sig" if self._line == 1 else "utf-8").strip()
            except UnicodeDecodeError as error:
                raise SourceError(f"{self._name} line {self._line} is not UTF-8: store it as UTF-8") from error
            if text:
                line = Line(self._index, text, now_ns())
                self._index += 1
                return line

    def close(self) -> None:
        if self._stream is not sys.stdin.buffer:
            self._stream.close()
