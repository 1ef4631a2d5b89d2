"""The progress of a training, as the library reports it. `orilla.train.terminal` shows it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol

Advance = Callable[[int, str], None]
"""Function that is called with the number of completed steps since the last call, and a note."""


class Progress(Protocol):
    """Receives the progress of a training."""

    def message(self, text: str) -> None:
        """Report one line."""

    def epoch(self, text: str) -> None:
        """Report the loss and metrics of a completed epoch."""

    def steps(self, title: str, total: int, completed: int = 0) -> AbstractContextManager[Advance]:
        """Begin a task of `total` steps, of which some may be completed, and return the function that advances it."""


class NoProgress:
    """Progress that is not shown."""

    def message(self, text: str) -> None:
        """Ignore a line."""
        del text

    def epoch(self, text: str) -> None:
        """Ignore an epoch."""
        del text

    @contextmanager
    def steps(self, title: str, total: int, completed: int = 0) -> Iterator[Advance]:
        """Ignore a task."""
        del title, total, completed
        yield _ignore


def _ignore(steps: int, note: str) -> None:
    del steps, note
