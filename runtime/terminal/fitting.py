"""Fit text and tables into the width of a terminal without breaking words."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

from orilla.runtime.terminal.text import printable

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.table import Table

INDENT = "  "
"""Indentation of continuation lines."""

MIN_WIDTH = 20
"""Terminals that are narrower get lines of this width."""


def wrapped(text: str, width: int) -> str:
    """Break each line of a text between words. A word that is longer than the width stays whole."""
    return "\n".join(_wrapped_line(line, max(width, MIN_WIDTH)) for line in text.split("\n"))


def _wrapped_line(line: str, width: int) -> str:
    if len(line) <= width:
        return line
    start = line[: len(line) - len(line.lstrip())]
    lines = textwrap.wrap(
        line[len(start) :],
        width,
        initial_indent=start,
        subsequent_indent=start + INDENT,
        break_long_words=False,
        break_on_hyphens=False,
        replace_whitespace=False,
        expand_tabs=False,
    )
    return "\n".join(lines)


def fitted(table: Table, console: Console) -> RenderableType:
    """Return a table that fits into the console without broken words.

    Rich narrows the widest columns first, and then cuts words. Here, each column gets at least the width of its longest
    word. If that is not possible, each row is printed as a list of its values.
    """
    from rich.measure import Measurement

    table.min_width = None
    columns = [[printable(str(cell)) for cell in (column.header, *column.cells)] for column in table.columns]
    largest = [max(len(line) for cell in column for line in cell.split("\n")) for column in columns]
    whole = Measurement.get(console, console.options.update(width=10_000), table).maximum
    room = console.width - (whole - sum(largest))
    if sum(largest) <= room:
        return table
    least = [
        size if column.no_wrap else max((len(word) for cell in cells for word in cell.split()), default=0)
        for column, cells, size in zip(table.columns, columns, largest, strict=True)
    ]
    if sum(least) > room:
        return _as_list(table, columns, console.width)
    for column, size in zip(table.columns, _shared(least, largest, room), strict=True):
        column.width = size
    return table


def _shared(least: list[int], largest: list[int], room: int) -> list[int]:
    """Return the widths of columns. The columns with the longest text share the space above the minimum widths."""
    widths = list(least)
    for _ in range(room - sum(least)):
        index = max(range(len(widths)), key=lambda one: largest[one] - widths[one])
        widths[index] += 1
    return widths


def _as_list(table: Table, columns: list[list[str]], width: int) -> str:
    title = [wrapped(printable(str(table.title)), width)] if table.title else []
    headers, *rows = zip(*columns, strict=True)
    lines = []
    for first, *others in rows:
        lines.append(wrapped(first.strip(), width))
        values = [(name, " ".join(value.split())) for name, value in zip(headers[1:], others, strict=True)]
        lines += [wrapped(f"{INDENT}{name}: {value}", width) for name, value in values if value]
    return "\n".join([*title, *lines])
