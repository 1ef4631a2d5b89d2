"""The training loop: epochs with progress, a checkpoint after each, and a way back after an interruption."""

from __future__ import annotations

import csv
import json
import math
import time
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import keras
import numpy as np
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from orilla.devices.errors import ConfigError, DataError
from orilla.runtime.files import replacing
from orilla.runtime.run_folder import CHECKPOINT


class Data(Protocol):
    """What `fit` asks of the training data."""

    def epoch(self, number: int, *, workers: int) -> keras.utils.PyDataset:
        """The batches of one epoch; the same for the same number, whatever came before."""


@dataclass(frozen=True, slots=True)
class FitOptions:
    """How long and how fast to learn."""

    epochs: int
    learning_rate: float
    weight_decay: float = 1e-4
    warmup_epochs: float = 1.0
    evaluate_every: int = 5
    """Epochs between two evaluations on validation data; the last epoch always has one."""
    workers: int = 2
    """Threads that make batches."""


def fit(
    model: keras.Model,
    data: Data,
    loss: keras.losses.Loss,
    evaluate: Callable[[], dict[str, float]],
    options: FitOptions,
    folder: Path,
    *,
    signature: str,
    resume: bool = False,
) -> list[dict[str, float]]:
    """Trains `model` in place and returns one row for each epoch.

    Args:
        evaluate: called between epochs; its values go into the rows.
        folder: gets `history.csv` and the checkpoint.
        signature: names what is being trained; a checkpoint with another one is refused.
        resume: go on from the folder's checkpoint, where there is one.

    Raises:
        ConfigError: the checkpoint belongs to other options.
        DataError: the loss is no longer a number.
    """
    steps = len(data.epoch(0, workers=1))
    optimizer = _optimizer(options, steps)
    model.compile(optimizer=optimizer, loss=loss, jit_compile=keras.backend.backend() == "jax")
    optimizer.build(model.trainable_variables)
    rows = _restore(model, folder, signature) if resume else []
    with _progress() as progress:
        task = progress.add_task("training", total=options.epochs * steps, completed=len(rows) * steps, note="")
        bar = _Bar(progress, task, options.epochs)
        for epoch in range(len(rows), options.epochs):
            started = time.monotonic()
            batches = data.epoch(epoch, workers=options.workers)
            # The data has its own seeded order; Keras' shuffling would not be the same after a resume.
            history = model.fit(
                batches, initial_epoch=epoch, epochs=epoch + 1, shuffle=False, verbose=0, callbacks=[bar]
            )
            row = {"epoch": epoch + 1, "loss": float(history.history["loss"][0])}
            if not math.isfinite(row["loss"]):
                raise DataError(f"loss is {row['loss']} in epoch {epoch + 1}: lower --learning-rate")
            if (epoch + 1) % options.evaluate_every == 0 or epoch + 1 == options.epochs:
                row |= evaluate()
                bar.note = "  ".join(f"{name} {value:.4f}" for name, value in row.items() if name in ("iou",))
            row["seconds"] = round(time.monotonic() - started, 2)
            rows.append(row)
            _save(model, rows, folder, signature)
            write_history(folder / "history.csv", rows)
    return rows


def write_history(path: Path, rows: list[dict[str, float]]) -> None:
    """One line for each epoch; a column that an epoch has no value for is empty."""
    columns = list(dict.fromkeys(name for row in rows for name in row))
    with replacing(path) as temporary, temporary.open("w", newline="") as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerows(rows)


def remove_checkpoint(folder: Path) -> None:
    """Deletes what only a resumed training needs."""
    (folder / CHECKPOINT).unlink(missing_ok=True)


def _optimizer(options: FitOptions, steps: int) -> keras.optimizers.Optimizer:
    warmup = int(options.warmup_epochs * steps)
    schedule = keras.optimizers.schedules.CosineDecay(
        initial_learning_rate=options.learning_rate / 20,
        decay_steps=max(1, options.epochs * steps - warmup),
        warmup_target=options.learning_rate,
        warmup_steps=warmup,
    )
    return keras.optimizers.AdamW(schedule, weight_decay=options.weight_decay, clipnorm=1.0)


def _save(model: keras.Model, rows: list[dict[str, float]], folder: Path, signature: str) -> None:
    arrays = {f"v{i}": np.asarray(keras.ops.convert_to_numpy(v)) for i, v in enumerate(_variables(model))}
    state = json.dumps({"signature": signature, "rows": rows}).encode()
    with replacing(folder / CHECKPOINT) as temporary:
        np.savez(temporary, state=np.frombuffer(state, np.uint8), **arrays)


def _restore(model: keras.Model, folder: Path, signature: str) -> list[dict[str, float]]:
    path = folder / CHECKPOINT
    if not path.exists():
        return []
    try:
        with np.load(path) as saved:
            state = json.loads(saved["state"].tobytes())
            if state["signature"] != signature:
                raise ConfigError(f"cannot resume {folder}: it was started as {state['signature']}, not {signature}")
            for index, variable in enumerate(_variables(model)):
                variable.assign(saved[f"v{index}"])
    except (zipfile.BadZipFile, KeyError, EOFError, ValueError) as error:
        if isinstance(error, ConfigError):
            raise
        raise DataError(f"cannot resume {folder}: {path.name} is damaged; remove it to begin anew") from error
    rows: list[dict[str, float]] = state["rows"]
    return rows


def _variables(model: keras.Model) -> list[Any]:
    return [*model.weights, *model.optimizer.variables]


def _progress() -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:3.0f}%"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
        console=Console(stderr=True),
    )


class _Bar(keras.callbacks.Callback):
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
