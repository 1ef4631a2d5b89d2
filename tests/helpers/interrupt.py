"""Interrupt a training run after a given epoch, as Ctrl-C does."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from orilla.devices.progress import Advance, NoProgress


class InterruptAfter(NoProgress):
    """Progress display that raises `KeyboardInterrupt` as soon as the checkpoint of the given epoch is written."""

    def __init__(self, epochs: int) -> None:
        self._remaining = epochs

    def milestone(self, text: str) -> None:
        """Count a completed epoch. Its checkpoint is written later."""
        del text
        self._remaining -= 1

    @contextmanager
    def steps(self, title: str, total: int, completed: int = 0) -> Iterator[Advance]:
        """Raise `KeyboardInterrupt` in the first step of the next epoch, or after the last epoch."""
        del total, completed
        yield self._advance
        if title == "training":
            self._advance(0, "")

    def _advance(self, steps: int, note: str) -> None:
        del steps, note
        if self._remaining <= 0:
            raise KeyboardInterrupt
