"""Base classes of data sets and of their samples."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Generic, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from orilla.devices.errors import unknown_name
from orilla.runtime.bundle.card import Source
from orilla.runtime.preprocessing.image import Image
from orilla.runtime.tasks.decoding import PLAIN, Decoding

SPLITS = ("train", "val", "test")


@dataclass(frozen=True, slots=True)
class LabelledImage:
    """An image and the class of each pixel."""

    name: str
    """Name, unique within its split. The part before the first `_` names the sequence, if any."""
    image: Image
    """Image, `[H,W,3]` uint8 BGR."""
    labels: NDArray[np.uint8]
    """Labels, `[H,W]` class indices into `Dataset.classes`, or `Dataset.ignore`."""


@dataclass(frozen=True, slots=True)
class ClassifiedImage:
    """An image and its class."""

    name: str
    image: Image
    """Image, `[H,W,3]` uint8 BGR."""
    label: int
    """Index into `Dataset.classes`."""


@dataclass(frozen=True, slots=True)
class ClassifiedText:
    """A string and its class."""

    name: str
    text: str
    label: int
    """Index into `Dataset.classes`."""


@dataclass(frozen=True, slots=True)
class ArraySample:
    """Arrays for a model's inputs, and the expected output."""

    name: str
    arrays: Mapping[str, NDArray[np.generic]]
    """Arrays by the name of the model's input. If the model has one input, the name does not matter."""
    target: NDArray[np.generic] | int | None
    """The class or the expected values of the output. None if they are unknown."""


@dataclass(frozen=True, slots=True)
class BoxedImage:
    """An image and the boxes of its objects."""

    name: str
    image: Image
    """Image, `[H,W,3]` uint8 BGR."""
    boxes_xyxy: NDArray[np.float32]
    """Left, top, right and bottom edge in pixels, `[N,4]`, inside the image. Right and bottom are exclusive."""
    classes: NDArray[np.int64]
    """Indices into `Dataset.classes`, `[N]`."""
    crowd: NDArray[np.bool_]
    """True for each box around a group of objects or a hardly visible object, `[N]`. Such a box counts neither as found
    nor as missed."""


@dataclass(frozen=True, slots=True)
class MeasuredImage:
    """An image and the numbers that a model should predict for it."""

    name: str
    image: Image
    """Image, `[H,W,3]` uint8 BGR."""
    values: NDArray[np.float64]
    """Numbers in their units, `[K]`, in the order of `Dataset.classes`."""


Sample = LabelledImage | ClassifiedImage | ClassifiedText | ArraySample | BoxedImage | MeasuredImage


Item = tuple[str, int]
"""Split and index of a sample."""


class Dataset(ABC):
    """A data set: samples in splits, with or without labels.

    A sample is loaded when it is requested. Loading is thread-safe.
    """

    source: Source
    task: str
    classes: tuple[str, ...]
    """Names of the classes, or of the values of a regression."""
    decoding: Decoding = PLAIN
    """Units and ranges of the values of a regression. Other tasks use the default."""
    ignore: int = 255
    """Label of pixels that losses and metrics ignore. Only segmentation uses it."""
    in_time_order: bool = False
    """True if neighbouring samples of a split are almost equal, because they come from one recording."""
    has_labels: bool = True
    """True if the samples have labels."""

    @property
    @abstractmethod
    def splits(self) -> tuple[str, ...]:
        """Return the names of the existing splits, out of `train`, `val` and `test`."""

    @abstractmethod
    def names(self, split: str) -> tuple[str, ...]:
        """Return the names of a split's samples in order. Raises `ConfigError` for a missing split."""

    @abstractmethod
    def load(self, split: str, index: int) -> Sample:
        """Load one sample. Raises `DataError` if it is damaged or its labels are invalid."""

    @abstractmethod
    def content(self, split: str, index: int) -> bytes:
        """Return bytes that determine a sample's input, usually those of its file. Equal bytes mean equal inputs."""

    @property
    def check_split(self) -> str:
        """Return the split on which a model is checked: `val`, else `test`, else the last one.

        Export, benchmarks and `verify` use it.
        """
        return next((split for split in ("val", "test") if split in self.splits), self.splits[-1])

    def labels(self, split: str) -> Sequence[int]:
        """Return the class of each sample without reading its input. If samples have no class, return 0 for each."""
        return [0] * len(self.names(split))

    def values(self, split: str) -> NDArray[np.float64]:
        """Return the numbers of a split, `[N,K]`, without reading the images.

        Only regression data sets have this method.
        """
        raise NotImplementedError

    def truth(self, split: str, index: int) -> bytes:
        """Return bytes that determine a sample's labels. It is not needed if each sample has a class."""
        raise NotImplementedError

    def notes(self) -> list[str]:
        """Return one line for each kind of correction that the reader made, such as clipped boxes."""
        return []

    def is_file(self, split: str, index: int) -> bool:
        """Return True if `content` reads a file, which may be damaged. Return False for arrays and rendered scenes."""
        return True

    def fingerprint(self, split: str, index: int) -> bytes:
        """Return the SHA-256 of the sample's content. It is cached, because reading a large data set is slow."""
        if (split, index) not in self._fingerprints:
            self._fingerprints[split, index] = hashlib.sha256(self.content(split, index)).digest()
        return self._fingerprints[split, index]

    @cached_property
    def _fingerprints(self) -> dict[Item, bytes]:
        return {}

    def digest(self, split: str) -> str:
        """Return the SHA-256 (hex) of the split's inputs and labels in order. Equal digests mean equal data."""
        return digest_of(self, [(split, index) for index in range(len(self.names(split)))])


