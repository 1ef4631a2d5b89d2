"""The progress of a long operation, as the library reports it. `orilla.runtime.terminal` shows it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol

Advance = Callable[[int, str], None]
"""Function to call with the number of steps completed since the last call, and with a note to show."""


class Progress(Protocol):
    """Receives the progress of a long operation.

    Several threads may call `message`, but only one thread may call the other methods.
    """

    def status(self, text: str) -> None:
        """Report the current activity. It replaces the previous status."""

    def message(self, text: str) -> None:
        """Report one line that stays visible."""

    def milestone(self, text: str) -> None:
        """Report an intermediate result of a task that `steps` began, such as the loss of an epoch.

        The result is not printed if a progress bar already shows it.
        """

    def steps(self, title: str, total: int, completed: int = 0) -> AbstractContextManager[Advance]:
        """Begin a task of `total` steps, and return the function that advances it.

        `completed` steps are already done.
        """


class NoProgress:
    """A `Progress` that ignores all reports."""

    def status(self, text: str) -> None:
        """Ignore a status."""
        del text

    def message(self, text: str) -> None:
        """Ignore a line."""
        del text

    def milestone(self, text: str) -> None:
        """Ignore a result."""
        del text

    @contextmanager
    def steps(self, title: str, total: int, completed: int = 0) -> Iterator[Advance]:
        """Ignore a task."""
        del title, total, completed
        yield _ignore


def _ignore(steps: int, note: str) -> None:
    del steps, note
