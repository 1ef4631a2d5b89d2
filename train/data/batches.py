"""Batches of prepared samples. Worker threads read and decode them in a seeded order."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import keras
import numpy as np
from numpy.typing import NDArray

from orilla.devices.errors import OrillaError
from orilla.runtime.evaluation.datasets import Dataset, Sample
from orilla.runtime.evaluation.datasets.dataset import Item
from orilla.train.data.augment import apply

CACHE_BYTES = 512 << 20
"""Memory limit for prepared samples, bytes. Larger data sets are read again in each epoch."""


class Inputs(Protocol):
    """Network inputs of some samples."""

    def __len__(self) -> int: ...

    def take(self, indices: NDArray[np.int64], rng: np.random.Generator) -> NDArray[Any]:
        """Return the inputs of the samples at `indices`, `[N,...]`. `rng` chooses among several views of a sample."""


class PreparedInputs:
    """Inputs that `prepare` makes at first use. Several threads may use them."""

    def __init__(self, dataset: Dataset, items: Sequence[Item], prepare: Callable[[Sample], NDArray[Any]]) -> None:
        self._dataset, self._items, self._prepare = dataset, items, prepare
        first = prepare(dataset.load(*items[0]))
        self.shape, self.dtype = first.shape, first.dtype
        fits = first.nbytes * len(items) <= CACHE_BYTES
        self._kept = np.zeros((len(items), *self.shape), self.dtype) if fits else None
        self._known = np.zeros(len(items), bool)
        self._all_known = False

    def __len__(self) -> int:
        return len(self._items)

    def take(self, indices: NDArray[np.int64], rng: np.random.Generator | None = None) -> NDArray[Any]:
        if self._kept is None:
            return np.stack([self._one(index) for index in indices])
        if not self._all_known:
            for index in indices[~self._known[indices]]:
                self._kept[index] = self._one(index)
                self._known[index] = True
            self._all_known = bool(self._known.all())
        return self._kept[indices]

    def _one(self, index: int) -> NDArray[Any]:
        return self._prepare(self._dataset.load(*self._items[index]))


@dataclass
class Batches:
    """Training data for `fit`: inputs with their classes, changed at random by `augment`."""

    inputs: Inputs
    labels: NDArray[np.int64]
    batch: int
    seed: int
    augment: keras.layers.Layer | None = None

    @property
    def count(self) -> int:
        return len(self.labels)

    def epoch(self, number: int, *, workers: int) -> keras.utils.PyDataset:
        """Return the batches of one epoch. They depend only on the seed and the number of the epoch."""
        return _Epoch(self, number, workers)


class Epoch(keras.utils.PyDataset):
    """Batches of one epoch, made by worker threads in a seeded order. The error of a failed thread is kept."""

    def __init__(self, count: int, batch: int, seed: int, number: int, workers: int) -> None:
        super().__init__(workers=workers, use_multiprocessing=False, max_queue_size=8)
        self.failure: OrillaError | None = None
        self._batch, self._seed, self._number = batch, seed, number
        self._order = np.random.default_rng([seed, number]).permutation(count)

    def __len__(self) -> int:
        return math.ceil(len(self._order) / self._batch)

    def chosen(self, index: int) -> tuple[NDArray[np.int64], np.random.Generator]:
        """Return the samples of a batch and the generator of its random changes."""
        # The last batch is filled up from the beginning, so that all batches have the same shape.
        places = range(index * self._batch, (index + 1) * self._batch)
        return np.take(self._order, places, mode="wrap"), np.random.default_rng([self._seed, self._number, index])

    def __getitem__(self, index: int) -> tuple[NDArray[Any], NDArray[Any]]:
        try:
            return self.make(index)
        except OrillaError as error:
            self.failure = error
            raise

    def make(self, index: int) -> tuple[NDArray[Any], NDArray[Any]]:
        """Return the inputs and targets of one batch."""
        raise NotImplementedError


class _Epoch(Epoch):
    def __init__(self, data: Batches, number: int, workers: int) -> None:
        super().__init__(data.count, data.batch, data.seed, number, workers)
        self._data = data

    def make(self, index: int) -> tuple[NDArray[Any], NDArray[np.int64]]:
        data = self._data
        chosen, rng = self.chosen(index)
        inputs = data.inputs.take(chosen, rng)
        if data.augment is not None:
            inputs = apply(data.augment, inputs.astype(np.float32), int(rng.integers(1 << 31)))
        return inputs, data.labels[chosen]
