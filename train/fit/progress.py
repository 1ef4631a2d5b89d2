"""The progress of a training: a bar on a terminal, lines elsewhere, logs for TensorBoard."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import keras
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from orilla.train.fit.checkpoint import Row


def progress_bar() -> Progress:
    """Return a progress bar on standard error: percentage, remaining time, and a note."""
    return Progress(
        BarColumn(10),  # The other columns fill a terminal of 80 characters.
        TextColumn("{task.percentage:3.0f}%"),
        TimeRemainingColumn(compact=True),
        TextColumn("left"),
        TextColumn("{task.fields[note]}"),
        console=Console(stderr=True),
    )


class Bar(keras.callbacks.Callback):
    """Callback that advances the progress bar, or prints a line for each epoch if there is no terminal."""

    def __init__(self, progress: Progress, task: Any, epochs: int) -> None:
        super().__init__()
        self.note = ""
        self._progress, self._task, self._epochs = progress, task, epochs
        self._epoch = 0

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Remember the number of the epoch."""
        del logs
        self._epoch = epoch + 1

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        """Advance the bar by one step."""
        del batch
        note = f"epoch {self._epoch}/{self._epochs}  loss {(logs or {}).get('loss', math.nan):.4f}  {self.note}"
        self._progress.update(self._task, advance=1, note=note)

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Print the epoch's loss and metrics."""
        del epoch
        if not self._progress.console.is_terminal:
            loss = (logs or {}).get("loss", math.nan)
            self._progress.console.print(f"epoch {self._epoch}/{self._epochs}  loss {loss:.4f}  {self.note}")


def note_of(row: Row, watch: str | None) -> str:
    """Return an epoch's metrics in a few words: the watched one, or the accuracy or IoU."""
    names = [watch] if watch in row else [name for name in row if name.endswith(("_iou", "_accuracy"))]
    return "  ".join(f"{name} {row[name]:.4f}" for name in names if name and "pixel" not in name)


@contextmanager
def tensorboard_writer(folder: Path | None) -> Iterator[Callable[[Row], None]]:
    """Yield a function that writes an epoch's row for TensorBoard; it does nothing if `folder` is None."""
    if folder is None:
        yield _ignore
        return
    from tensorboard.summary import Writer

    writer = Writer(str(folder))

    def log(row: Row) -> None:
        for name in row.keys() - {"epoch"}:
            writer.add_scalar(name, row[name], int(row["epoch"]))
        writer.flush()

    try:
        yield log
    finally:
        writer.close()


def _ignore(row: Row) -> None:
    """Do nothing with an epoch's row."""
    del row
