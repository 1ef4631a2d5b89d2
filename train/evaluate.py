"""Evaluate a model with the preprocessing of the runtime, from raw samples to metrics."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from orilla.runtime.bundle.card import EvaluationResult
from orilla.runtime.evaluation.datasets import Dataset, Sample
from orilla.runtime.evaluation.datasets.dataset import Item
from orilla.runtime.evaluation.targets import target_of, truth_of
from orilla.runtime.preprocessing.tensor_spec import per_sample
from orilla.runtime.tasks.metrics import HasConfusion, Metrics
from orilla.runtime.tasks.task import DecodeContext, GroundTruth

BATCH = 32
"""Number of samples per prediction. Larger batches of images would need more memory than training does."""


OUTPUT = "output"
"""Name of the output of a model with one output. If there are several outputs, their names in the model are used."""


def evaluate(
    model: keras.Model,
    dataset: Dataset,
    items: Sequence[Item],
    context: DecodeContext,
    prepare: Callable[[Sample], NDArray[Any]],
) -> Metrics:
    """Evaluate a model on samples, which are read in batches.

    Args:
        model: The model.
        dataset: The data set of the samples.
        items: The samples.
        context: Properties of the model.
        prepare: Function that converts a sample into the model's input.
    """
    answers = (
        pair
        for inputs, truths in _batches(dataset, items, prepare)
        for pair in zip(truths, per_sample(predict(model, inputs)), strict=True)
    )
    return target_of(dataset, dataset.task, context).metrics(answers)


def predict(model: keras.Model, inputs: NDArray[Any]) -> dict[str, NDArray[np.float32]]:
    """Return a model's outputs for prepared inputs by name, each `[N,...]` float32."""
    outputs = model.predict_on_batch(inputs.astype(np.float32) if inputs.dtype == np.uint8 else inputs)
    named = outputs if isinstance(outputs, dict) else {OUTPUT: outputs}
    return {name: np.asarray(keras.ops.convert_to_numpy(array), np.float32) for name, array in named.items()}


def evaluation_result(split: str, computed: Metrics) -> EvaluationResult:
    """Return the metrics of a split as the card records them."""
    confusion: tuple[tuple[int, ...], ...] = ()
    if isinstance(computed, HasConfusion):
        confusion = tuple(tuple(int(count) for count in row) for row in computed.confusion())
    return EvaluationResult(split, computed.metrics(), computed.intervals(), confusion)


def _batches(
    dataset: Dataset, items: Sequence[Item], prepare: Callable[[Sample], NDArray[Any]]
) -> Iterator[tuple[NDArray[Any], list[GroundTruth]]]:
    for start in range(0, len(items), BATCH):
        samples = [dataset.load(*item) for item in items[start : start + BATCH]]
        yield np.stack([prepare(sample) for sample in samples]), [truth_of(sample) for sample in samples]
