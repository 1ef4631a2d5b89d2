"""The plan of a model: its architecture and its default training settings."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import keras

from orilla.train.data.augment import BatchChange

Head = Literal["gap", "flatten"]


@dataclass(frozen=True, slots=True)
class NetworkOptions:
    """The options that determine an architecture."""

    classes: int
    input: tuple[int, ...]
    """Height and width in pixels, or the length in tokens."""
    vocabulary: int = 0
    """Number of different tokens. Only for text models."""
    weights: str | None = None
    """`imagenet`, a local file, or None for random weights."""
    head: Head = "gap"
    """Layer that converts the last feature map to a vector: global average pooling or flatten."""
    dropout: float | None = None
    """Dropout rate; None for the model's own default."""
    width: float = 1.0
    """Factor for the number of channels. Only for segmentation models and detectors."""


@dataclass(frozen=True, slots=True)
class Network:
    """A network and the origin of its initial weights."""

    model: keras.Model
    """The network to train. It maps RGB images `[N,H,W,3]` with values 0-255, or tokens `[N,T]` int32, to the
    probabilities `[N,C]` of the classes. With two classes, it may instead return only the probability `[N,1]` of the
    second class. The outputs of segmentation models and detectors are described in their modules."""
    start_weights: str = "random"
    """Origin of the initial weights, for the card."""
    deployed: keras.Model | None = None
    """The part of `model` that is evaluated and saved. None if this is the whole model."""


@dataclass(frozen=True, slots=True)
class Phase:
    """A phase of a training run, with its own frozen layers and learning rate."""

    epochs: int
    learning_rate: float
    frozen_until: str | None = None
    """Name of the last frozen layer. The outputs of the frozen layers are computed once. If None, every layer is
    trained."""
    views: int = 1
    """Number of augmented views of each sample that the frozen layers process."""


@dataclass(frozen=True, slots=True)
class Plan:
    """The architecture of one model and its default training settings."""

    task: str
    build: Callable[[NetworkOptions], Network]
    input: tuple[int, ...]
    """Default height and width in pixels, or the default length in tokens."""
    phases: tuple[Phase, ...]
    batch: int = 32
    weight_decay: float = 1e-4
    augment: Callable[[], BatchChange] | None = None
    """Function that creates the augmentation layer; None for a model that is trained without augmentation."""
    vocabulary: int = 0
    """Maximum number of different tokens. Only for text models."""
    head: Head = "gap"
    minimum: tuple[int, ...] = ()
    """Minimum of each dimension of the input; empty for no minimum."""
    multiple: int = 1
    """Each dimension of the input must be a multiple of this number."""
    label: str | None = None
    """The only class that a segmentation model finds; None for all classes of the data set."""
