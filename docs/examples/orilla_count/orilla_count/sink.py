"""The sink `tally`: a CSV table with the number of objects in each frame."""

from __future__ import annotations

import csv
from contextlib import ExitStack
from pathlib import Path
from typing import TextIO

from orilla.devices.errors import ConfigError, OutputError
from orilla.runtime.files import close_files, replacing
from orilla.runtime.frame import Tick
from orilla_count.task import Count

NEEDS_ARGUMENT = True


class Tally:
    """A table in a temporary file, which gets its name when the loop has ended."""

    def __init__(self, name: str, stream: TextIO, files: ExitStack) -> None:
        self._name, self._rows, self._files = name, csv.writer(stream), files
        self._rows.writerow(["index", "count"])

    def write(self, tick: Tick) -> bool:
        """Write one row. Return True, because the loop continues."""
        if not isinstance(tick.result, Count):
            msg = "the sink `tally` counts the objects of a bundle with task=count: use another sink for this bundle"
            raise ConfigError(msg)
        try:
            self._rows.writerow([tick.index, tick.result.count])
        except OSError as error:
            msg = f"cannot write {self._name}: {error.strerror or error}"
            raise OutputError(msg) from error
        return True

    def close(self, *, complete: bool) -> None:
        """Finish the file, or discard it if `complete` is False."""
        close_files(self._files, complete=complete)


def open_sink(argument: str, rate_hz: float | None, *, live: bool = False) -> Tally:
    """Open the file `argument`."""
    del rate_hz, live
    files = ExitStack()
    temporary = files.enter_context(replacing(Path(argument)))
    return Tally(argument, files.enter_context(temporary.open("w", newline="")), files)
