"""The training loop of every model: epochs with progress, a checkpoint after each, and resumption."""

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
from orilla.runtime.files import replacing
from orilla.train.fit.checkpoint import Row, State, assign, restore, save, snapshot
from orilla.train.fit.progress import Bar, board, note_of, progress_bar

Schedule = Literal["cosine", "constant"]


class Data(Protocol):
    """Training data of `fit`."""

    def epoch(self, number: int, *, workers: int) -> keras.utils.PyDataset:
        """Return the batches of one epoch. They depend only on the number of the epoch."""


@dataclass(frozen=True, slots=True)
class FitOptions:
    """Duration and speed of a training."""

    epochs: int
    learning_rate: float
    weight_decay: float = 1e-4
    schedule: Schedule = "cosine"
    average: float = 0.05
    """Share of all steps that the running average of weights and batch-norm statistics spans. The average is evaluated
    and kept, while training continues from the last step. 0 means no average. Source: Izmailov et al., "Averaging
    Weights Leads to Wider Optima and Better Generalization" (2018)."""
    warmup_epochs: float = 1.0
    evaluate_every: int = 1
    """Epochs between two evaluations. The last epoch is always evaluated."""
    watch: str | None = None
    """Metric of `evaluate` whose best epoch is kept. None keeps the last epoch."""
    patience: int | None = None
    """Evaluations without improvement after which training stops. None trains all epochs."""
    workers: int = 2
    """Threads that make batches."""
    tensorboard: Path | None = None
    """Folder for TensorBoard logs."""


@dataclass(frozen=True, slots=True)
class Fitted:
    """Result of a training, in addition to the weights."""

    rows: list[Row]
    best_epoch: int
    """Epoch whose weights the model has, from 1."""


def fit(
    model: keras.Model,
    data: Data,
    loss: keras.losses.Loss | str,
    evaluate: Callable[[], dict[str, float]],
    options: FitOptions,
    folder: Path,
    *,
    signature: str,
    metrics: Sequence[str] = (),
    resume: bool = False,
) -> Fitted:
    """Train `model` in place.

    Args:
        model: The compiled or uncompiled model.
        data: Training data.
        loss: Keras loss.
        evaluate: Function that is called between epochs. Its values go into the rows.
        options: Duration and speed.
        folder: Folder of the checkpoint.
        signature: Identifies the training. A checkpoint with another signature is rejected.
        metrics: Keras' names of metrics on the training batches.
        resume: True continues from the folder's checkpoint, if there is one.

    Raises:
        ConfigError: The checkpoint belongs to other options, or a batch does not fit into memory.
        DataError: The loss became NaN or infinite. The checkpoint contains the last good epoch.
    """
    steps = len(data.epoch(0, workers=1))
    optimizer = _optimizer(options, steps)
    model.compile(optimizer=optimizer, loss=loss, metrics=list(metrics), jit_compile=keras.backend.backend() == "jax")
    model.optimizer.build(model.trainable_variables)  # half precision wraps the optimizer with variables of its own
    state = restore(model, folder, signature) if resume else State()
    if resume and options.schedule == "constant":  # a checkpoint contains the learning rate of its training
        model.optimizer.learning_rate = options.learning_rate
    average = _Average(state, steps, options)
    with progress_bar() as progress, board(options.tensorboard) as log:
        task = progress.add_task("training", total=options.epochs * steps, completed=len(state.rows) * steps, note="")
        bar = Bar(progress, task, options.epochs)
        callbacks: list[keras.callbacks.Callback] = [bar, _Finite(options.epochs), average]
        for epoch in range(len(state.rows), options.epochs):
            if _stop(state, options):
                break
            started = time.monotonic()
            batches = data.epoch(epoch, workers=options.workers)
            # The data has its own seeded order. Keras' shuffling would differ after a resumption.
            history = _one_epoch(model, batches, epoch, callbacks)
            row: Row = {"epoch": epoch + 1, **{name: float(values[-1]) for name, values in history.items()}}
            if (epoch + 1) % options.evaluate_every == 0 or epoch + 1 == options.epochs:
                latest = snapshot(model)
                assign(model, state.average or latest)
                row |= evaluate()
                assign(model, latest)
                bar.note = note_of(row, options.watch)
            row["seconds"] = round(time.monotonic() - started, 2)
            state.rows.append(row)
            log(row)
            _keep_best(state, model, options.watch)
            save(model, state, folder, signature)
    kept = (options.watch is not None and state.best) or state.average
    if kept:
        assign(model, kept)
    return Fitted(state.rows, state.best_epoch if options.watch is not None else len(state.rows))


