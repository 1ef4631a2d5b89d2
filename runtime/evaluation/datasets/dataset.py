"""The base class of data sets, and the function that opens a data set by its name or path."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from importlib import import_module
from pathlib import Path
from typing import Generic, Protocol, TypeVar, cast, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from orilla.devices.errors import DataError, OrillaError, unknown_name
from orilla.runtime.bundle.card import Source
from orilla.runtime.files import cache_folder
from orilla.runtime.preprocessing.image import Image
from orilla.runtime.tasks.task import Task

READERS = {
    "scenes": "procedural road scenes; scenes:SEED gives other scenes",
    "camvid": "road scenes in the SegNet layout: train/ trainannot/ val/ valannot/",
    "kitti": "KITTI road: training/image_2 and training/gt_image_2 (um_, umm_, uu_)",
    "masks": "images/ and masks/ with equal names, below train/ val/ test/ or without splits",
    "folders": "one folder of images per class, below train/ val/ test/ or without splits",
    "mnist": "MNIST or Fashion-MNIST: Keras' .npz, or a folder of the idx files",
    "imdb": "IMDB reviews: Keras' imdb.npz next to imdb_word_index.json",
    "arrays": "an .npz with an array x, one sample per row, and optionally y; export and verify only",
    "texts": "one folder of .txt files per class, or a .csv with the columns text and label",
}
"""Description of each kind of data set. The module of that name in this folder is an `EmbeddedReader` or a
`FileReader`."""

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
    """A text and its class."""

    name: str
    text: str
    label: int
    """Index into `Dataset.classes`."""


@dataclass(frozen=True, slots=True)
class ArraySample:
    """Arrays and the expected answer."""

    name: str
    arrays: Mapping[str, NDArray[np.generic]]
    """Arrays by the name of the network's input. The name does not matter for a network with one input."""
    target: NDArray[np.generic] | int | None
    """The class, the values of the output, or None if unknown."""


Sample = LabelledImage | ClassifiedImage | ClassifiedText | ArraySample


Item = tuple[str, int]
"""Split and index of a sample."""


class Dataset(ABC):
    """Labelled samples in splits. Samples are loaded when they are needed; loading is thread-safe."""

    source: Source
    task: Task
    classes: tuple[str, ...]
    ignore: int = 255
    """Label of pixels that count neither in a loss nor in a metric; segmentation only."""
    has_labels: bool = True
    """True if the samples have labels."""

    @property
    @abstractmethod
    def splits(self) -> tuple[str, ...]:
        """Return the names of the splits: those of `train`, `val` and `test` that exist."""

    @abstractmethod
    def names(self, split: str) -> tuple[str, ...]:
        """Return the names of a split's samples in order. Raises `ConfigError` for a missing split."""

    @abstractmethod
    def load(self, split: str, index: int) -> Sample:
        """Load one sample. Raises `DataError` if it is damaged or its labels are invalid."""

    @abstractmethod
    def content(self, split: str, index: int) -> bytes:
        """Return the stored bytes of a sample's input. Equal bytes mean equal samples."""

    @property
    def check_split(self) -> str:
        """Return the split that checks of a model use: `val`, else `test`, else the last one."""
        return next((split for split in ("val", "test") if split in self.splits), self.splits[-1])

    def labels(self, split: str) -> Sequence[int]:
        """Return the class of each sample without reading its input. For segmentations, all are 0."""
        return [0] * len(self.names(split))

    def truth(self, split: str, index: int) -> bytes:
        """Return the stored bytes of the labels of a segmentation sample."""
        raise NotImplementedError

    def is_file(self, split: str, index: int) -> bool:
        """Return True if `content` reads a file, which may be damaged. Arrays and rendered scenes are no files."""
        return True

    def fingerprint(self, split: str, index: int) -> bytes:
        """Return the SHA-256 of the sample's content. It is cached, because a large data set takes long to read."""
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
    """A data set of classes that lists its samples."""

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
        return tuple(sample.name for sample in self.of_split(split))

    def labels(self, split: str) -> list[int]:
        """Return the class of each sample."""
        return [sample.label for sample in self.of_split(split)]

    def of_split(self, split: str) -> Sequence[S]:
        """Return the samples of a split. Raises `ConfigError` for a missing split."""
        require_split(self, split)
        return self.samples[split]


def digest_of(dataset: Dataset, items: Sequence[Item]) -> str:
    """Return the SHA-256 (hex) of some samples in order."""
    total = hashlib.sha256()
    labels = (
        {}
        if dataset.task in ("segment", "tensor")
        else {split: dataset.labels(split) for split in {part for part, _ in items}}
    )
    for split, index in items:
        truth = str(labels[split][index]).encode() if labels else dataset.truth(split, index)
        total.update(dataset.fingerprint(split, index))
        total.update(hashlib.sha256(truth).digest())
    return total.hexdigest()


