"""What data sets with one folder of files for each class share."""

from __future__ import annotations

from abc import abstractmethod
from functools import cached_property
from pathlib import Path

from orilla.devices.errors import DataError
from orilla.runtime.card import Source
from orilla.runtime.datasets import tree
from orilla.runtime.datasets.labelled import Dataset, require_split

UNSUPERVISED = ("unsup",)
"""Folders that are no class: aclImdb's unlabelled texts."""


class ClassFolders(Dataset):
    """Classes are the folders' names, in alphabetical order, below split folders or without."""

    suffixes: tuple[str, ...]
    kind: str
    """What a file is called in messages."""

    def __init__(self, top: tree.Folder, where: Path) -> None:
        self._top = top
        self.source = self.source_of(top.name or where.stem)
        self._splits = tree.split_folders(top)
        parents = list(self._splits.values()) or [top]
        self.classes = tuple(sorted({child.name for parent in parents for child in _classes(parent)}))

    @abstractmethod
    def source_of(self, name: str) -> Source:
        """What is known of a data set by its folder's name."""

    @cached_property
    def _samples(self) -> dict[str, list[tuple[tree.Folder, int]]]:
        found: dict[str, list[tuple[tree.Folder, int]]] = {}
        for split, parent in self._splits.items() or [("", self._top)]:
            for label, name in enumerate(self.classes):
                folder = parent / name
                files = tree.files(folder, self.suffixes) if folder.is_dir() else []
                if not files:
                    raise DataError(f"class {name} has no {self.kind} in {parent.name or self.source.name}/: add some")
                for file in files:
                    found.setdefault(split or tree.split_of(tree.read(file)), []).append((file, label))
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

    def sample(self, split: str, index: int) -> tuple[tree.Folder, int]:
        """File and class of a sample."""
        require_split(self, split)
        return self._samples[split][index]

    def content(self, split: str, index: int) -> bytes:
        return tree.read(self._samples[split][index][0])


def top_of(path: Path, suffixes: tuple[str, ...]) -> tree.Folder | None:
    """Where the classes, or the splits above them, are; None where there are none with such files."""
    at = tree.candidates(path)
    for candidate in at:
        parents = list(tree.split_folders(candidate).values())
        if parents and all(_holds_classes(parent, suffixes) for parent in parents):
            return candidate
    return next((candidate for candidate in at if _holds_classes(candidate, suffixes)), None)


def _classes(parent: tree.Folder) -> list[tree.Folder]:
    return [child for child in tree.folders(parent) if child.name not in UNSUPERVISED]


def _holds_classes(folder: tree.Folder, suffixes: tuple[str, ...]) -> bool:
    children = _classes(folder)
    # A class may have lost its files: that is told when they are listed, not taken for another layout.
    return len(children) > 1 and any(_holds_file(child, suffixes) for child in children)


def _holds_file(folder: tree.Folder, suffixes: tuple[str, ...]) -> bool:
    return any(Path(file.name).suffix.lower() in suffixes for file in folder.iterdir())
