"""Sink that writes one row per tick to CSV files, for spreadsheets and data frames."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping

from orilla.runtime.frame import Tick
from orilla.runtime.sinks.lines import LineFiles
from orilla.runtime.sinks.segments import FileOptions
from orilla.runtime.sinks.sink import Setup, Sink

NEEDS_TARGET = True


class Options(FileOptions, frozen=True, kw_only=True):
    """The options of the sink."""


class CsvFiles(Sink):
    """Writes one row per tick. The first tick determines the columns.

    Nested values of the JSON document become columns such as `result.label`. A list is written as JSON. In later ticks,
    a value without a column is omitted, and a column without a value stays empty.
    """

    def __init__(self, target: str, options: Options, setup: Setup) -> None:
        self._columns: list[str] = []
        self._files = LineFiles(target, options, setup, lambda: _row(self._columns))

    def write(self, tick: Tick) -> bool:
        """Write one tick as a row."""
        values = dict(_flat(tick.to_dict()))
        self._columns = self._columns or list(values)
        self._files.write(_row([values.get(column, "") for column in self._columns]))
        return True

    def close(self) -> None:
        """Close the file."""
        self._files.close()


def _flat(document: Mapping[str, object], prefix: str = "") -> Iterator[tuple[str, object]]:
    """Yield each value of a JSON document with its name, such as `result.label`."""
    for name, value in document.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
        elif isinstance(value, list):
            import json

            yield f"{prefix}{name}", json.dumps(value)
        else:
            yield f"{prefix}{name}", value


def _row(values: list[object] | list[str]) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(values)
    return text.getvalue().encode()


def open_sink(target: str, options: Options, setup: Setup) -> CsvFiles:
    """Open the sink, which writes the files named by `target`."""
    return CsvFiles(target, options, setup)
