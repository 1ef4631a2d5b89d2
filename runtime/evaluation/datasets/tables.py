"""Read the tables of data sets: CSV files with any usual delimiter, as spreadsheets and other programs write them."""

from __future__ import annotations

import codecs
import csv
import io
import re
from collections.abc import Sequence
from typing import NamedTuple

from orilla.devices.errors import ConfigError, DataError
from orilla.devices.names import readable
from orilla.runtime.evaluation.datasets import tree
from orilla.runtime.evaluation.datasets.options import NO_OPTIONS, ReadOptions

SUFFIXES = (".csv", ".tsv")

DELIMITERS = (",", ";", "\t", "|")
"""Characters that may separate fields. The one that occurs most often in the first line, outside quotes, is used."""

MAX_CHARACTERS = 1 << 24
"""Maximum length of a field in characters."""

TEMPLATE = "submission"
"""Part of the name of a table, such as `sampleSubmission.csv`, that a competition offers for the answers. The classes
and numbers in it are placeholders."""

START_BYTES = 1 << 16
"""Number of bytes at the start of a file that are read to recognise a table."""

ADVICE = "store it as UTF-8, or state its encoding with `encoding`, such as cp1252"


class TableRow(NamedTuple):
    """A row of a table."""

    line: int
    """Number of its last line in the file, counted from 1."""
    fields: list[str]


class Table(NamedTuple):
    """The content of a table."""

    name: str
    """Name of the file, for messages."""
    header: list[str]
    """Names of the columns."""
    rows: list[TableRow]

    def column(self, name: str) -> int | None:
        """Return the index of a column, or None.

        Case is ignored, unless the names of two columns differ only in case.
        """
        found = [index for index, own in enumerate(self.header) if own.strip() == name]
        found = found or [index for index, own in enumerate(self.header) if own.strip().lower() == name.lower()]
        return found[0] if found else None

    def stated(self, option: str, name: str) -> int:
        """Return the index of a column that the user states. Raise `ConfigError` if there is none."""
        index = self.column(name)
        if index is None:
            msg = f"{option}={name}: {self.name} has no such column: its columns are {self.columns()}"
            raise ConfigError(msg)
        return index

    def columns(self) -> str:
        """Return the names of the columns, for messages."""
        return ", ".join(repr(readable(name.strip())[:60]) for name in self.header) or "nothing"


def table_files(folder: tree.Folder) -> list[tree.Folder]:
    """Return the tables in a folder, without templates for answers."""
    return [file for file in tree.files(folder, SUFFIXES) if TEMPLATE not in file.name.lower()]


def read_table(file: tree.Folder, options: ReadOptions = NO_OPTIONS) -> Table:
    """Read a table. Empty lines are omitted.

    Raises:
        DataError: The file is not text, or is not a table.
    """
    name = readable(file.name)
    return _parsed(tree.decode_text(tree.read(file), name, options.encoding, ADVICE), name)


def start_of(file: tree.Folder, options: ReadOptions = NO_OPTIONS) -> Table | None:
    """Return the first rows of a table, or None if the file is not a table."""
    name = readable(file.name)
    try:
        with file.open("rb") as stream:
            data = stream.read(START_BYTES)
        if len(data) == START_BYTES and not data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
            data = data[: data.rfind(b"\n") + 1] or data
        return _parsed(tree.decode_text(data, name, options.encoding or "latin-1"), name)
    except (DataError, OSError, *tree.UNREADABLE):
        return None


def _parsed(text: str, name: str) -> Table:
    first, _, rest = text.partition("\n")
    delimiter = _delimiter(first)
    # Excel may begin a file with a line that states the delimiter.
    if (stated := re.fullmatch(r'"?sep=(.)"?\s*', first)) is not None:
        delimiter, text = stated[1], rest
    csv.field_size_limit(MAX_CHARACTERS)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    try:
        rows = [TableRow(reader.line_num, fields) for fields in reader if any(field.strip() for field in fields)]
    except csv.Error as error:
        msg = f"cannot read {name}, line {reader.line_num}: {error}"
        raise DataError(msg) from error
    if not rows:
        msg = f"{name} is empty"
        raise DataError(msg)
    return Table(name, rows[0].fields, rows[1:])


def _delimiter(line: str) -> str:
    """Return the character between the fields of the first line."""
    bare = re.sub(r'"[^"]*"', "", line)
    return max(DELIMITERS, key=bare.count) if any(mark in bare for mark in DELIMITERS) else ","


def only_numbers(values: Sequence[str]) -> bool:
    """Return True if all values are numbers."""
    try:
        for value in values:
            float(value)
    except ValueError:
        return False
    return True
