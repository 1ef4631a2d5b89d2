"""Data set of images in the arrays of a `.npz` file: `x_train`, `y_train`, `x_test`, `y_test`, and optionally `x_val`.

The arrays may also be named as in MedMNIST: `train_images`, `train_labels`, `val_images`, ... Each array may be in a
separate file, as in KMNIST: `kmnist-train-imgs.npz`, or `x_train.npy`. The classes are numbers, unless the labels are
texts, or an array such as `class_names` states their names.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from orilla.devices.errors import DataError
from orilla.devices.names import readable
from orilla.runtime.bundle.card import Source
from orilla.runtime.evaluation.datasets import npz, tree
from orilla.runtime.evaluation.datasets.dataset import SPLITS, ClassifiedImage, NumberedDataset, require_split
from orilla.runtime.evaluation.datasets.folder_words import words_of
from orilla.runtime.evaluation.datasets.image_values import to_images, to_labels

IMAGES = frozenset(("x", "images", "image", "imgs", "img", "data", "inputs", "features"))
LABELS = frozenset(("y", "labels", "label", "targets", "target"))
"""Words in the names of the arrays of images and of labels, next to a word for the split."""

JOINED = re.compile(r"([xy])(train|val|valid|test)", re.IGNORECASE)
"""Pattern of an array name whose words are not separated."""

FILES = (".npz", ".npy")
"""Suffixes of files with one array each."""

CLASS_NAMES = ("class_names", "names", "classes", "label_names", "labels")
"""Names of the array with the names of the classes."""

Place = tuple[Path, str]
"""File with an array, and the name of the array, which is empty for a `.npy`."""

Split = tuple[NDArray[np.uint8], NDArray[np.int64]]
"""Images `[N,H,W]` or `[N,H,W,3]` RGB, and class indices `[N]`."""


class MemoryImages(NumberedDataset):
    """Images in memory, with their classes. Grey images are converted to BGR with three equal channels.

    Args:
        source: Name, title and licence.
        classes: Names of the classes.
        arrays: Images and labels of each split.
    """

    task = "classify"

    def __init__(self, source: Source, classes: tuple[str, ...], arrays: Mapping[str, Split]) -> None:
        super().__init__({split: labels.tolist() for split, (_, labels) in arrays.items()})
        self.source, self.classes, self._arrays = source, classes, arrays
        highest = max(int(labels.max()) for _, labels in arrays.values())
        if highest >= len(classes):
            msg = f"{source.name} has the label {highest}, but {len(classes)} classes, 0 to {len(classes) - 1}"
            raise DataError(msg)

    def load(self, split: str, index: int) -> ClassifiedImage:
        """Load one sample."""
        require_split(self, split)
        images, labels = self._arrays[split]
        image = images[index]
        bgr = np.repeat(image[..., None], 3, axis=2) if image.ndim == 2 else np.ascontiguousarray(image[..., ::-1])
        return ClassifiedImage(str(index), bgr, int(labels[index]))

    def content(self, split: str, index: int) -> bytes:
        """Return the pixels of an image."""
        return bytes(self._arrays[split][0][index].tobytes())

    def is_file(self, split: str, index: int) -> bool:
        """Return False, because the samples are in memory."""
        return False


class ImageArrays(MemoryImages):
    """The images of a `.npz` file."""


def recognise(path: Path) -> str | None:
    """Return the reason why a file is recognised as arrays of images with splits, or None."""
    found = _found(path)
    if "train" not in found:
        return None
    images, labels = found["train"]
    header = _header_of(*images)
    if header is None or len(header[0]) not in (3, 4) or header[1] == np.dtype(object):
        return None
    names = [array if path.is_file() else readable(file.name) for file, array in (images, labels)]
    return f"{names[0]} has images of shape {list(header[0][1:])}, and {names[1]} their classes"


def open_dataset(path: Path) -> ImageArrays:
    """Read the images and labels. Raise `DataError` if an array is damaged, or does not contain images or labels."""
    found = _found(path)
    if "train" not in found or ("test" not in found and "val" not in found):
        msg = f"not a data set: {path} has no arrays x_train, y_train, x_test and y_test"
        raise DataError(msg)
    arrays = npz.read_arrays(path) if path.is_file() else {}
    pairs = {split: [_array(place, arrays) for place in places] for split, places in found.items()}
    names = next((arrays[name] for name in CLASS_NAMES if name in arrays and arrays[name].dtype.kind in "US"), None)
    if all(labels.dtype.kind in "US" for _, labels in pairs.values()):
        names = np.unique(np.concatenate([labels.ravel().astype(str) for _, labels in pairs.values()]))
        pairs = {split: [one, np.searchsorted(names, labels.astype(str))] for split, (one, labels) in pairs.items()}
    splits = {split: _split(path, split, images, labels) for split, (images, labels) in pairs.items()}
    count = 1 + max(int(labels.max()) for _, labels in splits.values())
    classes = tuple(map(str, range(count) if names is None else names.ravel().tolist()))
    return ImageArrays(Source(readable(path.stem), f"images in {readable(path.name)}", "not stated"), classes, splits)


def _array(place: Place, arrays: Mapping[str, NDArray[Any]]) -> NDArray[Any]:
    file, name = place
    if name in arrays:
        return arrays[name]
    return next(iter(npz.read_arrays(file).values())) if name else npz.read_file(file)


def _header_of(file: Path, name: str) -> tuple[tuple[int, ...], np.dtype[Any]] | None:
    return npz.header_of(file, name) if name else npz.header_of_file(file)


def _split(path: Path, split: str, images: NDArray[Any], labels: NDArray[Any]) -> Split:
    name = f"{path}: {split}"
    converted = to_images(images, name)
    return converted, to_labels(labels, len(converted), name)


def _found(path: Path) -> dict[str, tuple[Place, Place]]:
    """Return the locations of the images and the labels of each split."""
    found: dict[str, dict[str, Place]] = {}
    for name, place in _places(path).items():
        words = words_of(JOINED.sub(r"\1_\2", name))
        splits = {tree.SPLITS[word] for word in words if word in tree.SPLITS}
        roles = [role for role, own in (("images", IMAGES), ("labels", LABELS)) if own & set(words)]
        if len(splits) == len(roles) == 1 and (path.is_dir() or len(words) == len(splits) + len(roles)):
            found.setdefault(splits.pop(), {}).setdefault(roles[0], place)
    complete = (split for split in SPLITS if len(found.get(split, ())) == len(("images", "labels")))
    return {split: (found[split]["images"], found[split]["labels"]) for split in complete}


def _places(path: Path) -> dict[str, Place]:
    """Return the arrays at a path by name: the arrays of a `.npz`, or of the files in a folder with one array each."""
    if path.is_file() and path.suffix.lower() == ".npz":
        return {name: (path, name) for name in npz.names_of(path)}
    places = {}
    for file in map(Path, map(str, tree.files(path, FILES))) if path.is_dir() else ():
        names = npz.names_of(file) if file.suffix.lower() == ".npz" else [""]
        if len(names) == 1:
            places[file.stem] = (file, names[0])
    return places
