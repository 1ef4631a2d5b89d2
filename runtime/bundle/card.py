"""The model card: the data, settings and accuracy of a training run."""

from __future__ import annotations

import msgspec

from orilla.runtime.tasks.decoding import Decoding


class Source(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The name and licence of a data set."""

    name: str
    title: str
    licence: str


class SplitCard(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The number and the hash of the samples in one split. Equal hashes mean equal data."""

    name: str
    """Name of the split: `train`, `choose` (to choose epochs and settings), `val` or `test` (to measure the reported
    metrics)."""
    count: int
    sha256: str


class DataCard(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The data of a training run, with the attribution that the licences require."""

    sources: tuple[Source, ...]
    splits: tuple[SplitCard, ...]
    """Splits of the data. No sample belongs to two splits."""
    skipped: tuple[str, ...] = ()
    """Name of each sample that could not be used, and the reason."""
    leaks_dropped: int = 0
    """Number of training samples that were dropped because they also occur in another split."""

    @property
    def title(self) -> str:
        """Return the titles of the data sets."""
        return " and ".join(source.title for source in self.sources)

    @property
    def licence(self) -> str:
        """Return the licences of the data sets, without duplicates."""
        return "; ".join(dict.fromkeys(source.licence for source in self.sources))


class EvaluationResult(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The accuracy of the float model on one split."""

    split: str
    metrics: dict[str, float]
    """Metrics by name. Each is from 0 to 1, except the errors of a regression, which have the unit of the value.
    `NAME/CLASS` is the metric NAME of one class or value, and `iou/NAME` is the IoU of the sequence NAME."""
    intervals: dict[str, tuple[float, float]]
    """95 % bootstrap confidence interval of each metric."""
    confusion: tuple[tuple[int, ...], ...] = ()
    """Confusion matrix: rows are true classes, columns are predictions. Empty if the task has no confusion matrix."""


class Card(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The model card. Training writes it as `card.json`, and the bundle contains it."""

    model: str
    task: str
    """Name of the task, one of `orilla.runtime.tasks.registry.TASKS`."""
    labels: tuple[str, ...]
    """Names of the classes that the model distinguishes: for a single-class segmentation, the name of the class, and
    for a regression, the names of the values."""
    data: DataCard
    start_weights: str
    """Initial weights: `random`, `imagenet`, or the name of a file and the layers whose weights it contained."""
    parameters: int
    """Number of parameters of the exported network."""
    input: tuple[int, ...]
    """Height and width of the network's input in pixels, or its length in tokens."""
    seed: int
    epochs: int
    """Number of epochs of all training phases together."""
    best_epoch: int
    """Epoch whose weights are kept."""
    batch: int
    learning_rate: float
    samples: int
    """Number of training samples per epoch."""
    seconds: float
    machine: str
    precision: str
    versions: dict[str, str]
    command: str
    measured: tuple[EvaluationResult, ...]
    """Results, one per split. The first result is reported."""
    search: dict[str, float | int | str] = {}
    """Method, number of trials and best values of the hyperparameter search. Empty if there was no search."""
    decoding: Decoding | msgspec.UnsetType = msgspec.UNSET
    """Settings of the task, such as the units of a regression. The key is absent in the file if all settings have their
    defaults."""

    @property
    def metrics(self) -> dict[str, float]:
        """Return the metrics of the reported split."""
        return self.measured[0].metrics
