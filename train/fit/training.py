"""The training loop of every model. It reports progress, and writes a checkpoint after each epoch."""

from __future__ import annotations

import csv
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

import keras
import numpy as np

from orilla.devices.errors import ConfigError, DataError
from orilla.devices.progress import NoProgress, Progress
from orilla.runtime.files import replacing
from orilla.train.data.batches import Epoch
from orilla.train.fit.checkpoint import Row, State, assign, restore, save, snapshot
from orilla.train.fit.progress import ProgressCallback, note_of, tensorboard_writer

Schedule = Literal["cosine", "constant"]

AVERAGE_UPDATES = 20
"""Number of times that the running average is updated within its span."""


class Data(Protocol):
    """The training data."""

    def epoch(self, number: int, *, workers: int) -> keras.utils.PyDataset:
        """Return the batches of one epoch. They depend only on the index of the epoch, not on earlier epochs."""


@dataclass(frozen=True, slots=True)
class FitOptions:
    """The length of a training run, and the settings of its optimizer."""

    epochs: int
    learning_rate: float
    """Maximum learning rate."""
    weight_decay: float = 1e-4
    schedule: Schedule = "cosine"
    average: float = 0.05
    """Span of the running average of weights and batch-norm statistics, as a share of all steps; 0 for no average. The
    averaged values are evaluated and saved, but the training continues with the latest values. Source: Izmailov et al.,
    "Averaging Weights Leads to Wider Optima and Better Generalization" (2018)."""
    warmup_epochs: float = 1.0
    evaluate_every: int = 1
    """Number of epochs between two evaluations. The last epoch is always evaluated."""
    watch: str | None = None
    """Name of a metric of `FitTask.evaluate`. The epoch with its highest value is kept. If None, the last epoch is
    kept."""
    patience: int | None = None
    """Training stops after this number of evaluations without improvement. If None, all epochs are trained."""
    workers: int = 2
    """Number of threads that prepare batches."""
    tensorboard: Path | None = None
    """Folder for TensorBoard logs. If None, no logs are written."""


@dataclass(frozen=True, slots=True)
class FitTask:
    """A model, and the data, loss and options to train it with."""

    model: keras.Model
    data: Data
    loss: keras.losses.Loss | str
    evaluate: Callable[[], dict[str, float]]
    """Function that evaluates the model between epochs. Its metrics are added to the row of the epoch."""
    options: FitOptions
    metrics: Sequence[str] = ()
    """Names of Keras metrics to compute on the training batches."""


@dataclass(frozen=True, slots=True)
class FitResult:
    """The result of a training run, in addition to the weights."""

    rows: list[Row]
    best_epoch: int
    """Number of the epoch whose weights the model has, counted from 1."""


def fit(
    task: FitTask, folder: Path, *, signature: str, resume: bool = False, progress: Progress | None = None
) -> FitResult:
    """Train a model in place.

    Args:
        task: The model, its data and options.
        folder: The run folder, to which the checkpoint is written.
        signature: A string that identifies the training run. A checkpoint with a different signature is rejected.
        resume: If True, continue from the folder's checkpoint if there is one.
        progress: Receives the progress. If None, no progress is reported.

    Raises:
        ConfigError: The checkpoint belongs to a training run with different options, or a batch does not fit into
            memory.
        DataError: The loss is not finite. The checkpoint of the last epoch with a finite loss is kept.
    """
    model, options = task.model, task.options
    steps = len(task.data.epoch(0, workers=1))
    _compile(task, steps)
    state = restore(model, folder, signature) if resume else State()
    if resume and options.schedule == "constant":  # The checkpoint contains the learning rate of the interrupted run.
        model.optimizer.learning_rate = options.learning_rate
    average = _RunningAverage(state, steps, options)
    progress = progress or NoProgress()
    total, completed = options.epochs * steps, len(state.rows) * steps
    with progress.steps("training", total, completed) as advance, tensorboard_writer(options.tensorboard) as log:
        bar = ProgressCallback(progress, advance, options.epochs)
        callbacks: list[keras.callbacks.Callback] = [bar, _FiniteLoss(), average]
        for epoch in range(len(state.rows), options.epochs):
            if _should_stop(state, options):
                break
            row = _train_epoch(task, epoch, callbacks, state)
            bar.end_epoch(row, note_of(row, options.watch))
            state.rows.append(row)
            log(row)
            _keep_best(state, model, options.watch)
            save(model, state, folder, signature)
    final_weights = (options.watch is not None and state.best) or state.average
    if final_weights:
        assign(model, final_weights)
    return FitResult(state.rows, state.best_epoch if options.watch is not None else len(state.rows))


def write_history(path: Path, rows: list[Row]) -> None:
    """Write a CSV file with one line per epoch. Missing values are empty."""
    columns = list(dict.fromkeys(name for row in rows for name in row))
    with replacing(path) as temporary, temporary.open("w", newline="") as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerows(rows)


def _compile(task: FitTask, steps: int) -> None:
    model = task.model
    model.compile(
        optimizer=_optimizer(task.options, steps),
        loss=task.loss,
        metrics=list(task.metrics),
        jit_compile=keras.backend.backend() == "jax",
    )
    # In half precision, the model wraps the optimizer in a second optimizer, which has more variables and must be
    # built.
    model.optimizer.build(model.trainable_variables)


