"""Data set of images in the arrays of a `.npz` file: `x_train`, `y_train`, `x_test`, `y_test`, and optionally `x_val`.

The arrays may also be named as in MedMNIST: `train_images`, `train_labels`, `val_images`, ... The classes are numbers,
unless an array such as `class_names` states their names.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from orilla.devices.errors import DataError
from orilla.devices.names import readable
from orilla.runtime.bundle.card import Source
from orilla.runtime.evaluation.datasets import npz, tree
from orilla.runtime.evaluation.datasets.dataset import ClassifiedImage, NumberedDataset, require_split
from orilla.runtime.evaluation.datasets.image_values import to_images, to_labels

NAMES = {
    "train": ("x_train", "y_train", "train_images", "train_labels", "train_x", "train_y"),
    "val": ("x_val", "y_val", "val_images", "val_labels", "x_valid", "y_valid", "val_x", "val_y"),
    "test": ("x_test", "y_test", "test_images", "test_labels", "test_x", "test_y"),
}
"""Names of the arrays of each split, in lower case: pairs of images and labels."""

CLASS_NAMES = ("class_names", "names", "classes", "label_names", "labels")
"""Names of the array with the names of the classes."""

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
    header = npz.header_of(path, images)
    if header is None or len(header[0]) not in (3, 4) or header[1] == np.dtype(object):
        return None
    return f"the array {images} has images of shape {list(header[0][1:])}, and {labels} their classes"


def open_dataset(path: Path) -> ImageArrays:
    """Read the images and labels. Raise `DataError` if an array is damaged, or does not contain images or labels."""
    arrays, found = npz.read_arrays(path), _found(path)
    if "train" not in found or ("test" not in found and "val" not in found):
        msg = f"not a data set: {path} has no arrays x_train, y_train, x_test and y_test"
        raise DataError(msg)
    splits = {split: _split(path, split, arrays[images], arrays[labels]) for split, (images, labels) in found.items()}
    names = next((arrays[name] for name in CLASS_NAMES if name in arrays and arrays[name].dtype.kind in "US"), None)
    count = 1 + max(int(labels.max()) for _, labels in splits.values())
    classes = tuple(map(str, range(count) if names is None else names.ravel().tolist()))
    return ImageArrays(Source(readable(path.stem), f"images in {readable(path.name)}", "not stated"), classes, splits)


def _split(path: Path, split: str, images: NDArray[Any], labels: NDArray[Any]) -> Split:
    name = f"{path}: {split}"
    converted = to_images(images, name)
    return converted, to_labels(labels, len(converted), name)


def _found(path: Path) -> dict[str, tuple[str, str]]:
    """Return the names of the arrays with the images and the labels of each split."""
    if path.suffix.lower() != ".npz" or tree.root(path) is None:
        return {}
    own = {name.lower(): name for name in npz.names_of(path)}
    found: dict[str, tuple[str, str]] = {}
    for split, names in NAMES.items():
        for images, labels in zip(names[::2], names[1::2], strict=True):
            if images in own and labels in own:
                found.setdefault(split, (own[images], own[labels]))
    return found
