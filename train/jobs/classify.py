"""Jobs of image and text classifiers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from orilla.devices.errors import ConfigError, DataError
from orilla.runtime.evaluation.datasets import ClassifiedText, Dataset, Sample
from orilla.runtime.evaluation.datasets.dataset import Item, digest_of
from orilla.runtime.evaluation.datasets.raw import prepared
from orilla.runtime.evaluation.metrics import GroundTruth, measure, target_of
from orilla.runtime.files import cache_folder
from orilla.runtime.preprocessing.image import Preprocess
from orilla.runtime.preprocessing.preprocessor import InputPreprocessor
from orilla.runtime.preprocessing.text import TextPreprocess, learn_vocabulary
from orilla.train.data.batches import Batches, Inputs, PreparedInputs
from orilla.train.data.features import features
from orilla.train.data.splits import Splits
from orilla.train.evaluate import BATCH, predict
from orilla.train.fit.training import FitOptions
from orilla.train.jobs.job import Job, StageJob
from orilla.train.jobs.plan import Build, Plan, Stage
from orilla.train.models import MODELS, plan
from orilla.train.options import TrainOptions


def classifier(options: TrainOptions, dataset: Dataset, splits: Splits) -> Job:
    """Build the network and its stages.

    Raises:
        ConfigError: Weights or input do not fit the model.
        DataError: The data has another task.
    """
    chosen = plan(options.model)
    if dataset.task != chosen.task:
        fitting = [name for name in MODELS if name != "road" and plan(name).task == dataset.task] or ["road"]
        msg = f"{options.model} does not fit {dataset.source.name} (task {dataset.task}): train {' or '.join(fitting)}"
        raise DataError(msg)
    if options.weights == "none" and any(stage.until for stage in chosen.stages):
        msg = f"{options.model} freezes layers, so it needs --weights: imagenet (downloaded), or a file"
        raise ConfigError(msg)
    size = _input(options, chosen)
    vocabulary = _vocabulary(dataset, splits.train, chosen.vocabulary) if chosen.task == "text" else ()
    preprocess = TextPreprocess(length=size[0]) if len(size) == 1 else Preprocess(size_hw=(size[0], size[1]))
    preprocessor = InputPreprocessor(preprocess, vocabulary)
    network = chosen.build(
        Build(
            classes=len(dataset.classes),
            input=size,
            vocabulary=chosen.vocabulary,
            weights=None if options.weights == "none" else options.weights,
            head=options.head or chosen.head,
            dropout=options.dropout,
        )
    )
    work = _Work(options, chosen, dataset, splits, network.model, preprocessor)
    stages = _stages(options, chosen.stages)
    return Job(
        network=network.model,
        started=network.started,
        labels=dataset.classes,
        preprocess=preprocess,
        vocabulary=vocabulary,
        prepare=partial(_prepared_array, preprocessor=preprocessor),
        stages=tuple(_bound(work, stage) for stage in stages),
        batch=work.batch,
        learning_rate=stages[-1].learning_rate,
        epochs=stages[-1].epochs,
    )


def _prepared_array(sample: Sample, preprocessor: InputPreprocessor) -> NDArray[Any]:
    """Return a sample's input as an array."""
    array = prepared(sample, preprocessor)
    assert isinstance(array, np.ndarray)
    return array


def _bound(work: _Work, stage: Stage) -> Callable[[], StageJob]:
    return lambda: work.stage(stage)


def _stages(options: TrainOptions, stages: Sequence[Stage]) -> list[Stage]:
    """Return the model's stages. Options change the last stage; `views` changes all of them."""
    changed = list(stages)
    last = changed[-1]
    changed[-1] = replace(
        last,
        epochs=options.epochs or last.epochs,
        learning_rate=options.learning_rate or last.learning_rate,
    )
    if options.views is not None:
        changed = [replace(stage, views=options.views) for stage in changed]
    return changed


def _input(options: TrainOptions, chosen: Plan) -> tuple[int, ...]:
    size = options.input or chosen.input
    if len(size) != len(chosen.input):
        wanted = "height and width, as in 150x150" if len(chosen.input) == 2 else "a number of tokens, as in 200"
        msg = f"--input {'x'.join(map(str, size))}: {options.model} takes {wanted}"
        raise ConfigError(msg)
    least = chosen.minimum or (1,) * len(size)
    if any(side < bound for side, bound in zip(size, least, strict=True)):
        msg = f"--input {'x'.join(map(str, size))}: {options.model} needs at least {'x'.join(map(str, least))}"
        raise ConfigError(msg)
    return size


def _vocabulary(dataset: Dataset, items: Sequence[Item], size: int) -> tuple[str, ...]:
    def texts() -> Any:
        for item in items:
            sample = dataset.load(*item)
            if isinstance(sample, ClassifiedText):
                yield sample.text

    vocabulary = learn_vocabulary(texts(), size)
    if not vocabulary:
        msg = f"the training texts of {dataset.source.name} contain no word"
        raise DataError(msg)
    return vocabulary


