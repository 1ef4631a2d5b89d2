"""Training job for regression models, which predict numbers from images."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from orilla.devices.errors import DataError
from orilla.devices.progress import Progress
from orilla.runtime.evaluation.datasets import Dataset, Sample
from orilla.runtime.evaluation.datasets.dataset import Item, MeasuredImage
from orilla.runtime.preprocessing.image import Preprocess, prepare
from orilla.runtime.tasks.regress import normalised
from orilla.runtime.tasks.task import DecodeContext
from orilla.train.data.batches import ClassifierData, PreparedInputs
from orilla.train.data.splits import Splits
from orilla.train.evaluate import evaluate
from orilla.train.fit.training import FitTask
from orilla.train.jobs.job import Job, fit_options, input_size
from orilla.train.jobs.plan import NetworkOptions
from orilla.train.models import load_plan
from orilla.train.options import TrainOptions


def regress_job(options: TrainOptions, dataset: Dataset, splits: Splits) -> Job:
    """Build the network and its only phase. The outputs of the network are normalised to the ranges of the data.

    Raises:
        ConfigError: The input size does not fit the model.
        DataError: The data set has no numbers.
    """
    plan = load_plan(options.model)
    if dataset.task != plan.task:
        msg = (
            f"{options.model} cannot be trained on {dataset.source.name} (task {dataset.task}): use images with numbers"
        )
        raise DataError(msg)
    size = input_size(options, plan)
    preprocess = Preprocess(size_hw=(size[0], size[1]))
    network = plan.build(NetworkOptions(classes=len(dataset.classes), input=size, dropout=options.dropout))
    decoding = msgspec.structs.replace(dataset.decoding, normalised=True)
    context = DecodeContext(dataset.classes, preprocess, decoding=decoding)
    batch = options.batch or plan.batch
    watched, prefix = splits.watched
    fitting = fit_options(options, splits, "closeness", 1 if splits.choose else 5)

    def prepare_sample(sample: Sample) -> NDArray[np.uint8]:
        assert isinstance(sample, MeasuredImage)
        return prepare(sample.image, preprocess)

    def evaluate_watched() -> dict[str, float]:
        metrics = evaluate(network.model, dataset, watched, context, prepare_sample).metrics()
        return {f"{prefix}_closeness": metrics["closeness"]}

    def phase(progress: Progress) -> FitTask:
        del progress  # No outputs of frozen layers are computed in advance.
        augment = plan.augment() if plan.augment is not None and options.augment else None
        inputs = PreparedInputs(dataset, splits.train, prepare_sample)
        targets = normalised(_values(dataset, splits.train), decoding)
        data = ClassifierData(inputs, targets, batch, options.seed, augment)
        return FitTask(network.model, data, "mse", evaluate_watched, fitting)

    return Job(
        network=network.model,
        start_weights=network.start_weights,
        labels=dataset.classes,
        preprocess=preprocess,
        vocabulary=(),
        prepare=prepare_sample,
        phases=(phase,),
        batch=batch,
        learning_rate=fitting.learning_rate,
        epochs=fitting.epochs,
        decoding=decoding,
    )


def _values(dataset: Dataset, items: Sequence[Item]) -> NDArray[np.float64]:
    """Return the values that the samples are labelled with, `[N,K]`."""
    by_split = {split: dataset.values(split) for split in {split for split, _ in items}}
    return np.stack([by_split[split][index] for split, index in items])
