"""A job: the network, the data and the phases of one training run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from orilla.devices.errors import ConfigError, DataError
from orilla.devices.progress import Progress
from orilla.runtime.evaluation.datasets import Dataset, Sample
from orilla.runtime.preprocessing.image import Preprocess
from orilla.runtime.preprocessing.text import TextPreprocess
from orilla.runtime.tasks.decoding import PLAIN, Decoding
from orilla.runtime.tasks.heads.head import HeadSpec
from orilla.runtime.tasks.task import DecodeContext
from orilla.train.data.combined import CombinedDataset
from orilla.train.data.shares import Shares, split_share
from orilla.train.data.splits import Splits
from orilla.train.fit.training import FitOptions, FitTask
from orilla.train.jobs import JOBS
from orilla.train.jobs.plan import NetworkOptions, Plan
from orilla.train.models import load_plan, models_for
from orilla.train.options import TrainOptions


@dataclass(frozen=True, slots=True)
class Job:
    """The network, the data and the phases of one training run, for any model."""

    network: keras.Model
    """The network that is evaluated and saved. The phases train its layers."""
    start_weights: str
    """Origin of the initial weights, for the card."""
    labels: tuple[str, ...]
    preprocess: Preprocess | TextPreprocess
    vocabulary: tuple[str, ...]
    """Words in the order of their tokens. Empty for images."""
    prepare: Callable[[Sample], NDArray[Any]]
    """Function that converts a sample into the network's input."""
    phases: tuple[Callable[[Progress], FitTask], ...]
    """Functions that return the task of each phase. Each is called when its phase begins, because a later phase may
    freeze layers that an earlier phase trains."""
    batch: int
    learning_rate: float
    """Maximum learning rate of the last phase."""
    epochs: int
    """Number of epochs of the last phase."""
    head: HeadSpec | None = None
    """Layout of a detector's outputs. None for other tasks."""
    decoding: Decoding = PLAIN
    """Settings of the task."""

    @property
    def context(self) -> DecodeContext:
        """Return the properties of the network that its task needs to decode outputs."""
        return DecodeContext(self.labels, self.preprocess, head=self.head, decoding=self.decoding)


def make_job(options: TrainOptions, dataset: Dataset, splits: Splits) -> Job:
    """Build the network of a model and prepare its training.

    Raises:
        ConfigError: The weights or the input size do not fit the model.
        DataError: The model is for a different task.
    """
    module, _, name = JOBS[load_plan(options.model).task].partition(":")
    job: Job = getattr(import_module(module), name)(options, dataset, splits)
    return job


def check_task(options: TrainOptions, plan: Plan, dataset: Dataset) -> None:
    """Raise `DataError` if a data set and a model have different tasks. The message names the suitable models."""
    if dataset.task != plan.task:
        suitable = " or ".join(models_for(dataset.task))
        advice = f"train {suitable}" if suitable else "no model of `orilla train` supports this task"
        msg = f"{options.model} cannot be trained on {dataset.source.name} (task {dataset.task}): {advice}"
        raise DataError(msg)


def network_options(options: TrainOptions, plan: Plan, dataset: Dataset) -> NetworkOptions:
    """Return the options of the architecture.

    Raises:
        ConfigError: The model does not accept the input size.
    """
    return NetworkOptions(
        classes=len(dataset.classes),
        input=input_size(options, plan),
        vocabulary=plan.vocabulary,
        weights=None if options.weights == "none" else options.weights,
        head=options.head or plan.head,
        dropout=options.dropout,
        width=1.0 if options.width is None else options.width,
    )


def fit_options(options: TrainOptions, splits: Splits, metric: str, evaluate_every: int) -> FitOptions:
    """Return the options of a training run with one phase.

    Args:
        options: The options of the user. If an option is None, the value in the model's plan is used.
        splits: The samples by use.
        metric: Name of the metric by which the best epoch is chosen.
        evaluate_every: Number of epochs between two evaluations.
    """
    plan = load_plan(options.model)
    return FitOptions(
        epochs=options.epochs or plan.phases[-1].epochs,
        learning_rate=options.learning_rate or plan.phases[-1].learning_rate,
        weight_decay=plan.weight_decay if options.weight_decay is None else options.weight_decay,
        schedule=options.schedule,
        evaluate_every=evaluate_every,
        watch=f"{splits.watched[1]}_{metric}" if options.chooses_epoch and splits.choose else None,
        patience=options.patience,
    )


def shares_of(options: TrainOptions, dataset: Dataset, splits: Splits) -> Shares | None:
    """Return the share of each data set in an epoch, or None if no share is stated."""
    shares = [split_share(spec)[1] for spec in (options.data, *options.extra_data)]
    if not isinstance(dataset, CombinedDataset) or not any(shares):
        return None
    return Shares(dataset.parts_of(splits.train), shares)


def input_size(options: TrainOptions, plan: Plan) -> tuple[int, ...]:
    """Return the size of the network's input: height and width, or the length in tokens.

    Raises:
        ConfigError: The model does not accept the size.
    """
    size = options.input or plan.input
    text = "x".join(map(str, size))
    if len(size) != len(plan.input):
        kind = "height and width, as in 150x150" if len(plan.input) == 2 else "a length in tokens, as in 200"
        msg = f"input={text}: {options.model} takes {kind}"
        raise ConfigError(msg)
    minimum = plan.minimum or (1,) * len(size)
    if any(side < bound for side, bound in zip(size, minimum, strict=True)):
        msg = f"input={text}: {options.model} needs {'x'.join(map(str, minimum))} or more"
        raise ConfigError(msg)
    if any(side % plan.multiple for side in size):
        msg = f"input={text}: {options.model} needs multiples of {plan.multiple}"
        raise ConfigError(msg)
    return size


def in_float32(network: keras.Model) -> keras.Model:
    """Return a network that computes in float32, as devices do. It is a copy if the network used half precision."""
    if all(np.dtype(layer.compute_dtype).itemsize >= 4 for layer in network.layers if layer.compute_dtype):
        return network
    keras.config.set_dtype_policy("float32")  # Layers without their own policy use this policy.
    config = _without_mixed_precision(network.get_config())
    copy = type(network).from_config(config)
    copy.set_weights(network.get_weights())
    return copy


def _without_mixed_precision(config: Any) -> Any:
    """Return a layer's configuration with float32 for every policy of mixed precision."""
    if isinstance(config, dict):
        return {key: _without_mixed_precision(value) for key, value in config.items()}
    if isinstance(config, list | tuple):
        return type(config)(_without_mixed_precision(value) for value in config)
    return "float32" if isinstance(config, str) and config.startswith("mixed_") else config
