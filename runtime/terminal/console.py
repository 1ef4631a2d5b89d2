"""The console on which commands print their results.

It imports rich only for tables, which saves time in other commands.
"""

from __future__ import annotations

import sys
from functools import cached_property
from shutil import get_terminal_size
from typing import TYPE_CHECKING

from orilla.runtime.terminal.fitting import fitted, wrapped
from orilla.runtime.terminal.messages import print_message
from orilla.runtime.terminal.text import printable

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.table import Table


class ResultConsole:
    """Console for the results of commands. It prints text without control characters.

    A bundle from an untrusted source may contain names with escape sequences, which could change the state of the
    terminal.

    Args:
        stderr: True for standard error, False for standard output.
    """

    def __init__(self, *, stderr: bool = False) -> None:
        self._stderr = stderr

    def print_line(self, text: str) -> None:
        """Print a line. On a terminal, it is wrapped between words; in a file or pipe, it stays one line."""
        if self._stderr:
            print_message(text)
        else:
            text = printable(text)
            print(wrapped(text, get_terminal_size().columns) if sys.stdout.isatty() else text)

    def print_table(self, table: Table) -> None:
        """Print a table that rich has built. No word is broken: a table that is too wide becomes a list."""
        self._print(fitted(table, self._rich))

    def _print(self, table: RenderableType) -> None:
        if self._stderr and not self._rich.is_terminal:
            with self._rich.capture() as captured:
                self._rich.print(table)
            for line in captured.get().splitlines():
                print_message(line)
        else:
            self._rich.print(table)

    @property
    def width(self) -> int:
        """Return the width of tables in characters."""
        return self._rich.width

    @cached_property
    def _rich(self) -> Console:
        from orilla.runtime.terminal.tables import TableConsole

        return TableConsole(stderr=self._stderr)
