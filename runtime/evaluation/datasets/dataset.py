"""What a labelled data set is, and how a name or a path becomes one."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from importlib import import_module
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from orilla.devices.errors import ConfigError, DataError, unknown_name
from orilla.runtime.bundle.card import Source
from orilla.runtime.files import cache_folder
from orilla.runtime.preprocessing.image import Image
from orilla.runtime.tasks.task import Task

READERS = {
    "scenes": "procedural road scenes; scenes:SEED draws others",
    "camvid": "road scenes in the SegNet layout: train/ trainannot/ val/ valannot/",
    "kitti": "KITTI road: training/image_2 and training/gt_image_2 (um_, umm_, uu_)",
    "masks": "images/ and masks/ of the same names, below train/ val/ test/ or without splits",
    "folders": "one folder of pictures for each class, below train/ val/ test/ or without splits",
    "mnist": "MNIST or Fashion-MNIST: Keras' .npz, or a folder of the idx files",
    "imdb": "IMDB reviews: Keras' imdb.npz beside imdb_word_index.json",
    "arrays": "an .npz with an array x, one sample in each row, and y where the truth is known; export and verify only",
    "texts": "one folder of .txt files for each class, or a .csv with the columns text and label",
}
"""Kind of data set to what it is; `orilla.runtime.evaluation.datasets.KIND` has its `recognise` and `open_dataset`."""


@dataclass(frozen=True, slots=True)
class LabelledImage:
    """One picture and the class of each of its pixels."""

    name: str
    """Unique within its split; what stands before the first `_` names the sequence, where there is one."""
    image: Image
    """`[H,W,3]` uint8 BGR."""
    labels: NDArray[np.uint8]
    """`[H,W]` class indices into `Dataset.classes`, or `Dataset.ignore`."""


@dataclass(frozen=True, slots=True)
class ClassifiedImage:
    """One picture and its class."""

    name: str
    image: Image
    """`[H,W,3]` uint8 BGR."""
    label: int
    """Index into `Dataset.classes`."""


@dataclass(frozen=True, slots=True)
class ClassifiedText:
    """One text and its class."""

    name: str
    text: str
    label: int
    """Index into `Dataset.classes`."""


@dataclass(frozen=True, slots=True)
class ArraySample:
    """Arrays and what should come of them."""

    name: str
    arrays: Mapping[str, NDArray[np.generic]]
    """By the network's inputs; one of any name, where the network takes one."""
    target: NDArray[np.generic] | int | None
    """The class, the output's values, or None where nothing is known."""


Sample = LabelledImage | ClassifiedImage | ClassifiedText | ArraySample


Item = tuple[str, int]
"""Split and index of a sample."""


class Dataset(ABC):
    """Splits of labelled samples; loading is lazy, and safe from several threads."""

    source: Source
    task: Task
    classes: tuple[str, ...]
    ignore: int = 255
    """The label of pixels that count neither in a loss nor in a metric; of segmentation only."""
    labelled: bool = True
    """Whether the truth is known."""

    @property
    @abstractmethod
    def splits(self) -> tuple[str, ...]:
        """`train`, `val` and `test`, as far as they are there."""

    @abstractmethod
    def names(self, split: str) -> tuple[str, ...]:
        """Names of the split's samples, in order; raises `ConfigError` for a split that is not there."""

    @abstractmethod
    def load(self, split: str, index: int) -> Sample:
        """Reads one sample; raises `DataError` where it is damaged or its labels don't fit."""

    @abstractmethod
    def content(self, split: str, index: int) -> bytes:
        """The stored bytes of the sample's input: equal bytes mean the same sample."""

    @property
    def checked(self) -> str:
        """The split that exported variants are held against: `val`, else `test`, else the last."""
        return next((split for split in ("val", "test") if split in self.splits), self.splits[-1])

    def labels(self, split: str) -> Sequence[int]:
        """The class of each sample, without reading its input; of segmentation, which has none, all 0."""
        return [0] * len(self.names(split))

    def truth(self, split: str, index: int) -> bytes:
        """The stored bytes of the labels of a segmentation's sample."""
        raise NotImplementedError

    def is_file(self, split: str, index: int) -> bool:
        """Whether `content` is a file that may be damaged, not an array or a drawing."""
        return True

    def fingerprint(self, split: str, index: int) -> bytes:
        """SHA-256 of the sample's content, kept: a large data set is read for it once."""
        known = self._fingerprints.get((split, index))
        if known is None:
            known = self._fingerprints[split, index] = hashlib.sha256(self.content(split, index)).digest()
        return known

    @cached_property
    def _fingerprints(self) -> dict[Item, bytes]:
        return {}

    def digest(self, split: str) -> str:
        """SHA-256 (hex) of the split's inputs and truths in order: equal digests mean equal data."""
        return digest_of(self, [(split, index) for index in range(len(self.names(split)))])


