"""Training job for detectors."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from orilla.devices.errors import DataError
from orilla.devices.progress import Progress
from orilla.runtime.evaluation.datasets import BoxedImage, Dataset, Sample
from orilla.runtime.evaluation.datasets.dataset import Item
from orilla.runtime.preprocessing.image import Preprocess, prepare
from orilla.runtime.tasks.task import DecodeContext
from orilla.train.data.anchors import aspect_ratios
from orilla.train.data.detect import DetectData
from orilla.train.data.splits import Splits
from orilla.train.evaluate import evaluate
from orilla.train.fit.losses import DetectLoss
from orilla.train.fit.training import FitTask
from orilla.train.jobs.job import Job, check_task, fit_options, network_options
from orilla.train.models import load_plan
from orilla.train.models.detect import RATIOS, VARIANCES, head_spec
from orilla.train.options import TrainOptions

EVALUATE_EVERY = 10

BORDER = 128
"""Border value of a letterbox. The network's normalisation turns it into about 0."""


def detect_job(options: TrainOptions, dataset: Dataset, splits: Splits) -> Job:
    """Build the network and its only phase. The training boxes determine the aspect ratios of the anchors.

    Raises:
        ConfigError: The input size or the weights do not fit the model.
        DataError: The data set has no boxes.
    """
    plan = load_plan(options.model)
    network_settings = network_options(options, plan, dataset)
    check_task(options, plan, dataset)
    input_hw = (network_settings.input[0], network_settings.input[1])
    preprocess = Preprocess(size_hw=input_hw, resize="letterbox", fill=BORDER)
    _box_sizes(dataset, splits.report, preprocess)
    ratios = aspect_ratios(_box_sizes(dataset, splits.train, preprocess), RATIOS)
    head = head_spec(input_hw, ratios)
    network = plan.build(network_settings)
    deployed = network.deployed or network.model
    batch = options.batch or plan.batch
    fitting = fit_options(options, splits, "map", EVALUATE_EVERY)
    watched, prefix = splits.watched

    def prepare_sample(sample: Sample) -> NDArray[np.uint8]:
        assert isinstance(sample, BoxedImage)
        return prepare(sample.image, preprocess)

    def evaluate_watched() -> dict[str, float]:
        context = DecodeContext(dataset.classes, preprocess, head=head)
        metrics = evaluate(deployed, dataset, watched, context, prepare_sample).metrics()
        return {f"{prefix}_{name}": metrics[name] for name in ("map", "map50")}

    def phase(progress: Progress) -> FitTask:
        del progress  # No outputs of frozen layers are computed in advance.
        augment = plan.augment() if plan.augment is not None and options.augment else None
        data = DetectData(dataset, splits.train, preprocess, batch, options.seed, augment, head=head)
        return FitTask(network.model, data, DetectLoss(len(dataset.classes), VARIANCES), evaluate_watched, fitting)

    return Job(
        network=deployed,
        start_weights=network.start_weights,
        labels=dataset.classes,
        preprocess=preprocess,
        vocabulary=(),
        prepare=prepare_sample,
        phases=(phase,),
        batch=batch,
        learning_rate=fitting.learning_rate,
        epochs=fitting.epochs,
        head=head,
    )


def _box_sizes(dataset: Dataset, items: Sequence[Item], preprocess: Preprocess) -> NDArray[np.float64]:
    """Return width and height of all boxes in pixels of the network's input, `[N,2]`.

    Raises:
        DataError: There is no box, or only crowds.
    """
    sizes = []
    for item in items:
        sample = dataset.load(*item)
        assert isinstance(sample, BoxedImage)
        height, width = sample.image.shape[:2]
        boxes = sample.boxes_xyxy[~sample.crowd]
        sizes.append((boxes[:, 2:] - boxes[:, :2]) * preprocess.placement((height, width)).scale_xy)
    found = np.concatenate(sizes)
    if not len(found):
        msg = f"no image of the {items[0][0]} split has a box that is not a crowd: add images with objects"
        raise DataError(msg)
    return found
