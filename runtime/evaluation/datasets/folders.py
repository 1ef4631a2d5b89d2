"""Data set of images in one folder per class, in a folder or a zip, with or without split folders."""

from __future__ import annotations

from pathlib import Path

from orilla.runtime.bundle.card import Source
from orilla.runtime.evaluation.datasets import tree
from orilla.runtime.evaluation.datasets.class_folders import ClassFolders, top_of, why_classes
from orilla.runtime.evaluation.datasets.dataset import ClassifiedImage
from orilla.runtime.preprocessing.image_file import IMAGE_SUFFIXES

KNOWN = {
    "cats_and_dogs_filtered": Source(
        "cats_and_dogs_filtered", "Cats and dogs, 2000 + 1000 images of Asirra", "Kaggle/Asirra terms"
    ),
    "cats_and_dogs_more": Source(
        "cats_and_dogs_more", "Cats and dogs, 6000 other images of Asirra, 160x160", "Kaggle/Asirra terms"
    ),
}
"""Descriptions of published archives, by the name of their folder."""


class Folders(ClassFolders):
    """Images in class folders. Classes are the folder names in alphabetical order."""

    task = "classify"
    suffixes = IMAGE_SUFFIXES
    kind = "image"

    def source_of(self, name: str) -> Source:
        """Return the description of a data set with this folder name."""
        return KNOWN.get(name) or Source(name, f"images in {name}/", "not stated")

    def load(self, split: str, index: int) -> ClassifiedImage:
        """Load one sample."""
        sample = self.sample(split, index)
        return ClassifiedImage(sample.name, tree.decoded(sample.file), sample.label)


def recognise(path: Path) -> str | None:
    """Return the reason why a folder or zip is recognised, or None.

    It is recognised if it contains two or more folders of images, with or without splits.
    """
    top = top_of(path, IMAGE_SUFFIXES)
    return None if top is None else why_classes(top, IMAGE_SUFFIXES, "images")


def open_dataset(path: Path) -> Folders:
    """Open the class folders in a folder or zip. They may lie inside another folder."""
    top = tree.required(top_of(path, IMAGE_SUFFIXES), path, "does not have two folders of images, one per class")
    return Folders(top, path)
