"""Measure a model through the preprocessing and decoding that the robot uses."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from orilla.runtime.bundle.card import EvaluationResult
from orilla.runtime.evaluation.datasets import Dataset, Sample
from orilla.runtime.evaluation.datasets.dataset import Item
from orilla.runtime.evaluation.metrics import GroundTruth, Measures, measure, target_of, truth_of
from orilla.runtime.evaluation.metrics.classification import Classified

BATCH = 32


def evaluate(
    model: keras.Model,
    dataset: Dataset,
    items: Sequence[Item],
    labels: tuple[str, ...],
    prepare: Callable[[Sample], NDArray[Any]],
) -> Measures:
    """Measure a model on samples, which are read one by one."""
    answered = (
        pair
        for inputs, truths in _batches(dataset, items, prepare)
        for pair in zip(truths, predict(model, inputs), strict=True)
    )
    return measure(target_of(dataset, dataset.task, labels), answered)


def predict(model: keras.Model, inputs: NDArray[Any]) -> NDArray[np.float32]:
    """Return a model's outputs for prepared inputs, `[N,...]` float32."""
    made = model.predict_on_batch(inputs.astype(np.float32) if inputs.dtype == np.uint8 else inputs)
    return np.asarray(keras.ops.convert_to_numpy(made), np.float32)


def measured(split: str, measures: Measures) -> EvaluationResult:
    """Convert metrics into the entry of a card."""
    table: tuple[tuple[int, ...], ...] = ()
    if isinstance(measures, Classified):
        table = tuple(tuple(int(count) for count in row) for row in measures.confusion())
    return EvaluationResult(split, measures.metrics(), measures.intervals(), table)


def _batches(
    dataset: Dataset, items: Sequence[Item], prepare: Callable[[Sample], NDArray[Any]]
) -> Iterator[tuple[NDArray[Any], list[GroundTruth]]]:
    for start in range(0, len(items), BATCH):
        samples = [dataset.load(*item) for item in items[start : start + BATCH]]
        yield np.stack([prepare(sample) for sample in samples]), [truth_of(sample) for sample in samples]