def _train_epoch(task: FitTask, epoch: int, callbacks: list[keras.callbacks.Callback], state: State) -> Row:
    """Train one epoch, evaluate the model if an evaluation is due, and return the row of the epoch."""
    model, options = task.model, task.options
    started = time.monotonic()
    history = _fit_epoch(model, task.data.epoch(epoch, workers=options.workers), epoch, callbacks)
    row: Row = {"epoch": epoch + 1, **{name: float(values[-1]) for name, values in history.items()}}
    if (epoch + 1) % options.evaluate_every == 0 or epoch + 1 == options.epochs:
        latest = snapshot(model)
        assign(model, state.average or latest)
        row |= task.evaluate()
        assign(model, latest)
    row["seconds"] = round(time.monotonic() - started, 2)
    return row


def _fit_epoch(
    model: keras.Model, batches: keras.utils.PyDataset, epoch: int, callbacks: list[keras.callbacks.Callback]
) -> dict[str, list[float]]:
    try:
        # The data set determines the order from the seed. If Keras shuffled the samples, a resumed run would use a
        # different order.
        history = model.fit(
            batches, initial_epoch=epoch, epochs=epoch + 1, shuffle=False, verbose=0, callbacks=callbacks
        )
    except Exception as error:
        # TensorFlow wraps the error of a worker thread in a second error.
        if isinstance(batches, Epoch) and batches.failure is not None:
            raise batches.failure from error
        if not _out_of_memory(error):
            raise
        inputs, truths = batches[0]
        batch = _fitting_batch(model, inputs, truths)
        too_large = "even a single sample does not fit: reduce the input size (`input`)"
        advice = f"set batch={batch}, which fits" if batch else too_large
        msg = f"out of memory with batch={len(inputs)}: {advice}"
        raise ConfigError(msg) from error
    values: dict[str, list[float]] = history.history
    return values


def _out_of_memory(error: Exception) -> bool:
    """Return True for an out-of-memory error of TensorFlow, JAX or PyTorch."""
    text = f"{type(error).__name__} {error}".lower()
    return any(words in text for words in ("out of memory", "resource_exhausted", "resourceexhausted", "outofmemory"))


def _fitting_batch(model: keras.Model, inputs: np.ndarray, truths: np.ndarray) -> int:
    """Return the largest batch size that fits into memory, or 0 if not even one sample fits.

    The attempts change the weights.
    """
    size = len(inputs) // 2
    while size:
        try:
            model.train_on_batch(inputs[:size], truths[:size])
        except Exception as error:
            if not _out_of_memory(error):
                raise
            size //= 2
        else:
            return size
    return 0


def _keep_best(state: State, model: keras.Model, watch: str | None) -> None:
    if watch is None or watch not in state.rows[-1]:
        return
    values = [row[watch] for row in state.rows if watch in row]
    if values[-1] > max(values[:-1], default=-math.inf):
        state.best_epoch = len(state.rows)
        state.best = [array.copy() for array in state.average] or snapshot(model)


def _should_stop(state: State, options: FitOptions) -> bool:
    if options.watch is None or options.patience is None:
        return False
    evaluations = [row for row in state.rows[state.best_epoch :] if options.watch in row]
    return len(evaluations) >= options.patience


def _optimizer(options: FitOptions, steps: int) -> keras.optimizers.Optimizer:
    rate: float | keras.optimizers.schedules.LearningRateSchedule = options.learning_rate
    if options.schedule == "cosine":
        warmup = int(options.warmup_epochs * steps)
        rate = keras.optimizers.schedules.CosineDecay(
            initial_learning_rate=options.learning_rate / 20,
            decay_steps=max(1, options.epochs * steps - warmup),
            warmup_target=options.learning_rate,
            warmup_steps=warmup,
        )
    return keras.optimizers.AdamW(rate, weight_decay=options.weight_decay, clipnorm=1.0)


class _RunningAverage(keras.callbacks.Callback):
    """Callback that updates the running average of a model's variables in the state."""

    def __init__(self, state: State, steps: int, options: FitOptions) -> None:
        super().__init__()
        self._state, self._steps, self._step = state, steps, 0
        span = options.average * options.epochs * steps
        self._every = max(1, round(span / AVERAGE_UPDATES))
        self._share = min(1.0, self._every / span) if span > 0 else 1.0

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        del logs
        self._step = epoch * self._steps

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        del batch, logs
        self._step += 1
        if self._share == 1.0 or self._step % self._every:
            return
        if keras.backend.backend() == "jax":
            self.model.jax_state_sync()  # While Keras trains on JAX, the values of the variables are not in the model.
        if not self._state.average:
            self._state.average = snapshot(self.model)
            return
        share = max(self._share, self._every / self._step)  # The first updates have equal weights.
        for average, variable in zip(self._state.average, self.model.variables, strict=True):
            latest = variable.numpy()  # Unlike `convert_to_numpy`, this does not copy the values.
            if average.dtype.kind == "f":
                change = np.subtract(latest, average)
                change *= share
                average += change
            else:
                average[...] = latest


class _FiniteLoss(keras.callbacks.Callback):
    """Callback that stops the training at the first batch whose loss is not finite."""

    def __init__(self) -> None:
        super().__init__()
        self._epoch = 0

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        del logs
        self._epoch = epoch + 1

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        loss = float((logs or {}).get("loss", 0.0))
        if not math.isfinite(loss):
            advice = (
                f"set resume=True and a lower `learning_rate` to continue from epoch {self._epoch - 1}"
                if self._epoch > 1
                else "set a lower `learning_rate`; there is no checkpoint to resume from"
            )
            msg = f"loss is {loss} in epoch {self._epoch}, batch {batch + 1}: {advice}"
            raise DataError(msg)
