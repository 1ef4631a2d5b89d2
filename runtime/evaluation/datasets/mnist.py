"""Data sets MNIST and Fashion-MNIST: Keras' `.npz`, or a folder with the four idx files, gzipped or not.

Sources: LeCun, Cortes, Burges, "The MNIST database of handwritten digits"; Xiao, Rasul, Vollgraf, "Fashion-MNIST: a
Novel Image Dataset for Benchmarking Machine Learning Algorithms" (2017).
"""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from orilla.devices.errors import DataError
from orilla.runtime.bundle.card import Source
from orilla.runtime.evaluation.datasets import npz, tree
from orilla.runtime.evaluation.datasets.image_arrays import MemoryImages, Split
from orilla.runtime.evaluation.datasets.image_values import to_images, to_labels

DIGITS = tuple("0123456789")
GARMENTS = (
    "t-shirt",
    "trouser",
    "pullover",
    "dress",
    "coat",
    "sandal",
    "shirt",
    "sneaker",
    "bag",
    "ankle boot",
)
KEYS = ("x_train", "y_train", "x_test", "y_test")
RAW = "raw"
IDX = {"train": "train", "test": "t10k"}
"""Prefix of the idx files of each split."""
IMAGES_MAGIC, LABELS_MAGIC = 2051, 2049
"""Magic numbers of the idx files."""

SHAPES = ((28, 28), (28, 28, 1), (784,))
"""Shapes of an image in a `.npz`."""

Arrays = dict[str, Split]
"""Images `[N,28,28]` uint8 and labels `[N]` of each split."""


class Mnist(MemoryImages):
    """Images of MNIST or Fashion-MNIST.

    They stay in memory (55 MB). Grey images are converted to BGR with three equal channels.
    """

    def __init__(self, arrays: Arrays, *, fashion: bool) -> None:
        name, title = ("fashion_mnist", "Fashion-MNIST") if fashion else ("mnist", "MNIST")
        source = Source(name, f"{title}, 28x28 grey", "MIT" if fashion else "CC BY-SA 3.0")
        super().__init__(source, GARMENTS if fashion else DIGITS, arrays)


def recognise(path: Path) -> str | None:
    """Return why a path is a `.npz` with an array `x_train` of 28x28 images, or a folder with the idx files."""
    if path.is_dir():
        found = _idx_file(_idx_folder(path), "train-images-idx3-ubyte") is not None
        return "there are idx files of MNIST" if found else None
    header = npz.header_of(path, "x_train") if path.suffix == ".npz" else None
    return "the array x_train has 28x28 images" if header is not None and header[0][1:] in SHAPES else None


def open_dataset(path: Path) -> Mnist:
    """Open the data set.

    Both data sets have the same layout. A file or folder with `fashion` in its name is Fashion-MNIST. torchvision
    puts the files into an inner folder `raw`.
    """
    with tree.errors_of(path):
        arrays = _read_idx(_idx_folder(path)) if path.is_dir() else _read_npz(path)
    converted = {split: _checked(f"{path}: {split}", *pair) for split, pair in arrays.items()}
    return Mnist(converted, fashion="fashion" in _name(path).lower())


def _checked(name: str, images: NDArray[Any], labels: NDArray[Any]) -> Split:
    converted = to_images(images, name)
    numbers = to_labels(labels, len(converted), name)
    if not set(np.unique(numbers).tolist()) <= set(range(10)):
        msg = f"{name} has a label other than 0 to 9: if it is not MNIST, read it as image_arrays:{name.split(': ')[0]}"
        raise DataError(msg)
    return converted, numbers


def _idx_folder(folder: Path) -> Path:
    """Return the folder with the idx files: the inner folder `raw` if it exists, else `folder`."""
    return folder / RAW if (folder / RAW).is_dir() else folder


def _name(path: Path) -> str:
    """Return the name of the file or folder. For a folder named `raw`, return the name of its parent."""
    path = path.resolve()
    return path.parent.name if path.name == RAW else path.name


def _read_npz(path: Path) -> dict[str, tuple[NDArray[Any], NDArray[Any]]]:
    arrays = npz.read_arrays(path)
    missing = [key for key in KEYS if key not in arrays]
    if missing:
        msg = f"cannot read {path}: it has no array {missing[0]}"
        raise DataError(msg)
    x_train, y_train, x_test, y_test = (arrays[key] for key in KEYS)
    return {"train": (x_train, y_train), "test": (x_test, y_test)}


def _read_idx(folder: Path) -> dict[str, tuple[NDArray[Any], NDArray[Any]]]:
    return {split: _read_pair(folder, prefix) for split, prefix in IDX.items()}


def _read_pair(folder: Path, prefix: str) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    images = read_idx_file(folder, f"{prefix}-images-idx3-ubyte", IMAGES_MAGIC)
    return images, read_idx_file(folder, f"{prefix}-labels-idx1-ubyte", LABELS_MAGIC)


def read_idx_file(folder: tree.Folder, name: str, magic: int) -> NDArray[np.uint8]:
    """Read an idx file. It consists of the magic number, the length of each axis, and the values.

    The last byte of the magic number is the number of axes. Numbers are big-endian.
    """
    path = _idx_file(folder, name)
    if path is None:
        msg = f"{folder} has no {name}, with or without .gz"
        raise DataError(msg)
    data = gzip.decompress(tree.read(path)) if path.name.endswith(".gz") else tree.read(path)
    axes = magic & 0xFF
    if len(data) < 4 * (1 + axes) or int.from_bytes(data[:4], "big") != magic:
        msg = f"{path} is not an idx file of this kind: its first bytes are {data[:4].hex()}"
        raise DataError(msg)
    shape = tuple(np.frombuffer(data, ">u4", axes, 4).tolist())
    return np.frombuffer(data, np.uint8, offset=4 * (1 + axes)).reshape(shape)


def _idx_file(folder: tree.Folder, name: str) -> tree.Folder | None:
    for spelling in (name, f"{name}.gz", name.replace("-idx", ".idx")):
        if (folder / spelling).is_file():
            return folder / spelling
    return None
