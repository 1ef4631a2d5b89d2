"""Check that the first line of a table names its columns, and name the columns of a table without such a line."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from orilla.devices.errors import ConfigError, DataError
from orilla.devices.names import readable, whole_number
from orilla.runtime.evaluation.datasets.delimited import Table, only_numbers
from orilla.runtime.preprocessing.image_file import IMAGE_SUFFIXES

KNOWN = frozenset({"text", "label", "image", "image_id", "filename", "file_name", "split", "class", "id", "path"})
"""Usual column names, in lower case. A line that contains one of them is a header."""

LOOKED_AT = 200
"""Number of rows that are compared with the first line."""

MIN_NUMBERED = 3
"""Minimum number of successive whole numbers that count as column names, as in a table of pixels."""

EDGES = ("xmin", "ymin", "xmax", "ymax")


def check_header(table: Table) -> None:
    """Raise `DataError` if the first line of a table seems to be data instead of the names of the columns."""
    reason = why_data(table)
    if reason is None:
        return
    shown = ",".join(readable(field.strip())[:30] for field in table.header)[:120]
    msg = (
        f"the first line of {table.name} is data, not the names of the columns: {reason}, in {shown!r}. Name all "
        f"columns with `columns`, such as {','.join(_likely_names(table))}, or add such a line to the file"
    )
    raise DataError(msg)


def with_header(table: Table, names: str) -> Table:
    """Add column names to a table whose first line is data.

    Args:
        table: The table, whose header is its first line.
        names: Names of the columns, separated by commas.

    Raises:
        ConfigError: The number of names is not the number of columns, or a name is empty or occurs twice.
    """
    header = [name.strip() for name in names.split(",")]
    if len(header) != len(table.header) or not all(header) or len(set(header)) < len(header):
        msg = (
            f"columns={names}: {table.name} has {len(table.header)} columns: give a different name for each, separated "
            "by commas"
        )
        raise ConfigError(msg)
    return table.with_header(header)


def why_data(table: Table) -> str | None:
    """Return the reason why the first line of a table seems to be data, or None if it seems to name the columns."""
    header = [field.strip() for field in table.header]
    if {field.lower() for field in header} & KNOWN or not table.rows:
        return None
    rows = [row.fields for row in table.rows[:LOOKED_AT] if len(row.fields) == len(header)]
    for name in header:
        if name.lower().endswith(IMAGE_SUFFIXES):
            return f"{readable(name)[:60]!r} is the name of an image"
    columns = [[fields[at].strip() for fields in rows] for at in range(len(header))]
    numbered = _numbered(header, columns)
    for name, values in zip(header, columns, strict=True):
        if not name or not values or name in numbered:
            continue
        if only_numbers([name, *values]):
            return f"{name!r} is a number, and so are the values below it"
        if name in values and len(set(values)) <= len(values) / 2:
            return f"{readable(name)[:60]!r} is also a value below it"
    return None


def _numbered(header: Sequence[str], columns: Sequence[Sequence[str]]) -> set[str]:
    """Return the columns whose names are successive whole numbers, as in tables of pixels or of one-hot classes."""
    names = [name for name in header if whole_number(name)]
    if len(names) < 2 or any(int(after) != int(name) + 1 for name, after in pairwise(names)):
        return set()
    values = {value for name, column in zip(header, columns, strict=True) if name in names for value in column}
    is_position = names == [str(index) for index in range(len(header))]
    return set(names) if len(names) >= MIN_NUMBERED or is_position or values <= {"0", "1", "0.0", "1.0"} else set()


def _likely_names(table: Table) -> list[str]:
    """Suggest names for the columns, based on their values."""
    rows = [table.header, *(row.fields for row in table.rows[:LOOKED_AT] if len(row.fields) == len(table.header))]
    columns = [[field.strip() for field in column] for column in zip(*rows, strict=True)]
    numeric = [only_numbers([value for value in column if value]) for column in columns]
    image = next((at for at, column in enumerate(columns) if column[0].lower().endswith(IMAGE_SUFFIXES)), None)
    if image is not None and len(columns) == len(EDGES) + 2 and sum(numeric) == len(EDGES):
        edges = iter(EDGES)
        return [next(edges) if numeric[at] else "filename" if at == image else "class" for at in range(len(columns))]
    names = [f"value{at + 1}" for at in range(len(columns))]
    few = [at for at in range(len(columns)) if at != image and 2 <= len(set(columns[at])) <= max(2, len(rows) / 2)]
    if image is not None and all(numeric[at] for at in range(len(columns)) if at != image) and len(columns) > 2:
        few = []
    texts = [at for at in range(len(columns)) if at not in (image, *few)]
    if image is None and texts:
        names[max(texts, key=lambda at: sum(map(len, columns[at])))] = "text"
    if few:
        names[min(few, key=lambda at: len(set(columns[at])))] = "label"
    if image is not None:
        names[image] = "image"
    return names
