"""Pictures sorted into one folder for each class, in a folder or a zip, with or without split folders above them."""

from __future__ import annotations

from pathlib import Path

from orilla.devices.errors import DataError
from orilla.runtime.bundle.card import Source
from orilla.runtime.evaluation.datasets import tree
from orilla.runtime.evaluation.datasets.class_folders import ClassFolders, top_of
from orilla.runtime.evaluation.datasets.dataset import ClassifiedImage
from orilla.runtime.preprocessing.image_file import PICTURES

KNOWN = {
    "cats_and_dogs_filtered": Source(
        "cats_and_dogs_filtered", "Cats and dogs, 2000 + 1000 of the Asirra pictures", "Kaggle/Asirra terms"
    ),
    "cats_and_dogs_more": Source(
        "cats_and_dogs_more", "Cats and dogs, 6000 further Asirra pictures, 160x160", "Kaggle/Asirra terms"
    ),
}
"""Name of an archive's folder to what is known of it."""


class Folders(ClassFolders):
    """Classes are the folders' names, in alphabetical order."""

    task = "classify"
    suffixes = PICTURES
    kind = "picture"

    def source_of(self, name: str) -> Source:
        return KNOWN.get(name) or Source(name, f"pictures in {name}/", "not stated")

    def load(self, split: str, index: int) -> ClassifiedImage:
        sample = self.sample(split, index)
        return ClassifiedImage(sample.name, tree.picture(sample.file), sample.label)


def recognise(path: Path) -> bool:
    """Whether there are two or more folders of pictures, beside each other or below split folders."""
    return top_of(path, PICTURES) is not None


def open_dataset(path: Path) -> Folders:
    """Opens the folder or zip at `path`, or the single folder inside it."""
    top = top_of(path, PICTURES)
    if top is None:
        msg = f"not a data set: {path} has no two folders of pictures, one for each class"
        raise DataError(msg)
    return Folders(top, path)
