"""A plan: how one model of the curriculum is built and trained where nothing else is asked for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

import keras

from orilla.runtime.tasks.task import Task

Head = Literal["gap", "flatten"]


@dataclass(frozen=True, slots=True)
class Build:
    """What a model's architecture depends on."""

    classes: int
    input: tuple[int, ...]
    """Height and width in pixels, or the length in tokens."""
    vocabulary: int = 0
    """Different tokens; of text models only."""
    weights: str | None = None
    """`imagenet`, a local file, or None."""
    head: Head = "gap"
    """How a picture model goes from its last grid to one vector."""
    dropout: float | None = None
    """The model's own where None."""


@dataclass(frozen=True, slots=True)
class Network:
    """A network and where its weights came from."""

    model: keras.Model
    """From RGB pictures `[N,H,W,3]`, values 0-255, or tokens `[N,T]` int32, to probabilities: `[N,C]`, or `[N,1]`
    of the second of two classes."""
    started: str = "random"


@dataclass(frozen=True, slots=True)
class Stage:
    """A part of the training."""

    epochs: int
    learning_rate: float
    until: str | None = None
    """The layers up to this one are frozen, and what they make of the data is computed once; None trains everything."""
    views: int = 1
    """How many random changes of each sample the frozen layers see."""


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
    """The least sides of the input."""