def open_dataset(spec: str | Path) -> Dataset:
    """Open a data set by name or path.

    Args:
        spec: `scenes[:SEED]`; a path, whose kind is recognised by its content; `KIND:PATH`; or the name of a data set
            that `orilla data get` has downloaded.

    Raises:
        ConfigError: The name is unknown.
        DataError: The path does not exist or is not a data set.
    """
    text = str(spec)
    kind, rest = _kind_and_rest(text)
    if kind:
        return _open(kind, rest)
    path = Path(text)
    try:
        if path.exists():
            return _open(_kind_of(path), text)
    except OSError as error:
        if isinstance(error, DataError):
            raise
        msg = f"cannot read {text[:200]}: {error.strerror or error}"
        raise DataError(msg) from error
    published = import_module("orilla.runtime.evaluation.datasets.download").published()
    downloaded = _downloaded(text) if text in published else None
    if downloaded is not None:
        return _open(_kind_of(downloaded), str(downloaded))
    if path.suffix or "/" in text:
        msg = f"no such data set: {text}"
        raise DataError(msg)
    if text in published:
        msg = f"data set {text} is not downloaded: run orilla data get {text}, or give the path of its file"
        raise DataError(msg)
    if text in READERS:
        msg = f"data set {text} does not ship with orilla: give the path of its folder or zip"
        raise DataError(msg)
    raise unknown_name(text, [*READERS, *published], kind="data set")


def path_of(spec: str) -> Path | None:
    """Return the path in a data set specification. None for a name."""
    kind, rest = _kind_and_rest(spec)
    return Path(rest) if not (kind and is_embedded(kind)) and Path(rest).exists() else None


def absolute(spec: str) -> str:
    """Return a specification that means the same from every folder."""
    path = path_of(spec)
    if path is None:
        return spec
    kind, _ = _kind_and_rest(spec)
    return f"{kind}:{path.resolve()}" if kind else str(path.resolve())


def is_embedded(kind: str) -> bool:
    """Return True for a kind of data set that is part of Orilla and has no path."""
    return not isinstance(_reader(kind), FileReader)


def _kind_and_rest(spec: str) -> tuple[str, str]:
    """Return the kind, if the specification states one, and the rest: a path, or the argument of an embedded kind."""
    kind, colon, rest = spec.partition(":")
    if kind in READERS and (colon or is_embedded(kind)):
        return kind, rest
    return "", spec


def require_split(dataset: Dataset, split: str) -> None:
    """Raise `ConfigError` unless `dataset` has `split`."""
    if split not in dataset.splits:
        raise unknown_name(split, dataset.splits, kind=f"split of {dataset.source.name}")


def _downloaded(name: str) -> Path | None:
    folder = cache_folder() / name
    if not (folder / "complete").exists():
        return None
    files = [file for file in sorted(folder.iterdir()) if file.name not in ("complete", "imdb_word_index.json")]
    return files[0] if len(files) == 1 else folder


def _kind_of(path: Path) -> str:
    for kind in READERS:
        reader = _reader(kind)
        if isinstance(reader, FileReader) and reader.recognise(path):
            return kind
    msg = f"not a data set: {path}: none of {', '.join(READERS)} has that layout"
    raise DataError(msg)


def _open(kind: str, rest: str) -> Dataset:
    """Open a data set whose kind is known. `rest` is its path, or the argument of an embedded kind."""
    reader = _reader(kind)
    if not isinstance(reader, FileReader):
        return reader.open_dataset(rest)
    path = Path(rest)
    if not path.exists():
        msg = f"no such data set: {path}"
        raise DataError(msg)
    try:
        return reader.open_dataset(path)
    except OrillaError:
        raise
    except OSError as error:
        msg = f"cannot read {path}: {error.strerror or error}"
        raise DataError(msg) from error


class EmbeddedReader(Protocol):
    """A module that opens a kind of data set that is part of Orilla."""

    def open_dataset(self, argument: str) -> Dataset:
        """Open a data set by the text behind the colon. Raises `ConfigError` if it is invalid."""


@runtime_checkable
class FileReader(Protocol):
    """A module that opens one kind of data set in files."""

    def recognise(self, path: Path) -> bool:
        """Return True if a path contains a data set of this kind."""

    def open_dataset(self, path: Path) -> Dataset:
        """Open a data set. Raises `DataError` if the files are not a data set of this kind, or are damaged."""


@cache
def _reader(kind: str) -> EmbeddedReader | FileReader:
    return cast("EmbeddedReader | FileReader", import_module(f"orilla.runtime.evaluation.datasets.{kind}"))
