"""Texts of two or more classes: one folder of `.txt` files for each (as aclImdb has them), or a `.csv`."""

from __future__ import annotations

import csv
from functools import cached_property
from pathlib import Path

from orilla.devices.errors import DataError
from orilla.runtime.datasets import tree
from orilla.runtime.datasets.labelled import ClassifiedText, Dataset, Source, require_split

COLUMNS = ("text", "label")
IMDB = Source("imdb", "IMDB reviews, 25,000 + 25,000", "for research (Maas et al. 2011)")
MOST_CHARACTERS = 1 << 24
"""Of a field of a table."""

UNSUPERVISED = ("unsup",)
"""Folders that are no class."""


class TextFolders(Dataset):
    """Classes are the folders' names, in alphabetical order."""

    task = "text"

    def __init__(self, top: tree.Folder, where: Path) -> None:
        self._top = top
        name = top.name or where.stem
        self.source = IMDB if name.lower().startswith("aclimdb") else Source(name, f"texts in {name}/", "not stated")
        self._splits = tree.split_folders(top)
        self.classes = tuple(sorted({child.name for parent in self._parents for child in _classes(parent)}))

    @property
    def _parents(self) -> list[tree.Folder]:
        return list(self._splits.values()) or [self._top]

    @cached_property
    def _samples(self) -> dict[str, list[tuple[tree.Folder, int]]]:
        found: dict[str, list[tuple[tree.Folder, int]]] = {}
        for split, parent in self._splits.items() or [("", self._top)]:
            for label, name in enumerate(self.classes):
                folder = parent / name
                texts = tree.files(folder, (".txt",)) if folder.is_dir() else []
                if not texts:
                    raise DataError(f"class {name} has no text in {parent.name or self.source.name}/: add some")
                for text in texts:
                    found.setdefault(split or tree.split_of(tree.read(text)), []).append((text, label))
        return {split: found[split] for split in ("train", "val", "test") if split in found}

    @property
    def splits(self) -> tuple[str, ...]:
        return tuple(self._samples)

    def names(self, split: str) -> tuple[str, ...]:
        require_split(self, split)
        return tuple(f"{self.classes[label]}/{file.name}" for file, label in self._samples[split])

    def labels(self, split: str) -> list[int]:
        require_split(self, split)
        return [label for _, label in self._samples[split]]

    def load(self, split: str, index: int) -> ClassifiedText:
        require_split(self, split)
        file, label = self._samples[split][index]
        name = f"{self.classes[label]}/{file.name}"
        return ClassifiedText(name, _text(tree.read(file), name), label)

    def content(self, split: str, index: int) -> bytes:
        return tree.read(self._samples[split][index][0])


class TextTable(Dataset):
    """A `.csv` with the columns `text` and `label`, and `split` where it states one."""

    task = "text"

    def __init__(self, path: Path) -> None:
        self.source = Source(path.stem, f"texts in {path.name}", "not stated")
        rows = _rows(path)
        self.classes = tuple(sorted({label for _, label, _ in rows}))
        if len(self.classes) < 2:
            raise DataError(f"{path} has {len(self.classes)} label: a classifier needs two or more")
        order = {name: label for label, name in enumerate(self.classes)}
        self._samples: dict[str, list[ClassifiedText]] = {split: [] for split in ("train", "val", "test")}
        for number, (text, label, split) in enumerate(rows):
            home = tree.SPLITS.get(split.lower()) if split else tree.split_of(text.encode())
            if home is None:
                raise DataError(f"{path} row {number + 1}: split {split!r} is none of train, val, test")
            self._samples[home].append(ClassifiedText(f"row {number + 1}", text, order[label]))
        self._samples = {split: samples for split, samples in self._samples.items() if samples}

    @property
    def splits(self) -> tuple[str, ...]:
        return tuple(self._samples)

    def names(self, split: str) -> tuple[str, ...]:
        require_split(self, split)
        return tuple(sample.name for sample in self._samples[split])

    def labels(self, split: str) -> list[int]:
        require_split(self, split)
        return [sample.label for sample in self._samples[split]]

    def load(self, split: str, index: int) -> ClassifiedText:
        require_split(self, split)
        return self._samples[split][index]

    def content(self, split: str, index: int) -> bytes:
        return self._samples[split][index].text.encode()


def recognise(path: Path) -> bool:
    """Whether it is a `.csv`, or has two or more folders of texts, beside each other or below split folders."""
    return path.suffix.lower() == ".csv" if path.is_file() and path.suffix else _top(path) is not None


def open_dataset(path: Path) -> TextFolders | TextTable:
    """Opens a `.csv`, or the folder or zip at `path`, or the single folder inside it."""
    if path.is_file() and path.suffix.lower() == ".csv":
        return TextTable(path)
    top = _top(path)
    if top is None:
        raise DataError(f"not a data set: {path} has no two folders of .txt files, one for each class")
    return TextFolders(top, path)


def _rows(path: Path) -> list[tuple[str, str, str]]:
    csv.field_size_limit(MOST_CHARACTERS)
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            missing = [column for column in COLUMNS if column not in (reader.fieldnames or [])]
            if missing:
                raise DataError(f"{path} has no column {missing[0]!r}: its first line must name text and label")
            rows = [(row["text"] or "", row["label"], row.get("split") or "") for row in reader]
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not UTF-8 (byte {error.start}): store it as UTF-8") from error
    except csv.Error as error:
        raise DataError(f"cannot read {path}: {error}") from error
    for number, (_, label, _) in enumerate(rows):
        if not label:
            raise DataError(f"{path} row {number + 1} has no label")
    if not rows:
        raise DataError(f"{path} has no rows")
    return rows


def _text(data: bytes, name: str) -> str:
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{name} is not UTF-8 (byte {error.start}): store it as UTF-8") from error
    if not text.strip():
        raise DataError(f"{name} is empty: remove it")
    return text


def _classes(parent: tree.Folder) -> list[tree.Folder]:
    return [child for child in tree.folders(parent) if child.name not in UNSUPERVISED and _holds_text(child)]


def _top(path: Path) -> tree.Folder | None:
    at = tree.candidates(path)
    for candidate in at:
        parents = list(tree.split_folders(candidate).values())
        if parents and all(len(_classes(parent)) > 1 for parent in parents):
            return candidate
    return next((candidate for candidate in at if len(_classes(candidate)) > 1), None)


def _holds_text(folder: tree.Folder) -> bool:
    return any(Path(file.name).suffix.lower() == ".txt" for file in folder.iterdir())
