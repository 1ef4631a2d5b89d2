"""The job of the road model."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import keras
import numpy as np
from numpy.typing import NDArray

from orilla.devices.errors import ConfigError, DataError
from orilla.runtime.evaluation.datasets import Dataset, LabelledImage, Sample
from orilla.runtime.evaluation.datasets.dataset import Item
from orilla.runtime.preprocessing.image import Preprocess, prepare
from orilla.train.data.road import RoadData
from orilla.train.data.splits import Splits
from orilla.train.evaluate import evaluate
from orilla.train.fit.losses import RoadLoss
from orilla.train.fit.training import FitOptions
from orilla.train.jobs.job import Job, StageJob
from orilla.train.models import road
from orilla.train.options import TrainOptions

LABEL = "road"
EPOCHS, BATCH, LEARNING_RATE = 60, 8, 1e-3
EVALUATE_EVERY = 5


def road_job(options: TrainOptions, dataset: Dataset, splits: Splits) -> Job:
    """Build the network and its one stage.

    Raises:
        ConfigError: Input or weights do not fit.
        DataError: The data set has no road.
    """
    input_hw = _input(options)
    if dataset.task != "segment" or LABEL not in dataset.classes:
        msg = (
            f"data set {dataset.source.name} has no class {LABEL!r}: its classes are {', '.join(dataset.classes[:20])}"
        )
        raise DataError(msg)
    for name, items in (("train", splits.train), (splits.reported, splits.report)):
        _require_road(dataset, name, items)
    preprocess = Preprocess(size_hw=input_hw)
    model = _model(options, input_hw, len(dataset.classes))
    network = road.deployable(model)

    def ready(sample: Sample) -> NDArray[np.uint8]:
        assert isinstance(sample, LabelledImage)
        return prepare(sample.image, preprocess)

    batch = options.batch or BATCH
    rate = options.learning_rate or LEARNING_RATE
    watched, prefix = (splits.choose, "choose") if splits.choose else (splits.report, splits.reported)
    choosing = bool(splits.choose) and (options.keep_best or options.patience is not None)

    def watch() -> dict[str, float]:
        metrics = evaluate(network, dataset, watched, (LABEL,), ready).metrics()
        return {f"{prefix}_{name}": metrics[name] for name in ("iou", "pixel_accuracy")}

    def stage() -> StageJob:
        grid = network.output.shape[1:3]
        data = RoadData(
            dataset, splits.train, LABEL, preprocess, (grid[0], grid[1]), batch, options.seed, augment=options.augment
        )
        return StageJob(
            model=model,
            data=data,
            loss=RoadLoss(len(dataset.classes)),
            metrics=(),
            evaluate=watch,
            options=FitOptions(
                epochs=options.epochs or EPOCHS,
                learning_rate=rate,
                weight_decay=1e-4 if options.weight_decay is None else options.weight_decay,
                schedule=options.schedule,
                evaluate_every=EVALUATE_EVERY,
                watch=f"{prefix}_iou" if choosing else None,
                patience=options.patience,
            ),
        )

    started = "random" if options.weights == "none" else Path(options.weights).name
    return Job(network, started, (LABEL,), preprocess, (), ready, (stage,), batch, rate, options.epochs or EPOCHS)


def _require_road(dataset: Dataset, name: str, items: Sequence[Item]) -> None:
    road_label = dataset.classes.index(LABEL)
    for item in items:
        sample = dataset.load(*item)
        if isinstance(sample, LabelledImage) and (sample.labels == road_label).any():
            return
    msg = f"no mask of {name} contains a {LABEL}: check what the values of the masks mean"
    raise DataError(msg)


def _input(options: TrainOptions) -> tuple[int, int]:
    size = options.input or road.INPUT_HW
    if len(size) != 2 or any(side % 32 or side < 64 for side in size):
        msg = f"input {'x'.join(map(str, size))}: both sides must be multiples of 32 and at least 64"
        raise ConfigError(msg)
    return size[0], size[1]


def _width(options: TrainOptions) -> float:
    return 1.0 if options.width is None else options.width


def _model(options: TrainOptions, input_hw: tuple[int, int], classes: int) -> keras.Model:
    weights = None if options.weights == "none" else options.weights
    try:
        model = road.build(classes=classes, weights=weights, input_hw=input_hw, width=_width(options))
    except (ValueError, OSError) as error:
        if weights is None:
            raise
        reason = str(error).strip().splitlines()[0]
        msg = f"cannot use --weights {options.weights} at width {_width(options)}: {reason}"
        raise ConfigError(msg) from error
    if weights is not None:
        road.freeze(model)
    return model