class _Work:
    """Data that the stages of one job share."""

    def __init__(
        self,
        options: TrainOptions,
        chosen: Plan,
        dataset: Dataset,
        splits: Splits,
        network: keras.Model,
        preprocessor: InputPreprocessor,
    ) -> None:
        self._options, self._plan, self._dataset, self._splits = options, chosen, dataset, splits
        self._network, self._preprocessor = network, preprocessor
        self.batch = options.batch or chosen.batch
        self._train = PreparedInputs(dataset, splits.train, partial(_prepared_array, preprocessor=preprocessor))
        watched = splits.choose or splits.report
        self._watched = PreparedInputs(dataset, watched, partial(_prepared_array, preprocessor=preprocessor))
        self._watched_items = watched
        self._prefix = "choose" if splits.choose else splits.reported
        self._of_train = self._labels(splits.train)
        self._frozen: dict[str, tuple[Inputs, Inputs]] = {}

    def stage(self, stage: Stage) -> StageJob:
        """Cut the network as the stage requires, and make its batches."""
        options, augment = self._options, self._augment()
        model, train, watched = self._network, self._train, self._watched
        if stage.until is not None:
            train, watched = self._features(stage, augment)  # type: ignore[assignment]
            model = keras.Model(self._network.get_layer(stage.until).output, self._network.output)
            augment = None
        choosing = bool(self._splits.choose) and (options.keep_best or options.patience is not None)
        metric = f"{self._prefix}_accuracy"

        def evaluate() -> dict[str, float]:
            return {metric: self._accuracy(model, watched)}

        return StageJob(
            model=model,
            data=Batches(train, self._of_train, self.batch, options.seed, augment),
            loss="binary_crossentropy" if self._network.output.shape[-1] == 1 else "sparse_categorical_crossentropy",
            metrics=("accuracy",),
            evaluate=evaluate,
            options=FitOptions(
                epochs=stage.epochs,
                learning_rate=stage.learning_rate,
                weight_decay=self._plan.weight_decay if options.weight_decay is None else options.weight_decay,
                schedule=options.schedule,
                evaluate_every=1 if self._splits.choose else 5,
                watch=metric if choosing else None,
                patience=options.patience,
            ),
        )

    def _augment(self) -> keras.layers.Layer | None:
        return self._plan.augment() if self._plan.augment is not None and self._options.augment else None

    def _features(self, stage: Stage, augment: keras.layers.Layer | None) -> tuple[Inputs, Inputs]:
        """Return the features of the frozen part. A deeper cut starts from the result of a shallower one."""
        cut = str(stage.until)
        if cut in self._frozen:
            return self._frozen[cut]
        shallow = self._shallowest(cut)
        views = stage.views if augment is not None else 1
        if shallow is None:
            front = keras.Model(self._network.input, self._network.get_layer(cut).output)
            self._frozen[cut] = self._run(front, (self._train, self._watched), views, augment)
        else:
            first = keras.Model(self._network.input, self._network.get_layer(shallow).output)
            base = self._frozen[shallow] = self._run(first, (self._train, self._watched), views, augment)
            front = keras.Model(self._network.get_layer(shallow).output, self._network.get_layer(cut).output)
            self._frozen[cut] = self._run(front, base, views, None)
        return self._frozen[cut]

    def _shallowest(self, cut: str) -> str | None:
        """Return the cut of another stage that lies before `cut`, if any."""
        order = [layer.name for layer in self._network.layers]
        cuts = [stage.until for stage in self._plan.stages if stage.until is not None]
        before = [name for name in cuts if order.index(name) < order.index(cut)]
        return min(before, key=order.index) if before else None

    def _run(
        self, front: keras.Model, given: tuple[Inputs, Inputs], views: int, augment: keras.layers.Layer | None
    ) -> tuple[Inputs, Inputs]:
        folder = cache_folder() / "features"
        of_train = {
            "data": digest_of(self._dataset, self._splits.train),
            "preprocess": str(self._preprocessor.spec),
            "augment": None if augment is None else augment.settings(),
        }
        of_watched = {"data": digest_of(self._dataset, self._watched_items), "preprocess": str(self._preprocessor.spec)}
        return (
            features(front, given[0], folder, views=views, augment=augment, key=of_train),
            features(front, given[1], folder, views=1, augment=None, key=of_watched),
        )

    def _accuracy(self, model: keras.Model, watched: Inputs) -> float:
        rng = np.random.default_rng(0)
        target = target_of(self._dataset, self._dataset.task, self._dataset.classes)
        labels = self._labels(self._watched_items)

        each = BATCH if len(model.input.shape) > 2 else 8 * BATCH  # images fill the memory, vectors and tokens do not

        def answered() -> Any:
            for start in range(0, len(watched), each):
                places = np.arange(start, min(start + each, len(watched)))
                for place, output in zip(places, predict(model, watched.take(places, rng)), strict=True):
                    yield GroundTruth("", int(labels[place])), output

        return measure(target, answered()).metrics()["accuracy"]

    def _labels(self, items: Sequence[Item]) -> NDArray[np.int64]:
        of_split = {split: self._dataset.labels(split) for split in {split for split, _ in items}}
        return np.array([of_split[split][index] for split, index in items], np.int64)
