"""Batches of prepared samples. Worker threads read and decode the samples; a seed determines their order."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Protocol

import keras
import numpy as np
from numpy.typing import NDArray

from orilla.devices.errors import OrillaError
from orilla.runtime.evaluation.datasets import Dataset, Sample
from orilla.runtime.evaluation.datasets.dataset import Item
from orilla.runtime.preprocessing.image import Preprocess
from orilla.train.data.augment import BatchChange, apply
from orilla.train.data.shares import Shares

CACHE_BYTES = 512 << 20
"""Maximum size, in bytes, of a data set that is kept in memory after its preprocessing. A larger data set is read again
in each epoch."""


class Inputs(Protocol):
    """Network inputs of a list of samples, with one or several augmented views of each sample."""

    def __len__(self) -> int: ...

    def take(self, indices: NDArray[np.int64], rng: np.random.Generator) -> NDArray[Any]:
        """Return the inputs `[N,...]` of the samples at `indices`. `rng` selects the view of each sample."""

    def view(self, indices: NDArray[np.int64], view: int) -> NDArray[Any]:
        """Return one view `[N,...]` of the samples at `indices`."""


class PreparedInputs:
    """Inputs that `prepare` computes on first use. Several threads may use an instance at the same time."""

    def __init__(self, dataset: Dataset, items: Sequence[Item], prepare: Callable[[Sample], NDArray[Any]]) -> None:
        self._dataset, self._items, self._prepare = dataset, items, prepare
        first = prepare(dataset.load(*items[0]))
        self.shape, self.dtype = first.shape, first.dtype
        fits = first.nbytes * len(items) <= CACHE_BYTES
        self._cache = np.zeros((len(items), *self.shape), self.dtype) if fits else None
        self._cached = np.zeros(len(items), bool)
        self._all_cached = False

    def __len__(self) -> int:
        return len(self._items)

    def take(self, indices: NDArray[np.int64], rng: np.random.Generator) -> NDArray[Any]:
        """Return the inputs `[N,...]` of the samples at `indices`. Each sample has one view, so `rng` is not used."""
        del rng
        return self.view(indices, 0)

    def view(self, indices: NDArray[np.int64], view: int) -> NDArray[Any]:
        """Return the inputs `[N,...]` of the samples at `indices`. They are the same for each view."""
        del view
        if self._cache is None:
            return np.stack([self._load(index) for index in indices])
        if not self._all_cached:
            for index in indices[~self._cached[indices]]:
                self._cache[index] = self._load(index)
                self._cached[index] = True
            self._all_cached = bool(self._cached.all())
        return self._cache[indices]

    def _load(self, index: int) -> NDArray[Any]:
        return self._prepare(self._dataset.load(*self._items[index]))


class SampleCache:
    """Samples that stay in memory after the first use, up to `CACHE_BYTES`."""

    def __init__(self, dataset: Dataset, items: Sequence[Item]) -> None:
        self._dataset, self._items = dataset, items
        self._samples: dict[int, Sample] = {}
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._items)

    def __getitem__(self, index: int) -> Sample:
        """Load a sample, or return it from the cache."""
        sample = self._samples.get(index)
        if sample is None:
            sample = self._dataset.load(*self._items[index])
            values = (getattr(sample, entry.name) for entry in fields(sample))
            size = sum(value.nbytes for value in values if isinstance(value, np.ndarray))
            if self._bytes + size <= CACHE_BYTES:
                self._bytes += size
                self._samples[index] = sample
        return sample


@dataclass
class ImageData:
    """Images of a data set with the settings of their batches."""

    dataset: Dataset
    items: Sequence[Item]
    preprocess: Preprocess
    batch: int
    seed: int
    augment: BatchChange | None = None
    """Layer that changes the colours of the images. If it is set, the images are also cropped and flipped. None for no
    augmentation."""
    shares: Shares | None = None
    """Share of each data set in an epoch. If it is None, each sample is used once in an epoch."""
    samples: SampleCache = field(init=False, repr=False)
    """The samples of `items`, in their order."""

    def __post_init__(self) -> None:
        self.samples = SampleCache(self.dataset, self.items)

    @property
    def count(self) -> int:
        """Number of samples."""
        return len(self.items)


@dataclass
class ClassifierData:
    """The training data of a classifier or a regression: inputs with their targets."""

    inputs: Inputs
    labels: NDArray[Any]
    """Class of each sample, `[N]` int64, or the target outputs of a regression, `[N,K]` float32."""
    batch: int
    seed: int
    augment: BatchChange | None = None
    """Augmentation of the inputs; None for no augmentation."""

    @property
    def count(self) -> int:
        """Number of samples."""
        return len(self.labels)

    def epoch(self, number: int, *, workers: int) -> keras.utils.PyDataset:
        """Return the batches of one epoch. They depend only on the seed and the number of the epoch."""
        return ClassifierEpoch(self, number, workers)


class Epoch(keras.utils.PyDataset):
    """The batches of one epoch. Worker threads prepare them in an order that the seed determines.

    `failure` is the error that ended a worker thread, or None.
    """

    def __init__(self, count: int, batch: int, seed: int, number: int, workers: int) -> None:
        super().__init__(workers=workers, use_multiprocessing=False, max_queue_size=8)
        self.failure: OrillaError | None = None
        self.number = number
        self._batch, self._seed = batch, seed
        self._order = np.random.default_rng([seed, number]).permutation(count)

    def __len__(self) -> int:
        return math.ceil(len(self._order) / self._batch)

    def __getitem__(self, index: int) -> tuple[NDArray[Any], NDArray[Any]]:
        try:
            return self.make_batch(index)
        except OrillaError as error:
            self.failure = error
            raise

    def choose(self, index: int) -> tuple[NDArray[np.int64], np.random.Generator]:
        """Return the samples of a batch, and the random generator for its augmentation."""
        # The last batch is filled with the first samples of the epoch, so that all batches have the same shape.
        positions = range(index * self._batch, (index + 1) * self._batch)
        return np.take(self._order, positions, mode="wrap"), np.random.default_rng([self._seed, self.number, index])

    def make_batch(self, index: int) -> tuple[NDArray[Any], NDArray[Any]]:
        """Return the inputs and targets of one batch."""
        raise NotImplementedError


class ClassifierEpoch(Epoch):
    """The batches of one epoch of a classifier or a regression."""

    def __init__(self, data: ClassifierData, number: int, workers: int) -> None:
        super().__init__(data.count, data.batch, data.seed, number, workers)
        self._data = data

    def make_batch(self, index: int) -> tuple[NDArray[Any], NDArray[Any]]:
        """Return the inputs `[N,...]` and the targets `[N]` or `[N,K]` of one batch."""
        data = self._data
        indices, rng = self.choose(index)
        inputs = data.inputs.take(indices, rng)
        if data.augment is not None:
            inputs = apply(data.augment, inputs.astype(np.float32), int(rng.integers(1 << 31)))
        return inputs, data.labels[indices]
