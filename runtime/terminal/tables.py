"""The rich console that prints the tables of commands."""

from __future__ import annotations

from typing import Any, NoReturn

from rich.console import Console
from rich.text import Text

from orilla.runtime.terminal.text import PIPE_WIDTH, printable


class TableConsole(Console):
    """A rich console that prints text without markup and without control characters.

    Args:
        stderr: True for standard error, False for standard output.
    """

    def __init__(self, *, stderr: bool) -> None:
        super().__init__(stderr=stderr, markup=False, highlight=False, emoji=False)
        if not self.is_terminal:
            self.width = PIPE_WIDTH

    def render_str(self, text: str, **options: Any) -> Text:
        """Return the text with control characters replaced with question marks."""
        return super().render_str(printable(text), **options)

    def on_broken_pipe(self) -> NoReturn:
        """Raise the `BrokenPipeError` that is being handled, so that the command ends quietly.

        Rich would exit with code 1.
        """
        raise  # noqa: PLE0704 - rich calls this method in an except clause
