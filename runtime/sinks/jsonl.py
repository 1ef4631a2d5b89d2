"""Sink that writes one JSON document per tick to standard output or to files."""

from __future__ import annotations

import sys

import msgspec

from orilla.devices.errors import ConfigError, OutputError
from orilla.runtime.frame import Tick
from orilla.runtime.sinks.lines import LineFiles
from orilla.runtime.sinks.segments import FileOptions
from orilla.runtime.sinks.sink import Setup, Sink
from orilla.runtime.stdio import drop_stdout

NEEDS_TARGET = False


class Options(FileOptions, frozen=True, kw_only=True):
    """The options of the sink."""


class JsonLines(Sink):
    """Writes one line per tick to files. A reader sees each line immediately."""

    def __init__(self, files: LineFiles) -> None:
        self._files = files
        self._encoder = msgspec.json.Encoder()

    def write(self, tick: Tick) -> bool:
        """Write one tick as a JSON line."""
        self._files.write(self._encoder.encode(tick.to_dict()) + b"\n")
        return True

    def close(self) -> None:
        """Close the file."""
        self._files.close()


class JsonOutput(Sink):
    """Writes one line per tick to standard output, and flushes it so that a reader sees each answer immediately."""

    def __init__(self) -> None:
        self._encoder = msgspec.json.Encoder()

    def write(self, tick: Tick) -> bool:
        """Write one tick as a JSON line. Return False if the program that reads standard output has ended."""
        try:
            sys.stdout.buffer.write(self._encoder.encode(tick.to_dict()) + b"\n")
            sys.stdout.buffer.flush()
        except BrokenPipeError:
            drop_stdout()
            return False
        except OSError as error:
            drop_stdout()
            msg = f"cannot write standard output: {error.strerror or error}"
            raise OutputError(msg) from error
        return True

    def close(self) -> None:
        """Do nothing, because standard output stays open."""


def open_sink(target: str, options: Options, setup: Setup) -> Sink:
    """Open the sink on the files that `target` names, or on standard output if it is empty."""
    if target:
        return JsonLines(LineFiles(target, options, setup))
    if options != Options():
        msg = "sink `jsonl`: its options require a file, as in jsonl:out.jsonl?append"
        raise ConfigError(msg)
    return JsonOutput()
