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
    """The metrics of a model on some samples."""

    def metrics(self, weights: NDArray[np.float64] | None = None) -> dict[str, float]:
        """Return the metrics by name. The task's primary metric is among them."""

    def intervals(self) -> dict[str, Interval]:
        """Return 95 % bootstrap intervals of the metrics."""


@dataclass(frozen=True, slots=True)
class GroundTruth:
    """Ground truth of one sample."""

    name: str
    value: NDArray[np.generic] | int
    """Class of each pixel `[H,W]`, or the class, in the numbers of the data set; or values of the output."""


@dataclass(frozen=True, slots=True)
class Target:
    """The relation between a model's answers and a data set."""

    task: Task
    labels: tuple[str, ...]
    """Labels of the model."""
    places: tuple[int, ...]
    """The model's number of each class of the data set; for a segmentation, the data set's number of each label."""
    ignore: int


def truth_of(sample: Sample) -> GroundTruth:
    """Return a sample's ground truth, without its input."""
    if isinstance(sample, ArraySample):
        return GroundTruth(sample.name, -1 if sample.target is None else sample.target)
    return GroundTruth(sample.name, sample.labels if isinstance(sample, LabelledImage) else sample.label)


def target_of(dataset: Dataset, task: Task, labels: tuple[str, ...]) -> Target:
    """Relate a model to a data set.

    A data set without class names numbers its classes like the model.

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
        target: The relation between the outputs and the data set.
        answers: The ground truth and the output, without the batch axis, of each sample. Outputs of a segmentation are
            counted one by one, so that they need not fit into memory together.

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
        labels.append(target.places[_checked(target, int(truth.value), truth.name)])
        outputs.append(output)
    return ClassificationMetrics(class_scores(np.stack(outputs)), np.array(labels, np.int64), target.labels)


def check_labels(target: Target, dataset: Dataset) -> None:
    """Raise `DataError` for a class number that the model does not have."""
    for index, label in enumerate(dataset.labels(dataset.check_split)):
        _checked(target, label, str(index))


def _checked(target: Target, label: int, name: str) -> int:
    if not 0 <= label < len(target.places):
        msg = f"sample {name} has class {label}: the classes are 0 to {len(target.places) - 1}"
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
        tallies.append(tally(result.resized, labels == target.places[0], labels != target.ignore))
    return SegmentationMetrics(names, tallies)
