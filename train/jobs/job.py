"""A job: the parts of one training, for any model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from orilla.runtime.evaluation.datasets import Sample
from orilla.runtime.preprocessing.image import Preprocess
from orilla.runtime.preprocessing.text import TextPreprocess
from orilla.train.fit.training import Data, FitOptions


@dataclass(frozen=True, slots=True)
class StageJob:
    """One call of `fit`."""

    model: keras.Model
    data: Data
    loss: keras.losses.Loss | str
    metrics: tuple[str, ...]
    evaluate: Callable[[], dict[str, float]]
    options: FitOptions


@dataclass(frozen=True, slots=True)
class Job:
    """A model to train, with its data and stages."""

    network: keras.Model
    """Network that is exported. The stages train its layers."""
    started: str
    labels: tuple[str, ...]
    preprocess: Preprocess | TextPreprocess
    vocabulary: tuple[str, ...]
    prepare: Callable[[Sample], NDArray[Any]]
    stages: tuple[Callable[[], StageJob], ...]
    """Stages, created one after the other, because a later stage freezes what an earlier one trained."""
    batch: int
    learning_rate: float
    epochs: int
    """Epochs of the last stage."""


def in_float32(network: keras.Model) -> keras.Model:
    """Return the same network in float32, the arithmetic of the edge, if it was trained in half precision."""
    keras.config.set_dtype_policy("float32")  # layers without a policy of their own use this one
    config = _replaced(network.get_config())
    exact = type(network).from_config(config)
    exact.set_weights(network.get_weights())
    return exact


def _replaced(config: Any) -> Any:
    """Return a layer's configuration with every mixed-precision policy replaced."""
    if isinstance(config, dict):
        return {key: _replaced(value) for key, value in config.items()}
    if isinstance(config, list | tuple):
        return type(config)(_replaced(value) for value in config)
    return "float32" if isinstance(config, str) and config.startswith("mixed_") else config


def is_float32(network: keras.Model) -> bool:
    """Return True if no layer computes in half precision."""
    return all(np.dtype(layer.compute_dtype).itemsize >= 4 for layer in network.layers if layer.compute_dtype)
