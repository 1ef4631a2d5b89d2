"""Data set IMDB as Keras publishes it: `imdb.npz` with lists of word ranks, and `imdb_word_index.json` with the words.

Source: Maas et al., "Learning Word Vectors for Sentiment Analysis" (2011). The reviews are converted back into strings
with a space between words, so that training and the device use the same tokeniser.
"""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np

from orilla.devices.errors import DataError
from orilla.devices.gate import only_our_errors
from orilla.devices.text_files import json_bytes
from orilla.runtime.evaluation.datasets import npz, pickles
from orilla.runtime.evaluation.datasets.dataset import ClassifiedText, NumberedDataset, require_split
from orilla.runtime.evaluation.datasets.texts import IMDB

CLASSES = ("negative", "positive")
INDEX = "imdb_word_index.json"


class Imdb(NumberedDataset):
    """IMDB reviews. The words of a review are joined when it is loaded."""

    source = IMDB
    task = "text"
    classes = CLASSES

    def __init__(self, ranks: dict[str, Any], labels: dict[str, list[int]], words: list[str]) -> None:
        super().__init__(labels)
        self._ranks, self._words = ranks, words

    def load(self, split: str, index: int) -> ClassifiedText:
        """Load one sample."""
        require_split(self, split)
        return ClassifiedText(str(index), self._text(split, index), self.labels(split)[index])

    def content(self, split: str, index: int) -> bytes:
        """Return the words of a review in UTF-8."""
        return self._text(split, index).encode()

    def _text(self, split: str, index: int) -> str:
        words = self._words
        return " ".join([words[rank] for rank in self._ranks[split][index]])


def recognise(path: Path) -> bool:
    """Return True for a `.npz` whose array `x_train` contains lists, or a folder with `imdb.npz`."""
    if path.is_dir():
        return (path / "imdb.npz").is_file()
    header = npz.header_of(path, "x_train") if path.suffix == ".npz" else None
    return header is not None and header[1] == np.dtype(object)


def open_dataset(path: Path) -> Imdb:
    """Open `imdb.npz`. The word index must lie next to it."""
    file = path / "imdb.npz" if path.is_dir() else path
    index = file.parent / INDEX
    if not index.is_file():
        msg = (
            f"{index} is missing: put {INDEX}, which contains the words, next to {file.name}, which contains only "
            "word ranks"
        )
        raise DataError(msg)
    with only_our_errors(index):
        words = _words(json.loads(json_bytes(index.read_bytes(), index.name)))
    with only_our_errors(file):
        arrays = {name: _read(file, name) for name in ("x_train", "x_test", "y_train", "y_test")}
        for split in ("train", "test"):
            _check(arrays[f"x_{split}"], arrays[f"y_{split}"], len(words))
    ranks = {split: arrays[f"x_{split}"] for split in ("train", "test")}
    return Imdb(ranks, {split: [int(label) for label in arrays[f"y_{split}"]] for split in ranks}, words)


MAX_WORDS = 1_000_000
"""Highest rank in the word index."""


def _check(ranks: Any, labels: Any, words: int) -> None:
    if len(ranks) != len(labels) or not {int(label) for label in labels} <= {0, 1}:
        msg = f"the file has {len(ranks)} reviews and {len(labels)} labels: each review must have one label, 0 or 1"
        raise ValueError(msg)
    for review in ranks:
        if not all(isinstance(rank, int) and 1 <= rank < words for rank in review):
            rank = next(rank for rank in review if not (isinstance(rank, int) and 1 <= rank < words))
            msg = f"a review has the word rank {rank!r}, but {INDEX} has ranks from 1 to {words - 1}"
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
    """Read a numeric array, or the lists of an object array, from the `.npz`."""
    stream = io.BytesIO(npz.read_member(file, name))
    shape, dtype = npz.read_header(stream)
    if dtype != np.dtype(object):
        return np.frombuffer(stream.read(), dtype).reshape(shape)
    array = pickles.load(stream)
    if not (isinstance(array, pickles.PickledArray) and isinstance(array.items, list)):
        msg = f"{name} is not an array of lists"
        raise DataError(msg)
    return array.items
