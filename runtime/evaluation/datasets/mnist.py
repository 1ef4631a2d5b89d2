"""Data sets MNIST, Fashion-MNIST and KMNIST, and others in their format: Keras' `.npz`, or the four idx files.

The idx files may be compressed with gzip. The name of the data set is that of its file or folder.

Sources: LeCun, Cortes, Burges, "The MNIST database of handwritten digits"; Xiao, Rasul, Vollgraf, "Fashion-MNIST: a
Novel Image Dataset for Benchmarking Machine Learning Algorithms" (2017); Clanuwat et al., "Deep Learning for Classical
Japanese Literature" (2018), `kmnist_classmap.csv`.
"""

from __future__ import annotations

import gzip
import re
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from orilla.devices.errors import DataError
from orilla.devices.gate import only_our_errors
from orilla.devices.names import readable
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
KUZUSHIJI = ("o", "ki", "su", "tsu", "na", "ha", "ma", "ya", "re", "wo")
"""Hiragana, in the order of KMNIST's labels."""

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


class Known(NamedTuple):
    """A published data set in this format."""

    name: str
    title: str
    licence: str
    classes: tuple[str, ...]


KNOWN = {
    "fashion": Known("fashion_mnist", "Fashion-MNIST", "MIT", GARMENTS),
    "kmnist": Known("kmnist", "KMNIST", "CC BY-SA 4.0", KUZUSHIJI),
    "kuzushiji": Known("kmnist", "KMNIST", "CC BY-SA 4.0", KUZUSHIJI),
}
"""Published data sets by a part of the name of their file or folder, in lower case."""

MNIST = Known("mnist", "MNIST", "CC BY-SA 3.0", DIGITS)

MNIST_NAME = re.compile(r"(?:.*[^a-z0-9])?mnist(?:[^a-z0-9].*)?", re.IGNORECASE)
"""Pattern for the name of a file or folder with MNIST itself. Other data sets are named after it, such as `qmnist`."""


class Mnist(MemoryImages):
    """Images of MNIST, or of another data set in its format.

    They stay in memory (55 MB). Grey images are converted to BGR with three equal channels.
    """

    def __init__(self, arrays: Arrays, known: Known) -> None:
        source = Source(known.name, f"{known.title}, 28x28 grey", known.licence)
        super().__init__(source, known.classes, arrays)


def _known(name: str) -> Known:
    """Return the data set that the name of a file or folder indicates.

    The classes of an unknown data set are numbers.
    """
    known = next((known for part, known in KNOWN.items() if part in name.lower()), None)
    if known is not None or MNIST_NAME.fullmatch(name):
        return known or MNIST
    title = readable(name) or "images"
    return Known(title, f"{title}, in the format of MNIST", "not stated", DIGITS)


def recognise(path: Path) -> str | None:
    """Return the reason why a path is recognised, or None.

    It is recognised if it is a `.npz` with an array `x_train` of 28x28 images, or a folder with the idx files.
    """
    if path.suffix != ".npz" and tree.root(path) is not None:
        return "there are idx files in the format of MNIST" if _idx_folders(path) else None
    header = npz.header_of(path, "x_train") if path.suffix == ".npz" else None
    return "the array x_train has 28x28 images" if header is not None and header[0][1:] in SHAPES else None


def open_dataset(path: Path) -> Mnist:
    """Open the data set.

    All data sets of this kind have the same layout, so the name of the file or folder states which one it is.
    torchvision puts the files into an inner folder `raw`.
    """
    folders = [] if path.suffix == ".npz" and path.is_file() else _idx_folders(path)
    if len(folders) > 1:
        names = " and ".join(readable(_name(folder, path)) for folder in folders[:2])
        msg = f"{path} has the idx files of several data sets ({names}): give the path of one of their folders"
        raise DataError(msg)
    with only_our_errors(path):
        arrays = _read_idx(folders[0]) if folders else _read_npz(path)
    converted = {split: _checked(f"{path}: {split}", *pair) for split, pair in arrays.items()}
    return Mnist(converted, _known(_name(folders[0] if folders else path, path)))


def _checked(name: str, images: NDArray[Any], labels: NDArray[Any]) -> Split:
    converted = to_images(images, name)
    numbers = to_labels(labels, len(converted), name)
    if not set(np.unique(numbers).tolist()) <= set(range(10)):
        msg = f"{name} has a label other than 0 to 9: if it is not MNIST, read it as image_arrays:{name.split(': ')[0]}"
        raise DataError(msg)
    return converted, numbers


def _idx_folders(path: Path) -> list[tree.Folder]:
    """Return the folders with idx files: at a path, or in its folders."""
    found: list[tree.Folder] = []
    for folder in tree.candidates(path):
        is_known = any(str(folder) == str(other) or tree.is_below(folder, other) for other in found)
        if not is_known and _idx_file(folder, f"{IDX['train']}-images-idx3-ubyte"):
            found.append(folder)
    return found


def _name(place: tree.Folder, path: Path) -> str:
    """Return the name of the file without suffix, or of the folder. For `raw`, return the name of its parent.

    Args:
        place: The `.npz`, or the folder with the idx files.
        path: Path that the user gave.
    """
    if not isinstance(place, Path):
        return place.name if place.at and place.name != RAW else path.stem
    place = place.resolve()
    return place.parent.name if place.name == RAW else place.stem if place.suffix == ".npz" else place.name


def _read_npz(path: Path) -> dict[str, tuple[NDArray[Any], NDArray[Any]]]:
    arrays = npz.read_arrays(path)
    missing = [key for key in KEYS if key not in arrays]
    if missing:
        msg = f"cannot read {path}: it has no array {missing[0]}"
        raise DataError(msg)
    x_train, y_train, x_test, y_test = (arrays[key] for key in KEYS)
    return {"train": (x_train, y_train), "test": (x_test, y_test)}


def _read_idx(folder: tree.Folder) -> dict[str, tuple[NDArray[Any], NDArray[Any]]]:
    return {split: _read_pair(folder, prefix) for split, prefix in IDX.items()}


def _read_pair(folder: tree.Folder, prefix: str) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
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
    dotted = name.replace("-idx", ".idx")
    # Kaggle unpacks each file into a separate folder.
    for spelling in (name, f"{name}.gz", dotted, f"{name}/{name}", f"{name}/{dotted}", f"{dotted}/{dotted}"):
        if (folder / spelling).is_file():
            return folder / spelling
    return None
