"""Data set of texts in two or more classes: a folder of `.txt` files per class, as in aclImdb, or a `.csv`."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from orilla.devices.errors import DataError
from orilla.runtime.bundle.card import Source
from orilla.runtime.evaluation.datasets import tree
from orilla.runtime.evaluation.datasets.class_folders import ClassFolders, top_of
from orilla.runtime.evaluation.datasets.dataset import SPLITS, ClassifiedText, ListedDataset

COLUMNS = ("text", "label")
IMDB = Source("imdb", "IMDB reviews", "for research (Maas et al. 2011)")
MAX_CHARACTERS = 1 << 24
"""Maximum length of a `.csv` field in characters."""


class TextFolders(ClassFolders):
    """Texts in class folders. Classes are the folder names in alphabetical order."""

    task = "text"
    suffixes = (".txt",)
    kind = "text"

    def source_of(self, name: str) -> Source:
        """Return the description of a data set with this folder name."""
        return IMDB if name.lower().startswith("aclimdb") else Source(name, f"texts in {name}/", "not stated")

    def load(self, split: str, index: int) -> ClassifiedText:
        """Load one sample."""
        sample = self.sample(split, index)
        return ClassifiedText(sample.name, _text(tree.read(sample.file), sample.name), sample.label)


class TextTable(ListedDataset[ClassifiedText]):
    """A `.csv` with the columns `text` and `label`, and optionally `split`."""

    task = "text"

    def __init__(self, path: Path) -> None:
        self.source = Source(path.stem, f"texts in {path.name}", "not stated")
        rows = _rows(path)
        self.classes = tuple(sorted({label for _, label, _ in rows}))
        if len(self.classes) < 2:
            msg = f"{path} has only one label, {self.classes[0]!r}: a classifier needs two or more"
            raise DataError(msg)
        order = {name: label for label, name in enumerate(self.classes)}
        self._samples: dict[str, list[ClassifiedText]] = {split: [] for split in SPLITS}
        for number, (text, label, split) in enumerate(rows):
            known_split = tree.SPLITS.get(split.lower()) if split else tree.split_of(text.encode())
            if known_split is None:
                msg = f"{path} row {number + 1}: split {split!r} must be train, val or test"
                raise DataError(msg)
            self._samples[known_split].append(ClassifiedText(f"row {number + 1}", text, order[label]))
        self._samples = {split: samples for split, samples in self._samples.items() if samples}

    @property
    def samples(self) -> dict[str, list[ClassifiedText]]:
        """Return the rows of each split."""
        return self._samples

    def load(self, split: str, index: int) -> ClassifiedText:
        """Return a row."""
        return self.samples_of(split)[index]

    def content(self, split: str, index: int) -> bytes:
        """Return the text in UTF-8."""
        return self._samples[split][index].text.encode()


def recognise(path: Path) -> bool:
    """Return True for a `.csv`, or for a folder or zip with two or more folders of texts, with or without splits."""
    if path.is_file() and path.suffix.lower() != ".zip":
        return path.suffix.lower() == ".csv"
    return top_of(path, TextFolders.suffixes) is not None


def open_dataset(path: Path) -> TextFolders | TextTable:
    """Open a `.csv`, or the class folders in a folder or zip. They may lie inside another folder."""
    if path.is_file() and path.suffix.lower() == ".csv":
        return TextTable(path)
    lack = "does not have two folders of .txt files, one per class"
    return TextFolders(tree.required(top_of(path, TextFolders.suffixes), path, lack), path)


def _rows(path: Path) -> list[tuple[str, str, str]]:
    """Return the text, label and split of each row. The split is empty if the table has no split column."""
    csv.field_size_limit(MAX_CHARACTERS)
    reader = csv.DictReader(io.StringIO(tree.decode_text(path.read_bytes(), str(path)), newline=""))
    try:
        _check_header(path, reader.fieldnames or [])
        rows = [_row(f"{path} row {number}", row) for number, row in enumerate(reader, 1)]
    except csv.Error as error:
        msg = f"cannot read {path}: {error}"
        raise DataError(msg) from error
    if not rows:
        msg = f"{path} has no rows"
        raise DataError(msg)
    return rows


def _check_header(path: Path, names: Sequence[str]) -> None:
    missing = [column for column in COLUMNS if column not in names]
    if missing:
        listed = ", ".join(map(repr, names)) or "nothing"
        msg = (
            f"{path} has no column {missing[0]!r}: its first line must name the columns text and label, but it names "
            f"{listed}"
        )
        raise DataError(msg)


def _row(name: str, row: dict[str | None, Any]) -> tuple[str, str, str]:
    if None in row:
        msg = f"{name} has too many fields: put texts with commas in quotes"
        raise DataError(msg)
    text, label, split = (row.get(column) or "" for column in (*COLUMNS, "split"))
    if not label.strip():
        msg = f"{name} has no label"
        raise DataError(msg)
    return text, label.strip(), split.strip()


def _text(data: bytes, name: str) -> str:
    text = tree.decode_text(data, name)
    if not text.strip():
        msg = f"{name} is empty: remove it"
        raise DataError(msg)
    return text
