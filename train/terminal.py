"""The progress of a training on standard error: bars on a terminal, a line for each epoch elsewhere."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bars

from orilla.train.progress import Advance


class TerminalProgress:
    """Progress on standard error."""

    def __init__(self) -> None:
        self._console = Console(stderr=True, markup=False, highlight=False)

    def message(self, text: str) -> None:
        """Print one line."""
        self._console.print(text, soft_wrap=True)

    def epoch(self, text: str) -> None:
        """Print one line, unless a bar on a terminal shows the epoch."""
        if not self._console.is_terminal:
            self.message(text)

    @contextmanager
    def steps(self, title: str, total: int, completed: int = 0) -> Iterator[Advance]:
        """Show a bar with percentage, remaining time and a note."""
        bars = Bars(
            BarColumn(10),  # The other columns fill a terminal of 80 characters.
            TextColumn("{task.percentage:3.0f}%"),
            TimeRemainingColumn(compact=True),
            TextColumn("left"),
            TextColumn("{task.fields[note]}", markup=False),
            console=self._console,
            disable=not self._console.is_terminal,
        )
        with bars:
            task = bars.add_task(title, total=total, completed=completed, note=title)
            yield lambda steps, note: bars.update(task, advance=steps, note=note)
