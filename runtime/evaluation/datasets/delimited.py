"""Parse delimited text: CSV with any usual delimiter, as spreadsheets and other programs write it."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Sequence
from itertools import islice
from typing import Literal, NamedTuple

from orilla.devices.errors import ConfigError, DataError
from orilla.devices.names import readable, whole_number

DELIMITERS = ("\t", ";", "|", ",")
"""Characters that may separate fields. The reader uses a character that occurs equally often in each of the first
lines, outside quotes. If there is none, it uses the character that occurs most often in the first line."""

COMPARED = 20
"""Number of lines that are compared to find the delimiter."""

MAX_CHARACTERS = 1 << 24
"""Maximum length of a field in characters."""

QUOTED = re.compile(r'"[^"]*"')
"""Pattern of a quoted field."""


class TableRow(NamedTuple):
    """A row of a table."""

    line: int
    """Number of the row's last line in the file, counted from 1."""
    fields: list[str]


class Table(NamedTuple):
    """The content of a table."""

    name: str
    """Name of the file, for messages."""
    header: list[str]
    """Names of the columns."""
    rows: list[TableRow]

    def with_header(self, header: list[str]) -> Table:
        """Return the table with these column names. Its previous header becomes its first row."""
        return Table(self.name, header, [TableRow(1, self.header), *self.rows])

    def without_first_column(self) -> Table:
        """Return the table without its first column."""
        return Table(self.name, self.header[1:], [TableRow(row.line, row.fields[1:]) for row in self.rows])

    def column(self, name: str) -> int | None:
        """Return the index of a column, or None.

        Case is ignored, unless the names of two columns differ only in case.
        """
        found = [index for index, own in enumerate(self.header) if own.strip() == name]
        found = found or [index for index, own in enumerate(self.header) if own.strip().lower() == name.lower()]
        return found[0] if found else None

    def stated(self, option: str, name: str) -> int:
        """Return the index of the column that the user states. Raise `ConfigError` if the table does not have it."""
        index = self.column(name)
        if index is None:
            msg = f"{option}={name}: {self.name} has no such column: its columns are {self.columns()}"
            raise ConfigError(msg)
        return index

    def columns(self) -> str:
        """Return the names of the columns, for messages."""
        return ", ".join(repr(readable(name.strip())[:60]) for name in self.header) or "nothing"


def parse_table(text: str, name: str, delimiters: Sequence[str] = DELIMITERS) -> Table:
    """Parse a table. The first line is the header. Empty lines are omitted.

    Args:
        text: Content of the file.
        name: Name of the file, for messages.
        delimiters: Characters that may separate fields.

    Raises:
        DataError: The text is not a table, or is empty.
    """
    first, _, rest = text.partition("\n")
    if whole_number(first.strip()) and (counted := _counted(rest)):
        return Table(name, counted[0].fields, counted[1:])
    delimiter = _delimiter(text, delimiters)
    # Excel may begin a file with a line that states the delimiter.
    if (stated := re.fullmatch(r'"?sep=(.)"?\s*', first)) is not None:
        delimiter, text = stated[1], rest
    rows = _rows(text, name, delimiter, csv.QUOTE_MINIMAL)
    if delimiter == "\t" and '"' in text:
        # Many tab-separated files contain quotes as ordinary characters. Parsing them as quotes would join lines.
        unquoted = _rows(text, name, delimiter, csv.QUOTE_NONE)
        if len(unquoted) > len(rows) and len({len(row.fields) for row in unquoted}) == 1:
            rows = unquoted
    if not rows:
        msg = f"{name} is empty"
        raise DataError(msg)
    return Table(name, rows[0].fields, rows[1:])


def _counted(text: str) -> list[TableRow]:
    """Return the rows of a CelebA table, with the header first, or an empty list for any other table.

    Spaces separate the fields. The first line, which is not part of `text`, states the number of images. The header
    does not name the column of images.
    """
    lines = [(number, line.split()) for number, line in enumerate(text.split("\n"), start=2) if line.strip()]
    if len(lines) < 2 or len(lines[1][1]) != len(lines[0][1]) + 1:
        return []
    return [TableRow(2, ["image", *lines[0][1]]), *(TableRow(number, fields) for number, fields in lines[1:])]


def _rows(text: str, name: str, delimiter: str, quoting: Literal[0, 3]) -> list[TableRow]:
    csv.field_size_limit(MAX_CHARACTERS)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, quoting=quoting)
    try:
        return [TableRow(reader.line_num, fields) for fields in reader if any(field.strip() for field in fields)]
    except csv.Error as error:
        msg = f"cannot read {name}, line {reader.line_num}: {error}"
        raise DataError(msg) from error


def _delimiter(text: str, delimiters: Sequence[str]) -> str:
    """Return the delimiter."""
    lines = [line for line in islice(io.StringIO(text), COMPARED) if line.strip()]
    counts = [{mark: bare.count(mark) for mark in delimiters} for line in lines if (bare := QUOTED.sub("", line))]
    first = counts[0] if counts else {}
    steady = [mark for mark in first if first[mark] and all(count[mark] == first[mark] for count in counts)]
    return max(steady or (first if any(first.values()) else delimiters[-1:]), key=lambda mark: first.get(mark, 0))


def only_numbers(values: Sequence[str]) -> bool:
    """Return True if all values are numbers."""
    try:
        for value in values:
            float(value)
    except ValueError:
        return False
    return True


def by_number(label: str) -> tuple[int, str]:
    """Return the sort key of a class: numbers in ascending order, before names in alphabetical order."""
    return (int(label), "") if whole_number(label.removeprefix("-")) else (1 << 40, label)


def whole_name(label: str) -> str:
    """Return the name of a class: `3` for `3.0`, which programs write if some rows have no class."""
    whole, point, zeros = label.partition(".")
    return whole if point and zeros and not zeros.strip("0") and whole_number(whole.removeprefix("-")) else label
