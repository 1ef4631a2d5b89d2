"""Print the tables of a result, or format them as Markdown."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from orilla.runtime.bench.report.lines import Table
    from orilla.runtime.terminal.console import ResultConsole


def print_tables(
    console: ResultConsole,
    tables: Sequence[Table],
    lines: Sequence[str],
    *,
    as_markdown: bool,
    text_columns: int = 1,
) -> None:
    """Print tables and the lines below them.

    Args:
        console: The console.
        tables: The tables.
        lines: Lines below the tables.
        as_markdown: If True, print Markdown.
        text_columns: Number of columns at the left that contain text and are left-aligned. The other columns are
            right-aligned.
    """
    from rich.table import Table as RichTable

    if as_markdown:
        console.print_line(markdown(tables, lines))
        return
    for title, header, rows in tables:
        # Rich would wrap the title of a table at the width of the table, so the title is printed separately.
        console.print_line(title)
        table = RichTable(box=None, padding=(0, 2, 0, 0))
        for index, column in enumerate(header):
            table.add_column(column, justify="left" if index < text_columns else "right", overflow="fold")
        for row in rows:
            table.add_row(*row)
        console.print_table(table)
    for line in lines:
        console.print_line(line)


def markdown(tables: Sequence[Table], lines: Sequence[str]) -> str:
    """Format tables as Markdown, for comments on a pull request."""
    parts: list[str] = []
    for title, header, rows in tables:
        parts += [f"**{title}**", ""]
        parts.append("| " + " | ".join(header) + " |")
        parts.append("|" + "|".join("---" if index == 0 else "---:" for index in range(len(header))) + "|")
        parts += ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows]
        parts.append("")
    return "\n".join([*parts, *(f"- {line}" for line in lines)]).rstrip()
