"""Read the ground truth of samples, and match the classes of data sets with the outputs of models."""

from __future__ import annotations

from orilla.devices.errors import ConfigError, unknown_name
from orilla.runtime.evaluation.datasets import Dataset, Sample
from orilla.runtime.evaluation.datasets.dataset import ArraySample, BoxedImage, LabelledImage, MeasuredImage
from orilla.runtime.tasks.classify import known_class
from orilla.runtime.tasks.metrics.detection import BoxTruth
from orilla.runtime.tasks.registry import task_of
from orilla.runtime.tasks.task import DecodeContext, GroundTruth, Target


def truth_of(sample: Sample) -> GroundTruth:
    """Return a sample's ground truth, without its input."""
    if isinstance(sample, ArraySample):
        return GroundTruth(sample.name, -1 if sample.target is None else sample.target)
    if isinstance(sample, BoxedImage):
        frame_hw = (sample.image.shape[0], sample.image.shape[1])
        return GroundTruth(sample.name, BoxTruth(sample.boxes_xyxy, sample.classes, sample.crowd, frame_hw))
    if isinstance(sample, MeasuredImage):
        return GroundTruth(sample.name, sample.values)
    return GroundTruth(sample.name, sample.labels if isinstance(sample, LabelledImage) else sample.label)


def target_of(dataset: Dataset, task: str, context: DecodeContext) -> Target:
    """Match the classes of a data set with those of a model.

    If the data set has no class names, its class indices are those of the model.

    Args:
        dataset: The data set.
        task: Name of the model's task.
        context: Properties of the model.

    Raises:
        ConfigError: The data set is for a different task, lacks a class of the model, has a class that the model does
            not know, or states a value in a unit that differs from the model's.
    """
    known, labels = task_of(task), context.labels
    if known.needs_labels and dataset.task != task:
        raise unknown_name(task, (dataset.task,), kind=f"task of {dataset.source.name}")
    if not dataset.classes:
        return Target(known, context, tuple(range(len(labels))), dataset.ignore)
    indices = known.class_indices(dataset.classes, labels, dataset.source.name)
    _check_units(dataset, context, indices)
    return Target(known, context, indices, dataset.ignore)


def _check_units(dataset: Dataset, context: DecodeContext, indices: tuple[int, ...]) -> None:
    """Raise `ConfigError` if a value has one unit in the data set and another one in the model."""
    if not dataset.decoding.units or not context.decoding.units:
        return
    for label, unit, index in zip(context.labels, context.decoding.units, indices, strict=True):
        other = dataset.decoding.units[index]
        if unit and other and unit != other:
            msg = f"{label} is in {unit} for the model, but in {other} in {dataset.source.name}: convert the data"
            raise ConfigError(msg)


def check_labels(target: Target, dataset: Dataset) -> None:
    """Raise `DataError` if a sample of the `check_split` has a class index that the model does not have."""
    for index, label in enumerate(dataset.labels(dataset.check_split)):
        known_class(target, label, str(index))
