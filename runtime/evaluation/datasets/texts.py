"""Data set of texts in two or more classes: one folder of `.txt` files per class (like aclImdb), or a `.csv`."""

from __future__ import annotations

import csv
from pathlib import Path

from orilla.devices.errors import DataError
from orilla.runtime.bundle.card import Source
from orilla.runtime.evaluation.datasets import tree
from orilla.runtime.evaluation.datasets.class_folders import ClassFolders, top_of
from orilla.runtime.evaluation.datasets.dataset import SPLITS, ClassifiedText, ListedDataset

COLUMNS = ("text", "label")
IMDB = Source("imdb", "IMDB reviews", "for research (Maas et al. 2011)")
MAX_CHARACTERS = 1 << 24
"""Maximum length of a field of a table, in characters."""


class TextFolders(ClassFolders):
    """Texts in class folders. Classes are the folder names in alphabetical order."""

    task = "text"
    suffixes = (".txt",)
    kind = "text"

    def source_of(self, name: str) -> Source:
        return IMDB if name.lower().startswith("aclimdb") else Source(name, f"texts in {name}/", "not stated")

    def load(self, split: str, index: int) -> ClassifiedText:
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
            msg = f"{path} has {len(self.classes)} label: a classifier needs two or more"
            raise DataError(msg)
        order = {name: label for label, name in enumerate(self.classes)}
        self._samples: dict[str, list[ClassifiedText]] = {split: [] for split in SPLITS}
        for number, (text, label, split) in enumerate(rows):
            home = tree.SPLITS.get(split.lower()) if split else tree.split_of(text.encode())
            if home is None:
                msg = f"{path} row {number + 1}: split {split!r} is none of train, val, test"
                raise DataError(msg)
            self._samples[home].append(ClassifiedText(f"row {number + 1}", text, order[label]))
        self._samples = {split: samples for split, samples in self._samples.items() if samples}

    @property
    def samples(self) -> dict[str, list[ClassifiedText]]:
        """Return the rows of each split."""
        return self._samples

    def load(self, split: str, index: int) -> ClassifiedText:
        """Return a row."""
        return self.of_split(split)[index]

    def content(self, split: str, index: int) -> bytes:
        """Return the text in UTF-8."""
        return self._samples[split][index].text.encode()


def recognise(path: Path) -> bool:
    """Return True for a `.csv`, or a folder or zip with two or more folders of texts, possibly below splits."""
    if path.is_file() and path.suffix.lower() != ".zip":
        return path.suffix.lower() == ".csv"
    return top_of(path, TextFolders.suffixes) is not None


def open_dataset(path: Path) -> TextFolders | TextTable:
    """Open a `.csv`, or the folder or zip at `path`, or its only folder."""
    if path.is_file() and path.suffix.lower() == ".csv":
        return TextTable(path)
    top = top_of(path, TextFolders.suffixes)
    if top is None:
        msg = f"not a data set: {path} does not have two folders of .txt files, one per class"
        raise DataError(msg)
    return TextFolders(top, path)


def _rows(path: Path) -> list[tuple[str, str, str]]:
    csv.field_size_limit(MAX_CHARACTERS)
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            missing = [column for column in COLUMNS if column not in (reader.fieldnames or [])]
            if missing:
                names = ", ".join(map(repr, reader.fieldnames or [])) or "nothing"
                msg = f"{path} has no column {missing[0]!r}: its first line must name text and label, but names {names}"
                raise DataError(msg)
            rows: list[tuple[str, str, str]] = []
            for row in reader:
                if None in row:
                    msg = f"{path} row {len(rows) + 1} has too many fields: put texts with commas in quotes"
                    raise DataError(msg)
                rows.append((row["text"] or "", (row["label"] or "").strip(), (row.get("split") or "").strip()))
    except UnicodeDecodeError as error:
        msg = f"{path} is not UTF-8 (byte {error.start}): store it as UTF-8"
        raise DataError(msg) from error
    except csv.Error as error:
        msg = f"cannot read {path}: {error}"
        raise DataError(msg) from error
    for number, (_, label, _) in enumerate(rows):
        if not label:
            msg = f"{path} row {number + 1} has no label"
            raise DataError(msg)
    if not rows:
        msg = f"{path} has no rows"
        raise DataError(msg)
    return rows


def _text(data: bytes, name: str) -> str:
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        msg = f"{name} is not UTF-8 (byte {error.start}): store it as UTF-8"
        raise DataError(msg) from error
    if not text.strip():
        msg = f"{name} is empty: remove it"
        raise DataError(msg)
    return text
