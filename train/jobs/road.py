"""Training job for the road model."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from orilla.devices.errors import DataError
from orilla.devices.progress import Progress
from orilla.runtime.evaluation.datasets import Dataset, LabelledImage, Sample
from orilla.runtime.evaluation.datasets.dataset import Item
from orilla.runtime.preprocessing.image import Preprocess, prepare
from orilla.runtime.tasks.task import DecodeContext
from orilla.train.data.road import RoadData
from orilla.train.data.splits import Splits
from orilla.train.evaluate import evaluate
from orilla.train.fit.losses import RoadLoss
from orilla.train.fit.training import FitOptions, FitTask
from orilla.train.jobs.job import Job, input_size
from orilla.train.jobs.plan import NetworkOptions
from orilla.train.models import load_plan
from orilla.train.options import TrainOptions

LABEL = "road"
EVALUATE_EVERY = 5


def road_job(options: TrainOptions, dataset: Dataset, splits: Splits) -> Job:
    """Build the network and its one phase.

    Raises:
        ConfigError: The input size or the weights do not fit the model.
        DataError: The data set has no road.
    """
    plan = load_plan(options.model)
    size = input_size(options, plan)
    _check_data(dataset, splits)
    preprocess = Preprocess(size_hw=(size[0], size[1]))
    network = plan.build(
        NetworkOptions(
            classes=len(dataset.classes),
            input=size,
            weights=None if options.weights == "none" else options.weights,
            width=1.0 if options.width is None else options.width,
        )
    )
    deployed = network.deployed or network.model
    batch = options.batch or plan.batch
    fit_options = _fit_options(options, splits)
    watched, prefix = splits.watched

    def prepare_sample(sample: Sample) -> NDArray[np.uint8]:
        assert isinstance(sample, LabelledImage)
        return prepare(sample.image, preprocess)

    def evaluate_watched() -> dict[str, float]:
        metrics = evaluate(deployed, dataset, watched, DecodeContext((LABEL,)), prepare_sample).metrics()
        return {f"{prefix}_{name}": metrics[name] for name in ("iou", "pixel_accuracy")}

    def phase(progress: Progress) -> FitTask:
        del progress  # There are no frozen layers to compute.
        augment = plan.augment() if plan.augment is not None and options.augment else None
        grid_hw = (deployed.output.shape[1], deployed.output.shape[2])
        data = RoadData(dataset, splits.train, LABEL, preprocess, grid_hw, batch, options.seed, augment)
        return FitTask(network.model, data, RoadLoss(len(dataset.classes)), evaluate_watched, fit_options)

    return Job(
        network=deployed,
        start_weights=network.start_weights,
        labels=(LABEL,),
        preprocess=preprocess,
        vocabulary=(),
        prepare=prepare_sample,
        phases=(phase,),
        batch=batch,
        learning_rate=fit_options.learning_rate,
        epochs=fit_options.epochs,
    )


def _fit_options(options: TrainOptions, splits: Splits) -> FitOptions:
    plan = load_plan(options.model)
    return FitOptions(
        epochs=options.epochs or plan.phases[-1].epochs,
        learning_rate=options.learning_rate or plan.phases[-1].learning_rate,
        weight_decay=plan.weight_decay if options.weight_decay is None else options.weight_decay,
        schedule=options.schedule,
        evaluate_every=EVALUATE_EVERY,
        watch=f"{splits.watched[1]}_iou" if options.chooses_epoch and splits.choose else None,
        patience=options.patience,
    )


def _check_data(dataset: Dataset, splits: Splits) -> None:
    if dataset.task != "segment" or LABEL not in dataset.classes:
        classes = ", ".join(dataset.classes[:20])
        msg = f"data set {dataset.source.name} has no class {LABEL!r}: its classes are {classes}"
        raise DataError(msg)
    for name, items in (("train", splits.train), (splits.reported, splits.report)):
        if not _has_road(dataset, items):
            msg = f"no mask of the {name} split contains the class {LABEL!r}: check the pixel values of the masks"
            raise DataError(msg)


def _has_road(dataset: Dataset, items: Sequence[Item]) -> bool:
    road = dataset.classes.index(LABEL)
    samples = (dataset.load(*item) for item in items)
    return any(isinstance(sample, LabelledImage) and (sample.labels == road).any() for sample in samples)