def digest_of(dataset: Dataset, items: Sequence[Item]) -> str:
    """SHA-256 (hex) of some samples in order."""
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
    """Opens a data set by name or path.

    Args:
        spec: `scenes[:SEED]`, a path whose kind is recognised by its content, `KIND:PATH` to say the kind, or the
            name of one that `orilla data get` downloaded.

    Raises:
        ConfigError: a name that is not known.
        DataError: a path that is not there or not a data set.
    """
    text = str(spec)
    kind, place = _kind_and_place(text)
    if kind == "scenes":
        return _reader(kind).open_dataset(place)
    if kind:
        return _open(kind, Path(place))
    path = Path(text)
    try:
        if path.exists():
            return _open(_kind_of(path), path)
    except OSError as error:
        if isinstance(error, DataError):
            raise
        msg = f"cannot read {text[:200]}: {error.strerror or error}"
        raise DataError(msg) from error
    published = import_module("orilla.runtime.evaluation.datasets.download").published()
    downloaded = _downloaded(text) if text in published else None
    if downloaded is not None:
        return _open(_kind_of(downloaded), downloaded)
    if path.suffix or "/" in text:
        msg = f"no such data set: {text}"
        raise DataError(msg)
    if text in published:
        msg = f"data set {text} is not here: run orilla data get {text}, or give the path of its file"
        raise DataError(msg)
    if text in READERS:
        msg = f"data set {text} is not shipped: give the path of its folder or zip"
        raise DataError(msg)
    msg = "data set"
    raise unknown_name(msg, text, [*READERS, *published])


def path_of(spec: str) -> Path | None:
    """The file or folder that a data set's spec names; None for a name of one."""
    kind, place = _kind_and_place(spec)
    return Path(place) if kind != "scenes" and Path(place).exists() else None


def absolute(spec: str) -> str:
    """A data set's spec that means the same from every folder."""
    path = path_of(spec)
    if path is None:
        return spec
    kind, _ = _kind_and_place(spec)
    return f"{kind}:{path.resolve()}" if kind else str(path.resolve())


def _kind_and_place(spec: str) -> tuple[str, str]:
    """The kind where it is said, else an empty one, and what follows."""
    kind, colon, place = spec.partition(":")
    return (kind, place) if kind == "scenes" or (colon and kind in READERS) else ("", spec)


def require_split(dataset: Dataset, split: str) -> None:
    """Raises `ConfigError` unless `dataset` has `split`."""
    if split not in dataset.splits:
        msg = f"split of {dataset.source.name}"
        raise unknown_name(msg, split, dataset.splits)


def _downloaded(name: str) -> Path | None:
    folder = cache_folder() / name
    if not (folder / "complete").exists():
        return None
    files = [file for file in sorted(folder.iterdir()) if file.name not in ("complete", "imdb_word_index.json")]
    return files[0] if len(files) == 1 else folder


def _kind_of(path: Path) -> str:
    for kind in READERS:
        if kind != "scenes" and _reader(kind).recognise(path):
            return kind
    msg = f"not a data set: {path}: none of {', '.join(READERS)} has that layout"
    raise DataError(msg)


def _open(kind: str, path: Path) -> Dataset:
    if not path.exists():
        msg = f"no such data set: {path}"
        raise DataError(msg)
    try:
        dataset: Dataset = _reader(kind).open_dataset(path)
    except ConfigError:
        raise
    except OSError as error:
        msg = f"cannot read {path}: {error.strerror or error}"
        raise DataError(msg) from error
    return dataset


@cache
def _reader(kind: str) -> _Reader:
    module = import_module(f"orilla.runtime.evaluation.datasets.{kind}")
    return _Reader(getattr(module, "recognise", lambda path: False), module.open_dataset)


@dataclass(frozen=True, slots=True)
class _Reader:
    recognise: Callable[[Path], bool]
    open_dataset: Callable[..., Dataset]
