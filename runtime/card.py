"""The model card: what was trained, on which data, how, and how good it is."""

from __future__ import annotations

import msgspec


class SplitCard(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One split of the data: equal hashes mean equal data."""

    name: str
    count: int
    sha256: str


class DataCard(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The data set, as its licence asks to be named."""

    name: str
    title: str
    licence: str
    splits: tuple[SplitCard, ...]


class Card(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Written by training as `card.json`, carried in the bundle."""

    model: str
    task: str
    label: str
    """The class that the model finds."""
    data: DataCard
    start_weights: str
    """What training started from: `random`, `imagenet`, or a file's name."""
    parameters: int
    """Of the network that leaves for the edge."""
    input_hw: tuple[int, int]
    seed: int
    epochs: int
    batch: int
    learning_rate: float
    samples: int
    """Training pictures seen in an epoch."""
    seconds: float
    machine: str
    versions: dict[str, str]
    command: str
    metrics: dict[str, float]
    """On the validation split, of the float model; `iou/NAME` is the IoU of sequence NAME."""
