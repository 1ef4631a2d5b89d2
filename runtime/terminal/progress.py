"""Show the progress of long operations on standard error.

A terminal shows a status line and progress bars. A file or pipe receives only lines of text.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bars
from rich.text import Text

from orilla.devices.progress import Advance
from orilla.runtime.terminal.messages import print_message
from orilla.runtime.terminal.text import printable

if TYPE_CHECKING:
    from types import TracebackType

    from rich.status import Status
    from typing_extensions import Self

REFRESH_HZ = 1.0
"""Number of times per second that the status is redrawn. It is low because redrawing disturbs a running measurement."""


class _ProgressConsole(Console):
    """A console that ignores a closed output."""

    def on_broken_pipe(self) -> None:
        """Print nothing from now on. Rich would exit with code 1, even if the command has succeeded."""
        self.quiet = True


class _Line:
    """A status with the time since it was first shown."""

    def __init__(self, text: str) -> None:
        self._text, self._began = text, time.monotonic()

    def __rich__(self) -> Text:
        minutes, seconds = divmod(int(time.monotonic() - self._began), 60)
        return Text(f"{minutes}:{seconds:02d} {self._text}", no_wrap=True, overflow="ellipsis")


class TerminalProgress:
    """Shows progress on standard error. As a context manager, it removes the status at the end.

    Args:
        animated: If True, a thread redraws the status and the bars. If False, no status is shown, and bars are redrawn
            only when they change. A thread that draws would disturb measurements.
    """

    def __init__(self, *, animated: bool = True) -> None:
        self._animated = animated
        self._console = _ProgressConsole(stderr=True, markup=False, highlight=False)
        self._status: Status | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._stop_status()

    def status(self, text: str) -> None:
        """Show the current step and its duration. Without a terminal or if `animated` is False, do nothing.

        The line is never wider than the terminal, and its time is updated every second.
        """
        if not self._animated:
            return
        line = _Line(printable(text))
        if self._status is None:
            self._status = self._console.status(line, refresh_per_second=REFRESH_HZ)
            self._status.start()
        else:
            self._status.update(line)

    def message(self, text: str) -> None:
        """Print one line."""
        if self._console.is_terminal:
            self._console.print(printable(text), soft_wrap=True)
        else:
            print_message(text)

    def milestone(self, text: str) -> None:
        """Print one line, unless a bar on the terminal already shows its content."""
        if not self._console.is_terminal:
            self.message(text)

    @contextmanager
    def steps(self, title: str, total: int, completed: int = 0) -> Iterator[Advance]:
        """Show a bar with the percentage, the remaining time and a note."""
        self._stop_status()
        bars = Bars(
            BarColumn(10),  # The bar is short so that all columns fit into a terminal of 80 characters.
            TextColumn("{task.percentage:3.0f}%"),
            TimeRemainingColumn(compact=True),
            TextColumn("left"),
            TextColumn("{task.fields[note]}", markup=False),
            console=self._console,
            disable=not self._console.is_terminal,
            auto_refresh=self._animated,
            transient=not self._animated,
        )
        with bars:
            task = bars.add_task(title, total=total, completed=completed, note=title)
            yield lambda steps, note: bars.update(task, advance=steps, note=printable(note), refresh=not self._animated)

    def _stop_status(self) -> None:
        if self._status is not None:
            self._status.stop()
            self._status = None
