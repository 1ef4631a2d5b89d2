"""Read the tables of data sets: CSV files with any usual delimiter, as spreadsheets and other programs write them."""

from __future__ import annotations

import codecs
from collections.abc import Sequence
from pathlib import Path

from orilla.devices.errors import ConfigError, DataError
from orilla.devices.names import readable
from orilla.runtime.evaluation.datasets import tree
from orilla.runtime.evaluation.datasets.delimited import DELIMITERS, Table, parse_table
from orilla.runtime.evaluation.datasets.options import NO_OPTIONS, ReadOptions
from orilla.runtime.evaluation.datasets.table_header import check_header, with_header

SUFFIXES = (".csv", ".tsv")

OTHER_SUFFIXES = (".txt", ".tab", ".data", "")
"""Suffixes of files that are tables only if their fields are separated by tabs."""

OTHER_NAMES = ("list_attr_celeba.txt",)
"""Names of files that are read as tables although their suffix is not in `SUFFIXES`."""

SPLIT_NAMES = ("set", "data set", "data_set", "dataset", "subset", "partition", "usage", "split_name")
"""Other names of the column of splits, in lower case."""

TEMPLATE = "submission"
"""Part of the names of a competition's answer templates, such as `sampleSubmission.csv`. Their classes and numbers are
placeholders."""

START_BYTES = 1 << 16
"""Number of bytes at the start of a file that are read to recognise a table."""

ADVICE = "store it as UTF-8, or state its encoding with `encoding`, such as cp1252"


def is_table(path: Path) -> bool:
    """Return True if a path is a file that is a table: by its suffix, or because tabs separate its fields."""
    if not path.is_file() or path.suffix.lower() not in (*SUFFIXES, *OTHER_SUFFIXES):
        return False
    if path.suffix.lower() in SUFFIXES:
        return True
    if path.name in OTHER_NAMES:
        return True
    table = start_of(path, delimiters="\t")
    return table is not None and len(table.header) > 1 and bool(table.rows)


def split_column(table: Table) -> int | None:
    """Return the column of the splits: `split`, or another common name if its values are names of splits."""
    stated = table.column("split")
    if stated is not None:
        return stated
    columns = [at for name in SPLIT_NAMES if (at := table.column(name)) is not None]
    return next((at for at in columns if _are_splits(table, at)), None)


def _are_splits(table: Table, column: int) -> bool:
    values = {row.fields[column].strip().lower() for row in table.rows if column < len(row.fields)}
    return bool(values) and values <= tree.SPLITS.keys()


def table_files(folder: tree.Folder) -> list[tree.Folder]:
    """Return the tables in a folder, without templates for answers."""
    found = [file for file in tree.files(folder, SUFFIXES) if TEMPLATE not in file.name.lower()]
    return [*found, *(file for name in OTHER_NAMES if (file := folder / name).is_file())]


def read_table(file: tree.Folder, options: ReadOptions = NO_OPTIONS) -> Table:
    """Read a table. Empty lines are omitted.

    Raises:
        ConfigError: The number of column names in `options` is wrong.
        DataError: The file is not text, is not a table, or its first line does not name the columns.
    """
    name = readable(file.name)
    table = parse_table(tree.decode_text(tree.read(file), name, options.encoding, ADVICE), name)
    if options.columns is not None:
        return with_header(table, options.columns)
    if not options.names_columns:
        check_header(table)
    return table


def start_of(
    file: tree.Folder, options: ReadOptions = NO_OPTIONS, delimiters: Sequence[str] = DELIMITERS
) -> Table | None:
    """Return the first rows of a table, or None if the file is not a table with one of these delimiters."""
    name = readable(file.name)
    try:
        with file.open("rb") as stream:
            data = stream.read(START_BYTES)
        if len(data) == START_BYTES and not data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
            data = data[: data.rfind(b"\n") + 1] or data
        table = parse_table(tree.decode_text(data, name, options.encoding or "latin-1"), name, delimiters)
        return table if options.columns is None else with_header(table, options.columns)
    except (ConfigError, DataError, OSError, *tree.UNREADABLE):
        return None
