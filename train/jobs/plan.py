"""Plans: architecture and default training of each course model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

import keras

from orilla.runtime.tasks.task import Task

Head = Literal["gap", "flatten"]


@dataclass(frozen=True, slots=True)
class Build:
    """Options of a model's architecture."""

    classes: int
    input: tuple[int, ...]
    """Height and width in pixels, or the length in tokens."""
    vocabulary: int = 0
    """Number of different tokens; text models only."""
    weights: str | None = None
    """Initial weights: `imagenet`, a local file, or None."""
    head: Head = "gap"
    """Layer between the last grid and the classifier of an image model."""
    dropout: float | None = None
    """Dropout rate. None uses the model's own."""


@dataclass(frozen=True, slots=True)
class Network:
    """A network and the origin of its weights."""

    model: keras.Model
    """Model from RGB images `[N,H,W,3]`, values 0–255, or tokens `[N,T]` int32, to probabilities: `[N,C]`, or `[N,1]`
    for the second of two classes."""
    started: str = "random"


@dataclass(frozen=True, slots=True)
class Stage:
    """A part of the training."""

    epochs: int
    learning_rate: float
    until: str | None = None
    """Last frozen layer. The outputs of the frozen layers are computed once. None trains everything."""
    views: int = 1
    """Random changes per sample for the frozen layers."""


@dataclass(frozen=True, slots=True)
class Plan:
    """Defaults of one model."""

    task: Task
    build: Callable[[Build], Network]
    input: tuple[int, ...]
    stages: tuple[Stage, ...]
    batch: int = 32
    weight_decay: float = 1e-4
    augment: Callable[[], keras.layers.Layer] | None = None
    vocabulary: int = 0
    head: Head = "gap"
    minimum: tuple[int, ...] = field(default=())
    """Minimum sides of the input."""
