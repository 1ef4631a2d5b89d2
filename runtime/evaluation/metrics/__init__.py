"""Metrics with confidence intervals, shared by training, the export check and verification."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from orilla.devices.errors import DataError, unknown_name
from orilla.runtime.evaluation.datasets import Dataset, Sample
from orilla.runtime.evaluation.datasets.dataset import ArraySample, LabelledImage
from orilla.runtime.evaluation.metrics.arrays import ArrayMetrics
from orilla.runtime.evaluation.metrics.bootstrap import Interval
from orilla.runtime.evaluation.metrics.classification import ClassificationMetrics
from orilla.runtime.evaluation.metrics.segmentation import SegmentationMetrics, tally
from orilla.runtime.tasks import segment
from orilla.runtime.tasks.classify import class_scores
from orilla.runtime.tasks.task import Task


class Metrics(Protocol):
    """The metrics of a model on a set of samples."""

    def metrics(self, weights: NDArray[np.float64] | None = None) -> dict[str, float]:
        """Return the metrics by name. The task's primary metric is among them."""

    def intervals(self) -> dict[str, Interval]:
        """Return 95 % bootstrap intervals of the metrics."""


@dataclass(frozen=True, slots=True)
class GroundTruth:
    """Ground truth of one sample."""

    name: str
    value: NDArray[np.generic] | int
    """Index of the class in `Dataset.classes`, such an index for each pixel `[H,W]`, or the expected output values."""


@dataclass(frozen=True, slots=True)
class Target:
    """How the classes of a data set map to the outputs of a model."""

    task: Task
    labels: tuple[str, ...]
    """Labels of the model."""
    class_indices: tuple[int, ...]
    """For each class of the data set, its index in the model. For a segmentation, for each label, its index in the data
    set."""
    ignore: int


def truth_of(sample: Sample) -> GroundTruth:
    """Return a sample's ground truth, without its input."""
    if isinstance(sample, ArraySample):
        return GroundTruth(sample.name, -1 if sample.target is None else sample.target)
    return GroundTruth(sample.name, sample.labels if isinstance(sample, LabelledImage) else sample.label)


def target_of(dataset: Dataset, task: Task, labels: tuple[str, ...]) -> Target:
    """Match the classes of a data set with those of a model.

    If the data set has no class names, its class numbers are those of the model.

    Raises:
        ConfigError: The data set lacks a class of the model, or has one that the model does not know.
    """
    if task == "tensor" or (not dataset.classes and dataset.task == task):
        return Target(task, labels, tuple(range(len(labels))), dataset.ignore)
    if task == "segment" and dataset.classes == ("background", "mask") and len(labels) == 1:
        return Target(task, labels, (1,), dataset.ignore)
    if task != dataset.task:
        raise unknown_name(task, (dataset.task,), kind=f"task of {dataset.source.name}")
    missing = [name for name in labels if name not in dataset.classes]
    if missing and task == "segment":
        raise unknown_name(missing[0], dataset.classes, kind=f"class of {dataset.source.name}")
    if task == "segment":
        return Target(task, labels, tuple(dataset.classes.index(name) for name in labels), dataset.ignore)
    for name in dataset.classes:
        if name not in labels:
            raise unknown_name(name, labels, kind="class of the model")
    return Target(task, labels, tuple(labels.index(name) for name in dataset.classes), dataset.ignore)


def compute_metrics(target: Target, answers: Iterable[tuple[GroundTruth, NDArray[np.float32]]]) -> Metrics:
    """Compare a network's outputs with the ground truth.

    Args:
        target: The result of `target_of` for the model and the data set.
        answers: The ground truth and the output of each sample, without the batch axis. The outputs of a segmentation
            are counted one by one, so that they need not fit into memory together.

    Raises:
        DataError: The ground truth does not fit the outputs.
    """
    if target.task == "segment":
        return _segmentation_metrics(target, answers)
    if target.task == "tensor":
        pairs = [(output.ravel(), np.asarray(truth.value, np.float32).ravel()) for truth, output in answers]
        for output, expected in pairs:
            if output.size != expected.size:
                msg = f"the data has {expected.size} numbers per sample, but the model outputs {output.size}"
                raise DataError(msg)
        return ArrayMetrics(np.stack([output for output, _ in pairs]), np.stack([expected for _, expected in pairs]))
    labels, outputs = [], []
    for truth, output in answers:
        labels.append(target.class_indices[_known_class(target, int(truth.value), truth.name)])
        outputs.append(output)
    return ClassificationMetrics(class_scores(np.stack(outputs)), np.array(labels, np.int64), target.labels)


def check_labels(target: Target, dataset: Dataset) -> None:
    """Raise `DataError` if a sample of the `check_split` has a class number that the model does not have."""
    for index, label in enumerate(dataset.labels(dataset.check_split)):
        _known_class(target, label, str(index))


def _known_class(target: Target, label: int, name: str) -> int:
    """Return `label`. Raises `DataError` if the data set has no class of this number."""
    if not 0 <= label < len(target.class_indices):
        msg = f"sample {name} has class {label}: the classes are 0 to {len(target.class_indices) - 1}"
        raise DataError(msg)
    return label


def _segmentation_metrics(
    target: Target, answers: Iterable[tuple[GroundTruth, NDArray[np.float32]]]
) -> SegmentationMetrics:
    names, tallies = [], []
    for truth, output in answers:
        labels = np.asarray(truth.value)
        height, width = labels.shape
        result = segment.decode(output, (height, width), target.labels[0])
        names.append(truth.name)
        tallies.append(tally(result.resized, labels == target.class_indices[0], labels != target.ignore))
    return SegmentationMetrics(names, tallies)
