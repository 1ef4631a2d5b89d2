"""Measure the accuracy of a session on labelled data. Benchmarks and `verify` use the same code."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from orilla.devices.errors import DataError, InvalidOutputError
from orilla.runtime.bundle.bundle import Bundle
from orilla.runtime.bundle.manifest import Manifest
from orilla.runtime.engines.session import Session
from orilla.runtime.evaluation.datasets import Dataset, open_dataset
from orilla.runtime.evaluation.datasets.pixel_arrays import as_images
from orilla.runtime.evaluation.datasets.raw import prepared
from orilla.runtime.evaluation.targets import target_of, truth_of
from orilla.runtime.preprocessing.tensor_spec import Outputs
from orilla.runtime.tasks.metrics import Metrics
from orilla.runtime.tasks.registry import task_of
from orilla.runtime.tasks.task import GroundTruth


class Accuracy(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The accuracy of a session on one split of a data set."""

    data: str
    """Name of the data set."""
    split: str
    count: int
    """Number of samples."""
    metric: str
    """Name of the task's primary metric."""
    value: float
    """Value of the primary metric, 0–1."""
    interval: tuple[float, float]
    """95 % confidence interval of the primary metric, by bootstrap."""
    metrics: dict[str, float]
    """All metrics. The keys are the names."""
    drop: float | None
    """Drop of the primary metric compared with the original model, in percentage points.

    None if the export did not check the bundle on the same data.
    """


def open_labelled(path: str, manifest: Manifest) -> Dataset:
    """Open a labelled data set whose classes match those of a model.

    Raises:
        DataError: The data set has no labels.
        ConfigError: Its classes do not match those of the model.
    """
    dataset = open_dataset(path)
    if manifest.preprocess.takes_images:
        dataset = as_images(dataset)
    if not dataset.splits:
        msg = f"data set {path} has no labelled samples"
        raise DataError(msg)
    if not dataset.has_labels:
        msg = f"{path} has no labels, so accuracy cannot be measured"
        raise DataError(msg)
    target_of(dataset, manifest.task, manifest.context)
    return dataset


def evaluate_session(bundle: Bundle, session: Session, dataset: Dataset) -> Metrics:
    """Run a session on the `check_split` of a data set and return the metrics.

    Raises:
        InvalidOutputError: An output for a sample contains NaN or infinity.
    """
    preprocessor, split, manifest = bundle.preprocessor(), dataset.check_split, bundle.manifest
    samples = (dataset.load(split, index) for index in range(len(dataset.names(split))))
    task = task_of(manifest.task)

    def answers() -> Iterator[tuple[GroundTruth, Outputs]]:
        for sample in samples:
            outputs = session.run(prepared(sample, preprocessor))
            try:
                task.check_finite(outputs, manifest.context)
            except InvalidOutputError as error:
                msg = f"sample {sample.name}: {error}"
                raise InvalidOutputError(msg) from error
            yield truth_of(sample), outputs

    return target_of(dataset, manifest.task, manifest.context).metrics(answers())


def is_export_data(manifest: Manifest, dataset: Dataset) -> bool:
    """Return True if the export checked the bundle on the same samples and labels."""
    report, split = manifest.report, dataset.check_split
    return (
        report.truth == "labels"
        and dataset.digest(split) == report.sha256
        and len(dataset.names(split)) == report.count
    )


def accuracy(bundle: Bundle, session: Session, dataset: Dataset) -> Accuracy:
    """Measure the accuracy of a session on the `check_split` of a data set."""
    manifest, split = bundle.manifest, dataset.check_split
    computed, metric = evaluate_session(bundle, session, dataset), task_of(manifest.task).metric
    metrics = computed.metrics()
    drop = 100 * (manifest.report.metrics[metric] - metrics[metric]) if is_export_data(manifest, dataset) else None
    low, high = computed.intervals()[metric]
    return Accuracy(
        dataset.source.name,
        split,
        len(dataset.names(split)),
        metric,
        metrics[metric],
        (low, high),
        metrics,
        None if drop is None else round(drop, 4),
    )
