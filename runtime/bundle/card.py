"""The model card: what was trained, on which data, how, and how good it is."""

from __future__ import annotations

import msgspec

from orilla.runtime.tasks.task import Task


class Source(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where a data set comes from, as a model card states it."""

    name: str
    title: str
    licence: str


class SplitCard(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Samples that were used together: equal hashes mean equal data."""

    name: str
    """`train`; `choose`, on which epochs and settings were chosen; `val` or `test`, on which the model is reported."""
    count: int
    sha256: str


class DataCard(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The data, as its licences ask to be named."""

    sources: tuple[Source, ...]
    splits: tuple[SplitCard, ...]
    """No sample is in two of them."""
    skipped: tuple[str, ...] = ()
    """Samples that can't be used, with the reason."""
    leaks_dropped: int = 0
    """Training samples left out because they are in another split too."""

    @property
    def title(self) -> str:
        return " and ".join(source.title for source in self.sources)

    @property
    def licence(self) -> str:
        return "; ".join(dict.fromkeys(source.licence for source in self.sources))


class EvaluationResult(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How good the float model is on some samples."""

    split: str
    metrics: dict[str, float]
    """0-1; `NAME/CLASS` is of one class, `iou/NAME` of sequence NAME."""
    intervals: dict[str, tuple[float, float]]
    """95 % bootstrap intervals of the metrics."""
    confusion: tuple[tuple[int, ...], ...] = ()
    """Rows are true classes, columns are said ones; empty where the task has none."""


class Card(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Written by training as `card.json`, carried in the bundle."""

    model: str
    task: Task
    labels: tuple[str, ...]
    """The classes that the model tells apart; of a segmentation the one that it finds."""
    data: DataCard
    start_weights: str
    """What training started from: `random`, `imagenet`, or a file's name and the layers that it covered."""
    parameters: int
    """Of the network that leaves for the edge."""
    input: tuple[int, ...]
    """Height and width of the network's input in pixels, or its length in tokens."""
    seed: int
    epochs: int
    """Trained in all, over all stages."""
    best_epoch: int
    """Whose weights are kept."""
    batch: int
    learning_rate: float
    samples: int
    """Training samples seen in an epoch."""
    seconds: float
    machine: str
    precision: str
    versions: dict[str, str]
    command: str
    measured: tuple[EvaluationResult, ...]
    """The split that is reported comes first."""
    search: dict[str, float | int | str] = {}
    """How the settings were found: method, trials, and what was chosen; empty where nobody searched."""

    @property
    def metrics(self) -> dict[str, float]:
        """Of the split that is reported."""
        return self.measured[0].metrics
