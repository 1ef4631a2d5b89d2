"""Data set IMDB in Keras' form: `imdb.npz` with lists of word ranks, `imdb_word_index.json` with the words.

Source: Maas et al., "Learning Word Vectors for Sentiment Analysis" (2011). The reviews are converted back into texts
with blanks between the words, so that training and the robot use the same tokeniser.
"""

from __future__ import annotations

import json
import pickle
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from orilla.devices.errors import DataError
from orilla.runtime.evaluation.datasets.dataset import ClassifiedText, Dataset, require_split
from orilla.runtime.evaluation.datasets.texts import IMDB

CLASSES = ("negative", "positive")
INDEX = "imdb_word_index.json"
ALLOWED = {("numpy.core.multiarray", "_reconstruct"), ("numpy._core.multiarray", "_reconstruct")} | {
    ("numpy", "ndarray"),
    ("numpy", "dtype"),
}
"""Names that the pickled lists may refer to. Others are rejected, because a pickle can run code."""


class Imdb(Dataset):
    """IMDB reviews. A text is joined from its words when it is read."""

    source = IMDB
    task = "text"
    classes = CLASSES

    def __init__(self, ranks: dict[str, Any], labels: dict[str, list[int]], words: list[str]) -> None:
        self._ranks, self._labels, self._words = ranks, labels, words

    @property
    def splits(self) -> tuple[str, ...]:
        return tuple(self._labels)

    def names(self, split: str) -> tuple[str, ...]:
        require_split(self, split)
        return tuple(map(str, range(len(self._labels[split]))))

    def labels(self, split: str) -> list[int]:
        require_split(self, split)
        return self._labels[split]

    def load(self, split: str, index: int) -> ClassifiedText:
        require_split(self, split)
        return ClassifiedText(str(index), self._text(split, index), self._labels[split][index])

    def content(self, split: str, index: int) -> bytes:
        return self._text(split, index).encode()

    def _text(self, split: str, index: int) -> str:
        words = self._words
        return " ".join([words[rank] for rank in self._ranks[split][index]])


def recognise(path: Path) -> bool:
    """Return True for Keras' `imdb.npz`, or a folder with it and the word index."""
    if path.is_dir():
        return (path / "imdb.npz").is_file()
    if path.suffix != ".npz":
        return False
    try:
        with zipfile.ZipFile(path) as archive, archive.open("x_train.npy") as stream:
            np.lib.format.read_magic(stream)
            return np.lib.format.read_array_header_1_0(stream)[2] == np.dtype(object)
    except (KeyError, ValueError, zipfile.BadZipFile, OSError):
        return False


def open_dataset(path: Path) -> Imdb:
    """Open `imdb.npz`. The word index must lie next to it."""
    file = path / "imdb.npz" if path.is_dir() else path
    index = file.parent / INDEX
    if not index.is_file():
        msg = f"{index} is missing: {file.name} contains word ranks, {INDEX} the words"
        raise DataError(msg)
    try:
        words = _words(json.loads(index.read_text(encoding="utf-8")))
        arrays = {name: _read(file, name) for name in ("x_train", "x_test", "y_train", "y_test")}
        for split in ("train", "test"):
            _check(arrays[f"x_{split}"], arrays[f"y_{split}"], len(words))
    except DATA_ERRORS as error:
        msg = f"cannot read {file} with {INDEX}: {error}"
        raise DataError(msg) from error
    ranks = {split: arrays[f"x_{split}"] for split in ("train", "test")}
    return Imdb(ranks, {split: [int(label) for label in arrays[f"y_{split}"]] for split in ranks}, words)


DATA_ERRORS = (
    KeyError,
    ValueError,
    EOFError,
    TypeError,
    AttributeError,
    IndexError,
    MemoryError,
    zipfile.BadZipFile,
    pickle.UnpicklingError,
)

MAX_WORDS = 1_000_000


def _check(ranks: Any, labels: Any, words: int) -> None:
    if len(ranks) != len(labels) or not {int(label) for label in labels} <= {0, 1}:
        msg = f"{len(ranks)} reviews with {len(labels)} labels, which must be 0 or 1"
        raise ValueError(msg)
    for review in ranks:
        if not all(isinstance(rank, int) and 1 <= rank < words for rank in review):
            odd = next(rank for rank in review if not (isinstance(rank, int) and 1 <= rank < words))
            msg = f"a review has the word rank {odd!r}, but {INDEX} has ranks from 1 to {words - 1}"
            raise ValueError(msg)


def _words(ranks: dict[str, int]) -> list[str]:
    if not all(isinstance(rank, int) and 1 <= rank <= MAX_WORDS for rank in ranks.values()):
        msg = f"{INDEX} must give each word a rank from 1 to {MAX_WORDS}"
        raise ValueError(msg)
    words = [""] * (max(ranks.values()) + 1)
    for word, rank in ranks.items():
        words[rank] = word
    return words


def _read(file: Path, name: str) -> Any:
    """Read an array of the `.npz`. Lists are unpickled by a reader that accepts only lists and arrays."""
    with zipfile.ZipFile(file) as archive, archive.open(f"{name}.npy") as stream:
        np.lib.format.read_magic(stream)
        shape, _, dtype = np.lib.format.read_array_header_1_0(stream)
        if dtype != np.dtype(object):
            return np.frombuffer(stream.read(), dtype).reshape(shape)
        return _Lists(stream).load()


class _Lists(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in ALLOWED:
            msg = f"the file refers to {module}.{name}, which a list of word ranks does not need"
            raise pickle.UnpicklingError(msg)
        return super().find_class(module, name)
