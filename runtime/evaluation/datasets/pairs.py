"""Base class of data sets that have an image and a label image per sample."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from orilla.devices.errors import DataError
from orilla.devices.names import readable
from orilla.runtime.evaluation.datasets import tree
from orilla.runtime.evaluation.datasets.dataset import Dataset, LabelledImage, require_split
from orilla.runtime.preprocessing.image_file import IMAGE_SUFFIXES

SAME_SIZE = "store each label image in the size of its image, without interpolation between classes"

MAX_READERS = 8
"""Number of threads that read the headers of images."""

PairsBySplit = dict[str, Sequence[tuple[tree.Folder, tree.Folder]]]
"""Image and label image of each sample. The keys are the splits."""


class Pairs(Dataset):
    """Base class of data sets that consist of images and label images of the same size."""

    task = "segment"

    @property
    @abstractmethod
    def pairs(self) -> PairsBySplit:
        """Return the files of all samples. Implementations list the files only once."""

    @property
    def splits(self) -> tuple[str, ...]:
        """Return the names of the splits."""
        return tuple(self.pairs)

    def names(self, split: str) -> tuple[str, ...]:
        """Return the names of a split's samples."""
        require_split(self, split)
        return tuple(self.name_of(image) for image, _ in self.pairs[split])

    def name_of(self, image: tree.Folder) -> str:
        """Return the name of a sample, which is unique within its split. By default, it is the stem of the file."""
        return readable(Path(image.name).stem)

    def load(self, split: str, index: int) -> LabelledImage:
        """Load one sample."""
        require_split(self, split)
        image_path, label_path = self.pairs[split][index]
        image, labels = tree.decoded(image_path), self.read_labels(label_path)
        if labels.shape != image.shape[:2]:
            msg = (
                f"label image {label_path.name} has shape {list(labels.shape)}, but image {image_path.name} has shape "
                f"{list(image.shape[:2])}{_rotation(labels.shape, image.shape)}: a label image must have one channel "
                "and the size of its image"
            )
            raise DataError(msg)
        return LabelledImage(self.name_of(image_path), image, self.classes_of(labels, label_path.name))

    def check_sizes(self, pairs: Sequence[tuple[tree.Folder, tree.Folder]]) -> None:
        """Raise `DataError` if all of these label images differ in size from their images."""
        unequal = [found for pair in pairs if (found := _unequal(*pair)) is not None]
        if unequal and len(unequal) == len(pairs):
            msg = f"the label image {unequal[0]}: {SAME_SIZE}"
            raise DataError(msg)

    def notes(self) -> list[str]:
        """Return a note about label images that differ in size from their images, if there are any."""
        pairs = [pair for found in self.pairs.values() for pair in found]
        with ThreadPoolExecutor(MAX_READERS) as pool:
            unequal = [text for text in pool.map(lambda pair: _unequal(*pair), pairs) if text is not None]
        if not unequal:
            return []
        count = f"{len(unequal)} of {len(pairs)} label images"
        return [f"{count} differ in size from their image: {unequal[0]}: {SAME_SIZE}"]

    def read_labels(self, path: tree.Folder) -> NDArray[np.uint8]:
        """Return the values `[H,W]` of a label image. Raises `DataError` if it cannot be decoded."""
        return tree.decoded(path, cv2.IMREAD_UNCHANGED)

    @abstractmethod
    def classes_of(self, labels: NDArray[np.uint8], name: str) -> NDArray[np.uint8]:
        """Convert the values of the label image `name` into classes. Raises `DataError` for a value without a class."""

    def content(self, split: str, index: int) -> bytes:
        """Return the bytes of a sample's image file."""
        return tree.read(self.pairs[split][index][0])

    def truth(self, split: str, index: int) -> bytes:
        """Return the bytes of a sample's label image file."""
        return tree.read(self.pairs[split][index][1])


def pair_up(images: tree.Folder, labels: tree.Folder) -> tuple[tuple[tree.Folder, tree.Folder], ...]:
    """Pair images and label images that have the same stem. Raise `DataError` for an unpaired image."""
    if not labels.is_dir():
        exists, missing = _short_name(images), _short_name(labels)
        msg = f"images without labels: {exists} exists, but {missing} does not: add the labels, or move the images"
        raise DataError(msg)
    image_files, label_files = _by_stem(images), _by_stem(labels)
    unmatched = sorted(image_files.keys() ^ label_files.keys())
    if unmatched:
        msg = (
            f"{len(image_files)} images in {images.name}/ and {len(label_files)} in {labels.name}/ do not match: "
            f"{unmatched[0]} is in only one of them (one of {len(unmatched)})"
        )
        raise DataError(msg)
    if not image_files:
        msg = f"no images in {images.name}/"
        raise DataError(msg)
    return tuple((image_files[stem], label_files[stem]) for stem in sorted(image_files))


def _unequal(image: tree.Folder, labels: tree.Folder) -> str | None:
    """Return the sizes of a label image and its image if their headers state different sizes, or None."""
    sizes = [tree.size_of_image(file) for file in (labels, image)]
    if sizes[0] is None or sizes[1] is None or sizes[0] == sizes[1]:
        return None
    (width, height), (image_width, image_height) = sizes[0], sizes[1]
    return (
        f"{readable(labels.name)} has {width}x{height} pixels, but its image {readable(image.name)} has "
        f"{image_width}x{image_height}"
    )


def _rotation(labels: tuple[int, ...], image: tuple[int, ...]) -> str:
    """Return an explanation if the label image has the size of its image before EXIF rotation, or an empty string."""
    return ", after its EXIF rotation" if labels == image[1::-1] else ""


def _short_name(folder: tree.Folder) -> str:
    """Return the last two parts of a path."""
    return "/".join(Path(str(folder)).parts[-2:]) + "/"


def _by_stem(folder: tree.Folder) -> dict[str, tree.Folder]:
    """Return the images in a folder by stem. Raise `DataError` if two have the same stem."""
    by_stem: dict[str, tree.Folder] = {}
    for path in tree.files(folder, IMAGE_SUFFIXES):
        stem = Path(path.name).stem
        if stem in by_stem:
            msg = f"{by_stem[stem].name} and {path.name} in {folder.name}/ have the same name: remove one"
            raise DataError(msg)
        by_stem[stem] = path
    return by_stem
