"""The console on which commands print their results.

It imports rich only for tables, which saves time in other commands.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from orilla.runtime.terminal.messages import print_message
from orilla.runtime.terminal.text import printable

if TYPE_CHECKING:
    from rich.console import Console, RenderableType


class ResultConsole:
    """Console for the results of commands. It prints text without control characters.

    A bundle from an untrusted source may contain names with escape sequences, which would change the state of the
    terminal.

    Args:
        stderr: True for standard error, False for standard output.
    """

    def __init__(self, *, stderr: bool = False) -> None:
        self._stderr = stderr

    def print_line(self, text: str) -> None:
        """Print a line as it is, without wrapping."""
        if self._stderr:
            print_message(text)
        else:
            print(printable(text))

    def print_table(self, table: RenderableType) -> None:
        """Print a table that rich has built."""
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
