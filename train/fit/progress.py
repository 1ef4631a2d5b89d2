"""What is seen of a training while it runs: a bar, lines where nobody watches, TensorBoard."""

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
    """On standard error: share done, time left, and the note of its task."""
    return Progress(
        BarColumn(10),  # a terminal of 80 columns has room for the rest
        TextColumn("{task.percentage:3.0f}%"),
        TimeRemainingColumn(compact=True),
        TextColumn("left"),
        TextColumn("{task.fields[note]}"),
        console=Console(stderr=True),
    )


class Bar(keras.callbacks.Callback):
    """Moves the progress bar; a line for each epoch where nobody watches."""

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
    """What an evaluation found, in a few words: the measure that is watched, or the first ones."""
    told = [watch] if watch in row else [name for name in row if name.endswith(("_iou", "_accuracy"))]
    return "  ".join(f"{name} {row[name]:.4f}" for name in told if name and "pixel" not in name)


@contextmanager
def board(folder: Path | None) -> Iterator[Callable[[Row], None]]:
    """Writes the rows of epochs for TensorBoard, on every backend; nothing where there is no folder."""
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