class NamedLabel(Protocol):
    """A sample with a name and a class."""

    @property
    def name(self) -> str:
        """Return the name, which is unique within a split."""

    @property
    def label(self) -> int:
        """Return the index into `Dataset.classes`."""


S = TypeVar("S", bound=NamedLabel)


class ListedDataset(Dataset, Generic[S]):
    """Base class of data sets that keep a list of their samples and have one class per sample."""

    @property
    @abstractmethod
    def samples(self) -> Mapping[str, Sequence[S]]:
        """Return the samples of each split."""

    @property
    def splits(self) -> tuple[str, ...]:
        """Return the names of the splits."""
        return tuple(self.samples)

    def names(self, split: str) -> tuple[str, ...]:
        """Return the names of a split's samples in order."""
        return tuple(sample.name for sample in self.samples_of(split))

    def labels(self, split: str) -> list[int]:
        """Return the class of each sample."""
        return [sample.label for sample in self.samples_of(split)]

    def samples_of(self, split: str) -> Sequence[S]:
        """Return the samples of a split. Raises `ConfigError` for a missing split."""
        require_split(self, split)
        return self.samples[split]


class NumberedDataset(Dataset):
    """Base class of data sets that are stored in arrays. The name of a sample is its index.

    Args:
        labels: The class of each sample, by split.
    """

    def __init__(self, labels: Mapping[str, Sequence[int]]) -> None:
        self._labels = labels

    @property
    def splits(self) -> tuple[str, ...]:
        """Return the names of the splits."""
        return tuple(self._labels)

    def names(self, split: str) -> tuple[str, ...]:
        """Return the indices of a split's samples."""
        return tuple(map(str, range(len(self.labels(split)))))

    def labels(self, split: str) -> Sequence[int]:
        """Return the class of each sample. Raises `ConfigError` for a missing split."""
        require_split(self, split)
        return self._labels[split]


def digest_of(dataset: Dataset, items: Sequence[Item]) -> str:
    """Return the SHA-256 (hex) of the inputs and labels of `items`, in their order."""
    total, labels = hashlib.sha256(), {}
    if dataset.task not in ("segment", "tensor", "detect", "regress"):
        labels = {split: dataset.labels(split) for split in {split for split, _ in items}}
    for split, index in items:
        truth = str(labels[split][index]).encode() if labels else dataset.truth(split, index)
        total.update(dataset.fingerprint(split, index))
        total.update(hashlib.sha256(truth).digest())
    return total.hexdigest()


def require_split(dataset: Dataset, split: str) -> None:
    """Raise `ConfigError` unless `dataset` has `split`."""
    if split not in dataset.splits:
        raise unknown_name(split, dataset.splits, kind=f"split of {dataset.source.name}")
