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
from orilla.runtime.evaluation.datasets.dataset import ClassifiedImage, NumberedDataset, require_split

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

Arrays = dict[str, tuple[NDArray[Any], NDArray[Any]]]
"""Images `[N,28,28]` and labels `[N]` of each split, uint8."""


class Mnist(NumberedDataset):
    """Images of MNIST or Fashion-MNIST. They stay in memory (55 MB). Grey images become BGR with equal channels."""

    task = "classify"

    def __init__(self, arrays: Arrays, *, fashion: bool) -> None:
        super().__init__({split: labels.tolist() for split, (_, labels) in arrays.items()})
        self._arrays = arrays
        name, title = ("fashion_mnist", "Fashion-MNIST") if fashion else ("mnist", "MNIST")
        self.source = Source(name, f"{title}, 28x28 grey", "MIT" if fashion else "CC BY-SA 3.0")
        self.classes = GARMENTS if fashion else DIGITS

    def load(self, split: str, index: int) -> ClassifiedImage:
        """Load one sample."""
        require_split(self, split)
        images, labels = self._arrays[split]
        return ClassifiedImage(str(index), np.repeat(images[index][..., None], 3, axis=2), int(labels[index]))

    def content(self, split: str, index: int) -> bytes:
        """Return the pixels of an image."""
        return bytes(self._arrays[split][0][index].tobytes())

    def is_file(self, split: str, index: int) -> bool:
        """Return False, because the samples are in memory."""
        return False


def recognise(path: Path) -> bool:
    """Return True for a `.npz` with an array `x_train` of 28x28 images, or a folder with the idx files."""
    if path.is_dir():
        return _idx_file(_idx_folder(path), "train-images-idx3-ubyte") is not None
    header = npz.header_of(path, "x_train") if path.suffix == ".npz" else None
    return header is not None and header[0][1:] == (28, 28)


def open_dataset(path: Path) -> Mnist:
    """Open the data set.

    Both data sets have the same layout. A file or folder with `fashion` in its name is Fashion-MNIST. torchvision
    puts the files into an inner folder `raw`.
    """
    with tree.errors_of(path):
        arrays = _read_idx(_idx_folder(path)) if path.is_dir() else _read_npz(path)
    for split, (images, labels) in arrays.items():
        _check(f"{path}: {split}", images, labels)
    return Mnist(arrays, fashion="fashion" in _name(path).lower())


def _check(name: str, images: NDArray[Any], labels: NDArray[Any]) -> None:
    if images.ndim != 3 or images.dtype != np.uint8 or labels.shape != (len(images),) or not len(images):
        msg = (
            f"{name} has images of shape {list(images.shape)} and type {images.dtype}, and labels of shape "
            f"{list(labels.shape)}: expected [N,H,W] uint8 and [N]"
        )
        raise DataError(msg)
    if not set(np.unique(labels).tolist()) <= set(range(10)):
        msg = f"{name} has a label other than 0 to 9"
        raise DataError(msg)


def _idx_folder(folder: Path) -> Path:
    """Return the folder with the idx files: the inner folder `raw` if it exists, else `folder`."""
    return folder / RAW if (folder / RAW).is_dir() else folder


def _name(path: Path) -> str:
    """Return the name of the file or folder. For a folder named `raw`, return the name of its parent."""
    path = path.resolve()
    return path.parent.name if path.name == RAW else path.name


def _read_npz(path: Path) -> Arrays:
    arrays = npz.read_arrays(path)
    missing = [key for key in KEYS if key not in arrays]
    if missing:
        msg = f"cannot read {path}: it has no array {missing[0]}"
        raise DataError(msg)
    x_train, y_train, x_test, y_test = (arrays[key] for key in KEYS)
    return {"train": (x_train, y_train), "test": (x_test, y_test)}


def _read_idx(folder: Path) -> Arrays:
    return {split: _read_pair(folder, prefix) for split, prefix in IDX.items()}


def _read_pair(folder: Path, prefix: str) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    images = _read_array(folder, f"{prefix}-images-idx3-ubyte", IMAGES_MAGIC)
    return images, _read_array(folder, f"{prefix}-labels-idx1-ubyte", LABELS_MAGIC)


def _read_array(folder: Path, name: str, magic: int) -> NDArray[np.uint8]:
    """Read an idx file. It consists of the magic number, the length of each axis, and the values.

    The last byte of the magic number is the number of axes. Numbers are big-endian.
    """
    path = _idx_file(folder, name)
    if path is None:
        msg = f"{folder} has no {name}, with or without .gz"
        raise DataError(msg)
    data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    axes = magic & 0xFF
    if len(data) < 4 * (1 + axes) or int.from_bytes(data[:4], "big") != magic:
        msg = f"{path} is not an idx file of this kind: its first bytes are {data[:4].hex()}"
        raise DataError(msg)
    shape = tuple(np.frombuffer(data, ">u4", axes, 4).tolist())
    return np.frombuffer(data, np.uint8, offset=4 * (1 + axes)).reshape(shape)


def _idx_file(folder: Path, name: str) -> Path | None:
    for spelling in (name, f"{name}.gz", name.replace("-idx", ".idx")):
        if (folder / spelling).is_file():
            return folder / spelling
    return None