def write_history(path: Path, rows: list[Row]) -> None:
    """Write one line per epoch. A missing value leaves its column empty."""
    columns = list(dict.fromkeys(name for row in rows for name in row))
    with replacing(path) as temporary, temporary.open("w", newline="") as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerows(rows)


def _one_epoch(
    model: keras.Model, batches: keras.utils.PyDataset, epoch: int, callbacks: list[keras.callbacks.Callback]
) -> dict[str, list[float]]:
    try:
        history = model.fit(
            batches, initial_epoch=epoch, epochs=epoch + 1, shuffle=False, verbose=0, callbacks=callbacks
        )
    except Exception as error:
        failure = getattr(batches, "failure", None)
        if failure is not None:  # TensorFlow wraps the error of a worker
            raise failure from error
        if not _out_of_memory(error):
            raise
        inputs, truths = batches[0]
        fits = _fitting_batch(model, inputs, truths)
        advice = f"--batch {fits} fits" if fits else "not even one sample fits: give a smaller --input"
        msg = f"out of memory with --batch {len(inputs)}: {advice}"
        raise ConfigError(msg) from error
    found: dict[str, list[float]] = history.history
    return found


def _out_of_memory(error: Exception) -> bool:
    """Return True for an out-of-memory error of TensorFlow, JAX or PyTorch."""
    text = f"{type(error).__name__} {error}".lower()
    return any(words in text for words in ("out of memory", "resource_exhausted", "resourceexhausted", "outofmemory"))


def _fitting_batch(model: keras.Model, inputs: np.ndarray, truths: np.ndarray) -> int:
    """Return the largest batch, by halving, for which a step works; 0 if none works.

    The model cannot be used afterwards.
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
    known = [row[watch] for row in state.rows if watch in row]
    if known[-1] > max(known[:-1], default=-math.inf):
        state.best_epoch = len(state.rows)
        state.best = [array.copy() for array in state.average] or snapshot(model)


def _stop(state: State, options: FitOptions) -> bool:
    if options.watch is None or options.patience is None:
        return False
    since = [row for row in state.rows[state.best_epoch :] if options.watch in row]
    return len(since) >= options.patience


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


class _Average(keras.callbacks.Callback):
    """Callback that keeps the running average of a model's variables, from about twenty snapshots in its span."""

    def __init__(self, state: State, steps: int, options: FitOptions) -> None:
        super().__init__()
        self._state, self._steps, self._step = state, steps, 0
        span = options.average * options.epochs * steps
        self._every = max(1, round(span / 20))
        self._share = min(1.0, self._every / span) if span > 0 else 1.0

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        self._step = epoch * self._steps

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        self._step += 1
        if self._share == 1.0 or self._step % self._every:
            return
        if keras.backend.backend() == "jax":
            self.model.jax_state_sync()  # during training, the variables are elsewhere
        if not self._state.average:
            self._state.average = snapshot(self.model)
            return
        share = max(self._share, self._every / self._step)  # the first snapshots count equally
        for average, variable in zip(self._state.average, self.model.variables, strict=True):
            latest = variable.numpy()  # a view; `convert_to_numpy` would copy
            if average.dtype.kind == "f":
                change = np.subtract(latest, average)
                change *= share
                average += change
            else:
                average[...] = latest


class _Finite(keras.callbacks.Callback):
    """Callback that stops at the first batch with a loss of NaN or infinity."""

    def __init__(self, epochs: int) -> None:
        super().__init__()
        self._epochs, self._epoch = epochs, 0

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        self._epoch = epoch + 1

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        loss = float((logs or {}).get("loss", 0.0))
        if not math.isfinite(loss):
            advice = (
                f"continue from epoch {self._epoch - 1} with --resume and a lower --learning-rate"
                if self._epoch > 1
                else "lower --learning-rate; no epoch was completed"
            )
            msg = f"loss is {loss} in epoch {self._epoch}, batch {batch + 1}: {advice}"
            raise DataError(msg)
