"""Sink that writes one JSON document per tick to standard output or to files."""

from __future__ import annotations

import msgspec

from orilla.devices.errors import ConfigError
from orilla.runtime.frame import Tick
from orilla.runtime.sinks.lines import LineFiles
from orilla.runtime.sinks.segments import FileOptions
from orilla.runtime.sinks.sink import Setup, Sink
from orilla.runtime.sinks.standard_output import StandardOutput

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


def open_sink(target: str, options: Options, setup: Setup) -> Sink:
    """Open the sink, which writes to the files named by `target`, or to standard output if `target` is empty."""
    if target:
        return JsonLines(LineFiles(target, options, setup))
    if options != Options():
        msg = "sink `jsonl`: its options require a file, as in jsonl:out.jsonl?append"
        raise ConfigError(msg)
    encoder = msgspec.json.Encoder()
    return StandardOutput(lambda tick: encoder.encode(tick.to_dict()))
