"""Callbacks that report the progress of a training run, and logs for TensorBoard."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import keras

from orilla.devices.progress import Advance, Progress
from orilla.train.fit.checkpoint import Row


class ProgressCallback(keras.callbacks.Callback):
    """Callback that reports each step, with the metrics of the last evaluation. `end_epoch` reports an epoch."""

    def __init__(self, progress: Progress, advance: Advance, epochs: int) -> None:
        super().__init__()
        self._progress, self._advance, self._epochs = progress, advance, epochs
        self._epoch, self._note = 0, ""

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Remember the number of the epoch."""
        del logs
        self._epoch = epoch + 1

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        """Report one step."""
        del batch
        self._advance(1, self._text(logs or {}, self._note))

    def end_epoch(self, row: Row, note: str) -> None:
        """Report an epoch with its metrics. `note` is empty if the model was not evaluated after the epoch."""
        self._progress.milestone(self._text(row, note).rstrip())
        if note:
            self._note = f"{note} (epoch {self._epoch})"

    def _text(self, values: Mapping[str, float], note: str) -> str:
        return f"epoch {self._epoch}/{self._epochs}  loss {values.get('loss', math.nan):.4f}  {note}"


def note_of(row: Row, watch: str | None) -> str:
    """Format the main metrics of an epoch: the watched metric, or else accuracy, IoU and mAP50."""
    names = [watch] if watch in row else [name for name in row if name.endswith(("_iou", "_accuracy", "_map50"))]
    return "  ".join(f"{name} {row[name]:.4f}" for name in names if name and "pixel" not in name)


@contextmanager
def tensorboard_writer(folder: Path | None) -> Iterator[Callable[[Row], None]]:
    """Yield a function that writes an epoch's row for TensorBoard. It does nothing if `folder` is None."""
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
