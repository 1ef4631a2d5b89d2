"""Pictures sorted into one folder for each class, in a folder or a zip, with or without split folders above them."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

from orilla.devices.errors import DataError
from orilla.runtime.datasets import tree
from orilla.runtime.datasets.labelled import ClassifiedImage, Dataset, Source, require_split

KNOWN = {
    "cats_and_dogs_filtered": Source(
        "cats_and_dogs_filtered", "Cats and dogs, 2000 + 1000 of the Asirra pictures", "Kaggle/Asirra terms"
    ),
    "cats_and_dogs_more": Source(
        "cats_and_dogs_more", "Cats and dogs, 6000 further Asirra pictures, 160x160", "Kaggle/Asirra terms"
    ),
}
"""Name of an archive's folder to what is known of it."""


class Folders(Dataset):
    """Classes are the folders' names, in alphabetical order."""

    task = "classify"

    def __init__(self, top: tree.Folder, where: Path) -> None:
        self._top = top
        name = top.name or where.stem
        self.source = KNOWN.get(name) or Source(name, f"pictures in {name}/", "not stated")
        self._splits = tree.split_folders(top)
        classes = {child.name for parent in self._parents for child in tree.folders(parent)}
        self.classes = tuple(sorted(classes))

    @property
    def _parents(self) -> list[tree.Folder]:
        return list(self._splits.values()) or [self._top]

    @cached_property
    def _samples(self) -> dict[str, list[tuple[tree.Folder, int]]]:
        found: dict[str, list[tuple[tree.Folder, int]]] = {}
        for split, parent in self._splits.items() or [("", self._top)]:
            for label, name in enumerate(self.classes):
                folder = parent / name
                pictures = tree.files(folder, tree.PICTURES) if folder.is_dir() else []
                if not pictures:
                    raise DataError(f"class {name} has no picture in {parent.name or self.source.name}/: add some")
                for picture in pictures:
                    home = split or tree.split_of(tree.read(picture))
                    found.setdefault(home, []).append((picture, label))
        return {split: found[split] for split in ("train", "val", "test") if split in found}

    @property
    def splits(self) -> tuple[str, ...]:
        return tuple(self._samples)

    def names(self, split: str) -> tuple[str, ...]:
        require_split(self, split)
        return tuple(f"{self.classes[label]}/{picture.name}" for picture, label in self._samples[split])

    def labels(self, split: str) -> list[int]:
        require_split(self, split)
        return [label for _, label in self._samples[split]]

    def load(self, split: str, index: int) -> ClassifiedImage:
        require_split(self, split)
        picture, label = self._samples[split][index]
        return ClassifiedImage(f"{self.classes[label]}/{picture.name}", tree.picture(picture), label)

    def content(self, split: str, index: int) -> bytes:
        return tree.read(self._samples[split][index][0])


def recognise(path: Path) -> bool:
    """Whether there are two or more folders of pictures, beside each other or below split folders."""
    return _top(path) is not None


def open_dataset(path: Path) -> Folders:
    """Opens the folder or zip at `path`, or the single folder inside it."""
    top = _top(path)
    if top is None:
        raise DataError(f"not a data set: {path} has no two folders of pictures, one for each class")
    return Folders(top, path)


def _top(path: Path) -> tree.Folder | None:
    """Where the classes, or the splits above them, are."""
    at = tree.candidates(path)
    for candidate in at:
        parents = list(tree.split_folders(candidate).values())
        if parents and all(_holds_classes(parent) for parent in parents):
            return candidate
    return next((candidate for candidate in at if _holds_classes(candidate)), None)


def _holds_classes(folder: tree.Folder) -> bool:
    children = tree.folders(folder)
    # A class may have lost its pictures: that is told when they are listed, not taken for another layout.
    return len(children) > 1 and any(_holds_picture(child) for child in children)


def _holds_picture(folder: tree.Folder) -> bool:
    return any(Path(file.name).suffix.lower() in tree.PICTURES for file in folder.iterdir())
