"""The sink `tally`: a CSV table with the number of objects in each frame."""

from __future__ import annotations

from orilla.devices.errors import ConfigError
from orilla.runtime.frame import Tick
from orilla.runtime.sinks.lines import LineFiles
from orilla.runtime.sinks.segments import FileOptions
from orilla.runtime.sinks.sink import Setup, Sink
from orilla_count.task import Count

NEEDS_TARGET = True


class Options(FileOptions, frozen=True, kw_only=True):
    """The options of the sink, such as `append` and `overwrite`."""


class Tally(Sink):
    """Writes one row per tick."""

    def __init__(self, files: LineFiles) -> None:
        self._files = files

    def write(self, tick: Tick) -> bool:
        """Write one row. Return True, because the loop continues."""
        if not isinstance(tick.result, Count):
            msg = "the sink `tally` counts the objects of a bundle with task=count: use another sink for this bundle"
            raise ConfigError(msg)
        self._files.write(f"{tick.index},{tick.result.count}\n".encode())
        return True

    def close(self) -> None:
        """Close the file."""
        self._files.close()


def open_sink(target: str, options: Options, setup: Setup) -> Tally:
    """Open the file `target`."""
    return Tally(LineFiles(target, options, setup, header=lambda: b"index,count\n"))
