"""Progress of a training: a bar on a terminal, lines elsewhere, and TensorBoard."""

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
    """Return a progress bar on standard error: share, remaining time, and the note of its task."""
    return Progress(
        BarColumn(10),  # leaves room for the rest on a terminal of 80 columns
        TextColumn("{task.percentage:3.0f}%"),
        TimeRemainingColumn(compact=True),
        TextColumn("left"),
        TextColumn("{task.fields[note]}"),
        console=Console(stderr=True),
    )


class Bar(keras.callbacks.Callback):
    """Callback that moves the progress bar, or prints a line per epoch without a terminal."""

    def __init__(self, progress: Progress, task: Any, epochs: int) -> None:
        super().__init__()
        self.note = ""
        self._progress, self._task, self._epochs = progress, task, epochs
        self._epoch = 0

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        self._epoch = epoch + 1

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        note = f"epoch {self._epoch}/{self._epochs}  loss {(logs or {}).get('loss', math.nan):.4f}  {self.note}"
        self._progress.update(self._task, advance=1, note=note)

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        if not self._progress.console.is_terminal:
            loss = (logs or {}).get("loss", math.nan)
            self._progress.console.print(f"epoch {self._epoch}/{self._epochs}  loss {loss:.4f}  {self.note}")


def note_of(row: Row, watch: str | None) -> str:
    """Summarise an evaluation: the watched metric, or the first ones."""
    summary = [watch] if watch in row else [name for name in row if name.endswith(("_iou", "_accuracy"))]
    return "  ".join(f"{name} {row[name]:.4f}" for name in summary if name and "pixel" not in name)


@contextmanager
def board(folder: Path | None) -> Iterator[Callable[[Row], None]]:
    """Write the results of epochs for TensorBoard, on every backend. Without a folder, write nothing."""
    if folder is None:
        yield lambda row: None
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
