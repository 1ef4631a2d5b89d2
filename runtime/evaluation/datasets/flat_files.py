"""Data set of images in one folder whose names begin with their class, such as `cat.0.jpg` or `cat_0.jpg`.

Kaggle's Dogs vs. Cats and the Oxford-IIIT Pet data set have such names. The class is the part of the name before the
number. The files are in one folder, or in split folders.
"""

from __future__ import annotations

import re
from collections import Counter
from functools import cached_property
from pathlib import Path

from orilla.devices.names import readable
from orilla.runtime.bundle.card import Source
from orilla.runtime.evaluation.datasets import tree
from orilla.runtime.evaluation.datasets.class_folders import File
from orilla.runtime.evaluation.datasets.dataset import SPLITS, ClassifiedImage, ListedDataset
from orilla.runtime.evaluation.datasets.folder_words import PARTS, words_of
from orilla.runtime.preprocessing.image_file import IMAGE_SUFFIXES

NAME = re.compile(r"([^\W\d][\w \-]*?)(?:\.|[_ \-]+)(?:\(?\d+\)?)")
"""Pattern of a file's name without its suffix: the class, a separator and a number, which may be in brackets."""

_NOT_CLASSES = """
image images frame frames photo picture pic screenshot capture video clip camera cam drive sequence seq scene right
front rear back side top bottom view source output dsc pxl wp
"""

NOT_CLASSES = PARTS | frozenset(_NOT_CLASSES.split())
"""Words that are not classes, in lower case. They name a camera, a recording, a split or a part of the data set."""

MIN_LETTERS = 3
"""Minimum number of letters of a class. Shorter beginnings usually name a recording, as in KITTI's `um_000000.png`."""

MIN_PER_CLASS = 2
"""Minimum number of files per class. With fewer, the layout is not recognised."""


class FlatFiles(ListedDataset[File]):
    """Images whose names begin with their class."""

    task = "classify"

    def __init__(self, top: tree.Folder, path: Path) -> None:
        name = tree.name_of(top, path)
        self.source = Source(name, f"images in {name}/, named by their class", "not stated")
        self._parts, self._unlabelled = _parts(top)
        self.classes = tuple(sorted({label for files in self._parts.values() for label, _ in files}))

    @cached_property
    def samples(self) -> dict[str, list[File]]:
        """Return the images of each split."""
        samples: dict[str, list[File]] = {split: [] for split in SPLITS}
        alone = len(self._parts) == 1
        for split, files in self._parts.items():
            for label, file in files:
                own = tree.split_of(tree.read(file)) if alone or not split else split
                samples[own].append(File(readable(file.name), file, self.classes.index(label)))
        return {split: files for split, files in samples.items() if files}

    def load(self, split: str, index: int) -> ClassifiedImage:
        """Load one sample."""
        sample = self.samples_of(split)[index]
        return ClassifiedImage(sample.name, tree.decoded(sample.file), sample.label)

    def content(self, split: str, index: int) -> bytes:
        """Return the bytes of a sample's file."""
        return tree.read(self.samples[split][index].file)

    def notes(self) -> list[str]:
        """Return a note about each folder whose files do not state a class."""
        return [
            f"{name}/ has {count} images that are not used, because their names state no class"
            for name, count in self._unlabelled
        ]


def _labelled(folder: tree.Folder) -> list[tuple[str, tree.Folder]]:
    """Return the class and the file of each image, or an empty list if a name states no class."""
    files = tree.files(folder, IMAGE_SUFFIXES)
    found = [(match[1], file) for file in files if (match := NAME.fullmatch(Path(file.name).stem))]
    counts = Counter(label for label, _ in found)
    if any(sum(map(str.isalpha, label)) < MIN_LETTERS or NOT_CLASSES & set(words_of(label)) for label in counts):
        return []
    fits = len(found) == len(files) and len(counts) > 1 and min(counts.values(), default=0) >= MIN_PER_CLASS
    return found if fits else []


def _parts(top: tree.Folder) -> tuple[dict[str, list[tuple[str, tree.Folder]]], list[tuple[str, int]]]:
    """Return the images of each split, and the name and image count of each folder whose images name no class."""
    direct = _labelled(top)
    if direct:
        return {"": direct}, []
    parts: dict[str, list[tuple[str, tree.Folder]]] = {}
    unlabelled = []
    for folder in tree.folders(top):
        split = tree.SPLITS.get(folder.name.lower())
        found = _labelled(folder)
        if found and split is not None:
            parts[split] = found
        elif files := tree.files_below(folder, IMAGE_SUFFIXES):
            unlabelled.append((readable(folder.name), len(files)))
    return parts, unlabelled


def recognise(path: Path) -> str | None:
    """Return the reason why a folder or zip is recognised as images with the class in their name, or None."""
    top = _top(path)
    if top is None:
        return None
    files = next(iter(_parts(top)[0].values()))
    first, last = (readable(files[place][1].name) for place in (0, -1))
    return f"the names of the images begin with their class, as in {first} and {last}"


def open_dataset(path: Path) -> FlatFiles:
    """Open the images in a folder or zip. They may lie inside another folder."""
    return FlatFiles(tree.required(_top(path), path, "has no images named by their class, as in cat.0.jpg"), path)


def _top(path: Path) -> tree.Folder | None:
    return next((top for top in tree.candidates(path) if _parts(top)[0]), None)
