"""Sink that writes one JSON document per tick to standard output or to a file."""

from __future__ import annotations

import sys
from contextlib import ExitStack
from pathlib import Path
from typing import BinaryIO

import msgspec

from orilla.devices.errors import OutputError
from orilla.runtime.files import close_files, replacing
from orilla.runtime.frame import Tick
from orilla.runtime.stdio import drop_stdout

NEEDS_ARGUMENT = False


class JsonLines:
    """Writes one line per tick, and flushes it so that a reader sees each answer immediately."""

    def __init__(self, name: str, stream: BinaryIO, files: ExitStack) -> None:
        self._name = name
        self._stream = stream
        self._files = files
        self._encoder = msgspec.json.Encoder()

    def write(self, tick: Tick) -> bool:
        """Write one tick as a JSON line."""
        try:
            self._stream.write(self._encoder.encode(tick.to_dict()) + b"\n")
            self._stream.flush()
        except BrokenPipeError:
            raise
        except OSError as error:
            if self._stream is sys.stdout.buffer:
                drop_stdout()
            msg = f"cannot write {self._name}: {error.strerror or error}"
            raise OutputError(msg) from error
        return True

    def close(self, *, complete: bool) -> None:
        """Finish the output, or discard it if `complete` is False."""
        close_files(self._files, complete=complete)


def open_sink(argument: str, rate_hz: float | None, *, live: bool = False) -> JsonLines:
    """Open the sink on the file `argument`, or on standard output if `argument` is empty."""
    del rate_hz, live
    files = ExitStack()
    if not argument:
        return JsonLines("standard output", sys.stdout.buffer, files)
    temporary = files.enter_context(replacing(Path(argument)))
    return JsonLines(argument, files.enter_context(temporary.open("wb")), files)
