"""Training job for segmentation models."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import keras
import numpy as np
from numpy.typing import NDArray

from orilla.devices.errors import ConfigError, DataError
from orilla.devices.progress import Progress
from orilla.runtime.evaluation.datasets import Dataset, LabelledImage, Sample
from orilla.runtime.evaluation.datasets.dataset import Item
from orilla.runtime.preprocessing.image import Preprocess, prepare
from orilla.runtime.tasks.decoding import PLAIN, Decoding
from orilla.runtime.tasks.registry import task_of
from orilla.runtime.tasks.segmentation import MAX_CLASSES
from orilla.runtime.tasks.task import DecodeContext
from orilla.train.data.road import RoadData
from orilla.train.data.segment import SegmentData
from orilla.train.data.splits import Splits
from orilla.train.evaluate import evaluate
from orilla.train.fit.losses import RoadLoss, SegmentLoss
from orilla.train.fit.training import FitOptions, FitTask
from orilla.train.jobs.job import Job, check_task, fit_options, network_options, shares_of
from orilla.train.jobs.plan import Plan
from orilla.train.models import from_bundle, load_plan
from orilla.train.options import TrainOptions

EVALUATE_EVERY = 5

CALIBRATION_IMAGES = 48
"""Maximum number of training images from which the statistics of the batch norm are computed, if the initial weights
are those of a bundle."""

SOFTMAX = Decoding(activation="softmax")
"""Decoding settings for a multi-class network that outputs logits."""


def segment_job(options: TrainOptions, dataset: Dataset, splits: Splits) -> Job:
    """Build the network and its only phase.

    Raises:
        ConfigError: The input size or the weights do not fit the model.
        DataError: The data set has no masks, or lacks the class of the model.
    """
    plan = load_plan(options.model)
    network_settings = network_options(options, plan, dataset)
    _check_data(options, plan, dataset, splits)
    label = _label_in(dataset, plan.label)
    labels = dataset.classes if label is None else (label,)
    preprocess = Preprocess(size_hw=(network_settings.input[0], network_settings.input[1]))
    network = plan.build(network_settings)
    deployed = network.deployed or network.model
    if from_bundle.is_bundle(options.weights):
        from_bundle.calibrate(network.model, _first_images(dataset, splits.train, preprocess))
    batch = options.batch or plan.batch
    fitting = fit_options(options, splits, "iou", EVALUATE_EVERY)
    watched, prefix = splits.watched
    decoding = SOFTMAX if label is None else PLAIN
    shares = shares_of(options, dataset, splits)

    def prepare_sample(sample: Sample) -> NDArray[np.uint8]:
        assert isinstance(sample, LabelledImage)
        return prepare(sample.image, preprocess)

    def evaluate_watched() -> dict[str, float]:
        context = DecodeContext(labels, preprocess, decoding=decoding)
        metrics = evaluate(deployed, dataset, watched, context, prepare_sample).metrics()
        return {f"{prefix}_{name}": metrics[name] for name in ("iou", "pixel_accuracy")}

    def phase(progress: Progress) -> FitTask:
        del progress  # No outputs of frozen layers are computed in advance.
        augment = plan.augment() if plan.augment is not None and options.augment else None
        grid_hw = (deployed.output.shape[1], deployed.output.shape[2])
        data = SegmentData(dataset, splits.train, preprocess, batch, options.seed, augment, shares, grid_hw=grid_hw)
        return _fit_task(network.model, data, label, evaluate_watched, fitting)

    return Job(
        network=deployed,
        start_weights=network.start_weights,
        labels=labels,
        preprocess=preprocess,
        vocabulary=(),
        prepare=prepare_sample,
        phases=(phase,),
        batch=batch,
        learning_rate=fitting.learning_rate,
        epochs=fitting.epochs,
        decoding=decoding,
    )


def _fit_task(
    model: keras.Model,
    data: SegmentData,
    label: str | None,
    evaluate_watched: Callable[[], dict[str, float]],
    fitting: FitOptions,
) -> FitTask:
    """Return the task of the phase. If `label` is not None, it is the only class that the model finds."""
    classes = len(data.dataset.classes)
    if label is None:
        return FitTask(model, data, SegmentLoss(classes), evaluate_watched, fitting)
    return FitTask(model, RoadData.of(data, label), RoadLoss(classes), evaluate_watched, fitting)


def _first_images(dataset: Dataset, items: Sequence[Item], preprocess: Preprocess) -> NDArray[np.float32]:
    """Return evenly spread training images, prepared but not augmented, `[N,H,W,3]`."""
    chosen = items[:: -(-len(items) // CALIBRATION_IMAGES)]
    images = [sample.image for sample in (dataset.load(*item) for item in chosen) if isinstance(sample, LabelledImage)]
    return np.stack([prepare(image, preprocess) for image in images]).astype(np.float32)


def _label_in(dataset: Dataset, label: str | None) -> str | None:
    """Return the spelling of a class in a data set. CamVid's lists have `Road`, others have `road`."""
    return next((name for name in dataset.classes if label is not None and name.lower() == label.lower()), label)


def _check_data(options: TrainOptions, plan: Plan, dataset: Dataset, splits: Splits) -> None:
    if plan.label is None:
        _check_classes(options, plan, dataset, splits)
        return
    name_in_data = _label_in(dataset, plan.label)
    if not task_of(dataset.task).labels_pixels or name_in_data not in dataset.classes:
        classes = ", ".join(dataset.classes[:20])
        msg = f"data set {dataset.source.name} has no class {plan.label!r}: its classes are {classes}"
        raise DataError(msg)
    label = dataset.classes.index(name_in_data)
    for name, items in (("train", splits.train), (splits.reported, splits.report)):
        if not any((mask == label).any() for mask in _masks(dataset, items)):
            msg = f"no mask of the {name} split contains the class {plan.label!r}: check the pixel values of the masks"
            raise DataError(msg)


def _check_classes(options: TrainOptions, plan: Plan, dataset: Dataset, splits: Splits) -> None:
    """Raise an error if the number of classes is unsuitable, or if the training masks lack one of the classes."""
    check_task(options, plan, dataset)
    classes = dataset.classes
    if not 2 <= len(classes) <= MAX_CLASSES:
        msg = f"{options.model} needs 2 to {MAX_CLASSES} classes, but {dataset.source.name} has {len(classes)}"
        raise ConfigError(msg)
    missing = set(range(len(classes)))
    for mask in _masks(dataset, splits.train):
        missing -= set(np.unique(mask).tolist())
        if not missing:
            break
    else:
        name = classes[min(missing)]
        msg = f"no mask of the train split contains the class {name!r}: check the pixel values of the masks"
        raise DataError(msg)
    if not any((mask < len(classes)).any() for mask in _masks(dataset, splits.report)):
        msg = f"no mask of the {splits.reported} split contains a labelled pixel: check the pixel values of the masks"
        raise DataError(msg)


def _masks(dataset: Dataset, items: Sequence[Item]) -> Iterator[NDArray[np.uint8]]:
    for item in items:
        sample = dataset.load(*item)
        assert isinstance(sample, LabelledImage)
        yield sample.labels
