"""What a labelled data set is, and how a name or a path becomes one."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import ClassVar, Protocol

import msgspec
import numpy as np
from numpy.typing import NDArray

from orilla.devices.errors import DataError, unknown_name
from orilla.runtime.preprocess import Image

READERS = {
    "camvid": "orilla.runtime.datasets.camvid",
    "scenes": "orilla.runtime.datasets.scenes",
}
"""Name of a data set to the module whose `open_dataset(argument)` reads it."""


class Source(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where a data set comes from, as a model card states it."""

    name: str
    title: str
    licence: str


@dataclass(frozen=True, slots=True)
class LabelledImage:
    """One picture and the class of each of its pixels."""

    name: str
    """Unique within its split; what stands before the first `_` names the sequence, where there is one."""
    image: Image
    """`[H,W,3]` uint8 BGR."""
    labels: NDArray[np.uint8]
    """`[H,W]` class indices into `Dataset.classes`, or `Dataset.ignore`."""


class Dataset(Protocol):
    """Splits of labelled pictures; loading is lazy, and safe from several threads."""

    source: ClassVar[Source]
    classes: ClassVar[tuple[str, ...]]
    ignore: ClassVar[int]
    """The label of pixels that count neither in a loss nor in a metric."""

    @property
    def splits(self) -> tuple[str, ...]:
        """`train`, `val` and `test`, as far as they are there."""

    def names(self, split: str) -> tuple[str, ...]:
        """Names of the split's samples, in order."""

    def load(self, split: str, index: int) -> LabelledImage:
        """Reads one sample; raises `DataError` where picture and labels don't fit."""

    def digest(self, split: str) -> str:
        """SHA-256 (hex) of what defines the split: equal digests mean equal data."""


def open_dataset(spec: str | Path) -> Dataset:
    """Opens a data set by name (`scenes`, `scenes:SEED`) or by path (a CamVid folder or zip).

    Raises:
        ConfigError: a name that is not known.
        DataError: a path that is not there or not a data set.
    """
    text = str(spec)
    name, _, argument = text.partition(":")
    dataset: Dataset
    if name == "scenes":
        dataset = import_module(READERS[name]).open_dataset(argument)
        return dataset
    path = Path(text)
    try:
        if path.exists():
            dataset = import_module(READERS["camvid"]).open_dataset(path)
            return dataset
    except OSError as error:
        raise DataError(f"cannot read {text[:200]}: {error.strerror or error}") from error
    if path.suffix or "/" in text:
        raise DataError(f"no such data set: {text}")
    if name in READERS:
        raise DataError(f"data set {name} is not shipped: give the path of its folder or zip")
    raise unknown_name("data set", name, READERS)


def require_split(dataset: Dataset, split: str) -> None:
    """Raises `ConfigError` unless `dataset` has `split`."""
    if split not in dataset.splits:
        raise unknown_name(f"split of {dataset.source.name}", split, dataset.splits)


def text_digest(*parts: object) -> str:
    """SHA-256 (hex) of the parts' text, for a data set that is computed."""
    return hashlib.sha256("\n".join(map(str, parts)).encode()).hexdigest()
