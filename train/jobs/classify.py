"""Training jobs for image and text classifiers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from orilla.devices.errors import ConfigError, DataError
from orilla.devices.progress import Progress
from orilla.runtime.evaluation.datasets import ClassifiedText, Dataset, Sample
from orilla.runtime.evaluation.datasets.dataset import Item, digest_of
from orilla.runtime.evaluation.datasets.raw import prepared
from orilla.runtime.evaluation.targets import target_of
from orilla.runtime.files import cache_folder
from orilla.runtime.preprocessing.image import Preprocess
from orilla.runtime.preprocessing.input_kind import InputPreprocessor
from orilla.runtime.preprocessing.tensor_spec import Outputs
from orilla.runtime.preprocessing.text import TextPreprocess, learn_vocabulary
from orilla.runtime.tasks.registry import task_of
from orilla.runtime.tasks.task import DecodeContext, GroundTruth
from orilla.train.data.augment import BatchChange
from orilla.train.data.batches import ClassifierData, Inputs, PreparedInputs
from orilla.train.data.features import FeatureStore, Views
from orilla.train.data.splits import Splits
from orilla.train.evaluate import BATCH, OUTPUT, predict
from orilla.train.fit.training import FitOptions, FitTask
from orilla.train.jobs.job import Job, check_task, input_size, network_options
from orilla.train.jobs.plan import Phase, Plan
from orilla.train.models import load_plan
from orilla.train.options import TrainOptions


def classifier_job(options: TrainOptions, dataset: Dataset, splits: Splits) -> Job:
    """Build the network and its phases.

    Raises:
        ConfigError: The weights or the input size do not fit the model.
        DataError: The model is for a different task.
    """
    plan = load_plan(options.model)
    check_task(options, plan, dataset)
    _check_weights(options, plan)
    size = input_size(options, plan)
    takes_texts = "text" in task_of(plan.task).input_kinds
    vocabulary = _vocabulary(dataset, splits.train, plan.vocabulary) if takes_texts else ()
    preprocess = TextPreprocess(length=size[0]) if takes_texts else Preprocess(size_hw=(size[0], size[1]))
    preprocessor = preprocess.preprocessor(vocabulary)
    network = plan.build(network_options(options, plan, dataset))
    training = _Training(options, plan, dataset, splits, network.model, preprocessor)
    phases = _phases(options, plan.phases)
    return Job(
        network=network.model,
        start_weights=network.start_weights,
        labels=dataset.classes,
        preprocess=preprocess,
        vocabulary=vocabulary,
        prepare=training.prepare,
        phases=tuple(partial(training.task, phase) for phase in phases),
        batch=training.batch,
        learning_rate=phases[-1].learning_rate,
        epochs=phases[-1].epochs,
    )


def _check_weights(options: TrainOptions, plan: Plan) -> None:
    if options.weights == "none" and any(phase.frozen_until for phase in plan.phases):
        msg = f"{options.model} freezes layers, so it needs weights: use weights=imagenet or weights=FILE"
        raise ConfigError(msg)


def _phases(options: TrainOptions, phases: Sequence[Phase]) -> list[Phase]:
    """Return the model's phases with the user's options.

    The number of epochs and the learning rate apply to the last phase.
    """
    *first, last = phases
    last = replace(
        last,
        epochs=options.epochs or last.epochs,
        learning_rate=options.learning_rate or last.learning_rate,
    )
    if options.views is None:
        return [*first, last]
    return [replace(phase, views=options.views) for phase in (*first, last)]


def _vocabulary(dataset: Dataset, items: Sequence[Item], size: int) -> tuple[str, ...]:
    samples = (dataset.load(*item) for item in items)
    vocabulary = learn_vocabulary((sample.text for sample in samples if isinstance(sample, ClassifiedText)), size)
    if not vocabulary:
        msg = f"the training texts of {dataset.source.name} have no words"
        raise DataError(msg)
    return vocabulary


@dataclass
class _Training:
    """The shared state of all phases of one job."""

    options: TrainOptions
    plan: Plan
    dataset: Dataset
    splits: Splits
    network: keras.Model
    preprocessor: InputPreprocessor
    features: dict[str, tuple[Inputs, Inputs]] = field(default_factory=dict)
    """Outputs of frozen layers by the name of the layer, for the training samples and for the samples that are
    evaluated between epochs."""

    @property
    def batch(self) -> int:
        """Number of samples per training step."""
        return self.options.batch or self.plan.batch

    @cached_property
    def inputs(self) -> tuple[Inputs, Inputs]:
        """Network inputs of the training samples, and of the samples that are evaluated between epochs."""
        return (
            PreparedInputs(self.dataset, self.splits.train, self.prepare),
            PreparedInputs(self.dataset, self.splits.watched[0], self.prepare),
        )

    @cached_property
    def train_labels(self) -> NDArray[np.int64]:
        """Classes of the training samples."""
        return _labels(self.dataset, self.splits.train)

    @cached_property
    def watched_labels(self) -> NDArray[np.int64]:
        """Classes of the samples that are evaluated between epochs."""
        return _labels(self.dataset, self.splits.watched[0])

    def prepare(self, sample: Sample) -> NDArray[Any]:
        """Return the network's input for a sample."""
        array = prepared(sample, self.preprocessor)
        assert isinstance(array, np.ndarray)  # A prepared image or text is a single array.
        return array

    def task(self, phase: Phase, progress: Progress) -> FitTask:
        """Return the task of one phase. It trains the later layers on the outputs of the frozen layers."""
        model, (train, watched), augment = self.network, self.inputs, self._augment()
        if phase.frozen_until is not None:
            train, watched = self._frozen_outputs(phase, augment, FeatureStore(cache_folder() / "features", progress))
            model = keras.Model(self.network.get_layer(phase.frozen_until).output, self.network.output)
            augment = None
        metric = f"{self.splits.watched[1]}_accuracy"

        def evaluate() -> dict[str, float]:
            return {metric: self._accuracy(model, watched)}

        return FitTask(
            model=model,
            data=ClassifierData(train, self.train_labels, self.batch, self.options.seed, augment),
            loss="binary_crossentropy" if self.network.output.shape[-1] == 1 else "sparse_categorical_crossentropy",
            evaluate=evaluate,
            options=self._fit_options(phase, metric),
            metrics=("accuracy",),
        )

    def _fit_options(self, phase: Phase, metric: str) -> FitOptions:
        options = self.options
        return FitOptions(
            epochs=phase.epochs,
            learning_rate=phase.learning_rate,
            weight_decay=self.plan.weight_decay if options.weight_decay is None else options.weight_decay,
            schedule=options.schedule,
            evaluate_every=1 if self.splits.choose else 5,
            watch=metric if options.chooses_epoch and self.splits.choose else None,
            patience=options.patience,
        )

    def _augment(self) -> BatchChange | None:
        return self.plan.augment() if self.plan.augment is not None and self.options.augment else None

    def _frozen_outputs(self, phase: Phase, augment: BatchChange | None, store: FeatureStore) -> tuple[Inputs, Inputs]:
        """Return the outputs of a phase's frozen layers, for the training and for the evaluated samples.

        If another phase freezes fewer layers, the computation starts from the outputs of its last frozen layer.
        """
        last = str(phase.frozen_until)
        if last in self.features:
            return self.features[last]
        views = Views(phase.views, augment) if augment is not None else Views()
        shallow = self._shallowest(last)
        if shallow is None:
            front = keras.Model(self.network.input, self.network.get_layer(last).output)
            self.features[last] = self._run(store, front, self.inputs, views)
        else:
            first = keras.Model(self.network.input, self.network.get_layer(shallow).output)
            base = self.features[shallow] = self._run(store, first, self.inputs, views)
            front = keras.Model(self.network.get_layer(shallow).output, self.network.get_layer(last).output)
            self.features[last] = self._run(store, front, base, replace(views, augment=None))
        return self.features[last]

    def _shallowest(self, last: str) -> str | None:
        """Return the last frozen layer of the phase that freezes the fewest layers.

        Return None if `last` is already this layer or an earlier one.
        """
        order = [layer.name for layer in self.network.layers]
        ends = [phase.frozen_until for phase in self.plan.phases if phase.frozen_until is not None]
        before = [name for name in ends if order.index(name) < order.index(last)]
        return min(before, key=order.index) if before else None

    def _run(
        self, store: FeatureStore, front: keras.Model, inputs: tuple[Inputs, Inputs], views: Views
    ) -> tuple[Inputs, Inputs]:
        spec = str(self.preprocessor.spec)
        changes = None if views.augment is None else views.augment.settings()
        train_key = {"data": digest_of(self.dataset, self.splits.train), "preprocess": spec, "augment": changes}
        watched_key = {"data": digest_of(self.dataset, self.splits.watched[0]), "preprocess": spec}
        return (
            store.compute(front, inputs[0], views, train_key),
            store.compute(front, inputs[1], Views(), watched_key),
        )

    def _accuracy(self, model: keras.Model, inputs: Inputs) -> float:
        # Only images need much memory, not vectors or tokens.
        batch = BATCH if len(model.input.shape) > 2 else 8 * BATCH
        target = target_of(self.dataset, self.dataset.task, DecodeContext(self.dataset.classes))

        def answers() -> Iterator[tuple[GroundTruth, Outputs]]:
            for start in range(0, len(inputs), batch):
                indices = np.arange(start, min(start + batch, len(inputs)))
                for index, output in zip(indices, predict(model, inputs.view(indices, 0))[OUTPUT], strict=True):
                    yield GroundTruth("", int(self.watched_labels[index])), {OUTPUT: output}

        return target.metrics(answers()).metrics()["accuracy"]


def _labels(dataset: Dataset, items: Sequence[Item]) -> NDArray[np.int64]:
    by_split = {split: dataset.labels(split) for split in {split for split, _ in items}}
    return np.array([by_split[split][index] for split, index in items], np.int64)
