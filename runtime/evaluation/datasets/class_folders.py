"""Base class of data sets that have one folder of files per class."""

from __future__ import annotations

from abc import abstractmethod
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

from orilla.devices.errors import DataError
from orilla.devices.names import readable
from orilla.runtime.bundle.card import Source
from orilla.runtime.evaluation.datasets import tree
from orilla.runtime.evaluation.datasets.dataset import SPLITS, ListedDataset
from orilla.runtime.evaluation.datasets.folder_words import are_parts

UNSUPERVISED = ("unsup",)
"""Names of folders that are not classes. aclImdb keeps unlabelled texts in `unsup`."""


LOOKED_AT = 3
"""Number of class folders whose subfolders are examined for names such as `images` and `labels`."""


class File(NamedTuple):
    """A file below the folder of its class."""

    name: str
    """Path relative to the folder that contains the class folders, with `/` as separator."""
    file: tree.Folder
    label: int


class ClassFolders(ListedDataset[File]):
    """A data set with one folder per class, below split folders or without splits.

    The classes are the folder names in alphabetical order.
    """

    suffixes: tuple[str, ...]
    kind: str
    """Word for a sample in messages, such as `image`."""

    def __init__(self, top: tree.Folder, path: Path) -> None:
        self._top = top
        self.source = self.source_of(tree.name_of(top, path))
        self._splits = _splits(top, self.suffixes)
        parents = list(self._splits.values()) or [top]
        self.classes = tuple(sorted({child.name for parent in parents for child in _classes(parent)}))
        for name in self.classes:
            if readable(name) != name:
                msg = f"class {readable(name)}: the folder name is not UTF-8: rename the folder"
                raise DataError(msg)

    @abstractmethod
    def source_of(self, name: str) -> Source:
        """Return name, title and licence of the data set in the folder `name`."""

    @cached_property
    def samples(self) -> dict[str, list[File]]:
        """Return the files in the class folders of each split."""
        samples: dict[str, list[File]] = {}
        splits = self._splits
        if len(splits) == 1 and unlabelled(self._top, self.suffixes):
            splits = {"": next(iter(splits.values()))}  # The other split has no labels, so this split is divided.
        for split, parent in splits.items() or [("", self._top)]:
            for label, name in enumerate(self.classes):
                folder = parent / name
                files = tree.files_below(folder, self.suffixes) if folder.is_dir() else []
                if not files:
                    msg = f"class {name} has no {self.kind} in {parent.name or self.source.name}/: add some files"
                    raise DataError(msg)
                for file in files:
                    sample = File(readable(f"{name}/{tree.below(folder, file)}"), file, label)
                    samples.setdefault(split or tree.split_of(tree.read(file)), []).append(sample)
        return {split: samples[split] for split in SPLITS if split in samples}

    def notes(self) -> list[str]:
        """Return a note about each folder that is not used."""
        return unlabelled(self._top, self.suffixes)

    def sample(self, split: str, index: int) -> File:
        """Return the file and the class of a sample."""
        return self.samples_of(split)[index]

    def content(self, split: str, index: int) -> bytes:
        """Return the bytes of a sample's file."""
        return tree.read(self.samples[split][index].file)


def top_of(path: Path, suffixes: tuple[str, ...]) -> tree.Folder | None:
    """Return the folder with the class folders or the split folders, or None if there are no such folders."""
    candidates = tree.candidates(path)
    with_splits = (folder for folder in candidates if _splits(folder, suffixes))
    return next(with_splits, None) or next((folder for folder in candidates if _has_classes(folder, suffixes)), None)


def why_classes(top: tree.Folder, suffixes: tuple[str, ...], contents: str) -> str:
    """Return the reason why a folder is recognised as class folders.

    `contents` is a plural noun for the files, such as `images`.
    """
    splits = _splits(top, suffixes)
    names = sorted({child.name for parent in splits.values() or [top] for child in _classes(parent)})
    listed = ", ".join(map(readable, names[:4])) + (", ..." if len(names) > 4 else "")
    where = f" in {', '.join(f'{parent.name}/' for parent in splits.values())}" if splits else ""
    return f"there are {len(names)} folders of {contents}{where}: {listed}"


def _splits(top: tree.Folder, suffixes: tuple[str, ...]) -> dict[str, tree.Folder]:
    """Return the folder that contains the class folders of each split.

    The class folders of a split may lie inside another folder. The result is empty if no split folder contains classes:
    a folder named `train` is then itself a class. A split folder with files instead of class folders has no labels, and
    is omitted.
    """
    return _split_parents(top, suffixes)[0]


def unlabelled(top: tree.Folder, suffixes: tuple[str, ...]) -> list[str]:
    """Return a note about each split folder that contains files instead of class folders."""
    return [
        f"{folder.name}/ has {len(tree.files_below(folder, suffixes))} unused files that are not in class folders"
        for folder in _split_parents(top, suffixes)[1]
    ]


def _split_parents(top: tree.Folder, suffixes: tuple[str, ...]) -> tuple[dict[str, tree.Folder], list[tree.Folder]]:
    """Return the folder with the classes of each split, and the split folders that contain files but no classes."""
    parents = {split: _inner(parent, suffixes) for split, parent in tree.split_folders(top).items()}
    if not any(_has_classes(parent, suffixes) for parent in parents.values()):
        return {}, []
    names = {child.name for parent in parents.values() if _has_classes(parent, suffixes) for child in _classes(parent)}
    flat = {
        split: parent
        for split, parent in parents.items()
        if not names & {child.name for child in _classes(parent)} and tree.has_files_below(parent, suffixes)
    }
    return {split: parent for split, parent in parents.items() if split not in flat}, list(flat.values())


def _inner(parent: tree.Folder, suffixes: tuple[str, ...]) -> tree.Folder:
    """Return the folder that contains the classes of a split.

    This is the only folder inside `parent` if that folder contains class folders, else `parent`.
    """
    inside = tree.folders(parent)
    return inside[0] if len(inside) == 1 and _has_classes(inside[0], suffixes) else parent


def _classes(parent: tree.Folder) -> list[tree.Folder]:
    return [child for child in tree.folders(parent) if child.name not in UNSUPERVISED]


def _has_classes(folder: tree.Folder, suffixes: tuple[str, ...]) -> bool:
    """Return True if a folder contains class folders.

    There must be two or more folders. One of them must contain files, or two must contain files in subfolders. Folders
    that all have names of splits, or names such as `images` and `labels`, are not classes, and neither are folders that
    contain such folders.

    Classes without files are reported when the samples are listed.
    """
    children = _classes(folder)
    if len(children) < 2 or are_parts([child.name for child in children]):
        return False
    if any(are_parts([part.name for part in tree.folders(child)]) for child in children[:LOOKED_AT]):
        return False
    direct = any(tree.files(child, suffixes) for child in children)
    return direct or sum(tree.has_files_below(child, suffixes) for child in children) > 1
