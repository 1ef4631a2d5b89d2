"""Options of a data set's reader: the names of columns, and the encoding of text files.

The options are part of a data set's specification, as in `reviews.csv?text-column=review&label-column=stars`. They are
therefore recorded in the run folder, so that an export of the run reads the data in the same way.
"""

from __future__ import annotations

import argparse
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from urllib.parse import parse_qsl, urlencode

from orilla.devices.errors import ConfigError, unknown_name
from orilla.devices.text_files import check_encoding


@dataclass(frozen=True, slots=True)
class ReadOptions:
    """Options for reading the files of a data set. An option that is not stated is None."""

    encoding: str | None = None
    """Encoding of text files without a byte order mark. None means UTF-8."""
    text_column: str | None = None
    """Name of the column with the texts."""
    label_column: str | None = None
    """Name of the column with the classes."""
    image_column: str | None = None
    """Name of the column with the image files."""

    columns: str | None = None
    """Names of all columns of a table whose first line does not name them, separated by commas."""

    @property
    def names_columns(self) -> bool:
        """Return True if an option names a column. The first line of the table then contains names."""
        return any(name is not None for name in (self.text_column, self.label_column, self.image_column))

    @property
    def stated(self) -> dict[str, str]:
        """Return the options that are stated. The keys are the names."""
        return {name: value for name, value in asdict(self).items() if value is not None}


NO_OPTIONS = ReadOptions()

NAMES = tuple(field.name for field in fields(ReadOptions))


def split_options(spec: str) -> tuple[str, ReadOptions]:
    """Split the specification of a data set into the part before its options, and the options.

    A question mark in the name of an existing file does not begin options.

    Raises:
        ConfigError: An option is unknown or has no value, or the encoding is unknown.
    """
    rest, mark, text = spec.rpartition("?")
    if not mark or "=" not in text or Path(spec.partition(":")[2] or spec).exists() or Path(spec).exists():
        return spec, NO_OPTIONS
    values: dict[str, str] = {}
    for key, value in parse_qsl(text, keep_blank_values=True):
        name = key.replace("-", "_")
        if name not in NAMES:
            raise unknown_name(key, [known.replace("_", "-") for known in NAMES], kind="option of a data set")
        if not value:
            msg = f"{spec}: the option {key} has no value"
            raise ConfigError(msg)
        values[name] = value
    options = ReadOptions(**values)
    if options.encoding is not None:
        check_encoding(options.encoding)
    return rest, options


def with_options(spec: str, options: ReadOptions) -> str:
    """Return the specification of a data set with these options. They replace its existing options."""
    rest, own = split_options(spec)
    stated = own.stated | options.stated
    return f"{rest}?{urlencode({name.replace('_', '-'): value for name, value in stated.items()})}" if stated else rest


def add_arguments(group: argparse.ArgumentParser | argparse._ArgumentGroup, *, encoding: bool = True) -> None:
    """Declare the options of readers. `encoding` adds the option for the encoding."""
    group.add_argument("--text-column", metavar="NAME", help="column of the texts in a table (default: text)")
    group.add_argument("--label-column", metavar="NAME", help="column of the classes in a table (default: label)")
    group.add_argument(
        "--image-column", metavar="NAME", help="column of the image files in a table (default: the first one)"
    )
    group.add_argument(
        "--columns",
        metavar="NAMES",
        help="names of all columns of a table without a line of names, separated by commas, as in label,text",
    )
    if encoding:
        group.add_argument(
            "--encoding",
            metavar="NAME",
            help="encoding of the text files of the data set, such as cp1252 (default: UTF-8, or as the byte order "
            "mark of a file states)",
        )


def options_of(arguments: argparse.Namespace) -> ReadOptions:
    """Return the options that a command line states."""
    return ReadOptions(**{name: getattr(arguments, name) for name in NAMES})
