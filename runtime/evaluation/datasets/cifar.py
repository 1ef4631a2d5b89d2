"""Data sets CIFAR-10 and CIFAR-100: the files of the Python version and of the binary version.

Source: Krizhevsky, "Learning Multiple Layers of Features from Tiny Images" (2009), and the page of the data sets. An
image has 1024 bytes each of red, green and blue, row by row. CIFAR-100 is read with its 100 fine labels.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from orilla.devices.errors import DataError
from orilla.devices.gate import only_our_errors
from orilla.devices.text_files import lines_of
from orilla.runtime.bundle.card import Source
from orilla.runtime.evaluation.datasets import pickles, tree
from orilla.runtime.evaluation.datasets.image_arrays import MemoryImages, Split

BATCHES = tuple(f"data_batch_{number}" for number in range(1, 6))

PIXELS = 3 * 32 * 32


class Version(NamedTuple):
    """The files of one version of a data set."""

    name: str
    splits: dict[str, tuple[str, ...]]
    """Names of the files of each split."""
    names: str
    """Name of the file with the names of the classes."""
    is_binary: bool
    label_bytes: int = 1
    """Number of label bytes of a sample in the binary version. The last one is used."""
    keys: tuple[bytes, bytes] = (b"labels", b"label_names")
    """Keys of the labels and of the class names in the Python version."""


VERSIONS = (
    Version("cifar10", {"train": BATCHES, "test": ("test_batch",)}, "batches.meta", is_binary=False),
    Version(
        "cifar10",
        {"train": tuple(f"{name}.bin" for name in BATCHES), "test": ("test_batch.bin",)},
        "batches.meta.txt",
        is_binary=True,
    ),
    Version(
        "cifar100",
        {"train": ("train",), "test": ("test",)},
        "meta",
        is_binary=False,
        keys=(b"fine_labels", b"fine_label_names"),
    ),
    Version(
        "cifar100",
        {"train": ("train.bin",), "test": ("test.bin",)},
        "fine_label_names.txt",
        is_binary=True,
        label_bytes=2,
    ),
)


class Cifar(MemoryImages):
    """Images of CIFAR-10 or CIFAR-100 (32x32 RGB)."""


def recognise(path: Path) -> str | None:
    """Return the reason why a folder or zip is recognised as CIFAR-10 or CIFAR-100, or None."""
    found = _found(path)
    return f"there are {found[1].names} and {found[1].splits['train'][0]} of {found[1].name}" if found else None


def open_dataset(path: Path) -> Cifar:
    """Open the files in a folder or zip. They may lie inside another folder."""
    found = _found(path)
    if found is None:
        msg = f"not a data set: {path} has no data_batch_1 and batches.meta of CIFAR-10, or train and meta of CIFAR-100"
        raise DataError(msg)
    top, version = found
    classes = _names(top / version.names, version)
    splits: dict[str, Split] = {}
    for split, files in version.splits.items():
        parts = [_read(top / name, version) for name in files if (top / name).is_file()]
        if not parts:
            msg = f"{path} has no {files[0]} of {version.name}"
            raise DataError(msg)
        splits[split] = tuple(np.concatenate(arrays) for arrays in zip(*parts, strict=True))  # type: ignore[assignment]
    title = "CIFAR-10" if version.name == "cifar10" else "CIFAR-100, fine labels"
    return Cifar(Source(version.name, f"{title}, 32x32", "not stated"), classes, splits)


def _found(path: Path) -> tuple[tree.Folder, Version] | None:
    for top in tree.candidates(path):
        for version in VERSIONS:
            if (top / version.names).is_file() and (top / version.splits["train"][0]).is_file():
                return top, version
    return None


def _names(file: tree.Folder, version: Version) -> tuple[str, ...]:
    """Return the names of the classes."""
    with only_our_errors(file):
        if version.is_binary:
            names = [line for line in lines_of(tree.decode_text(tree.read(file), file.name)) if line]
        else:
            listed = pickles.load(io.BytesIO(tree.read(file)), encoding="bytes")[version.keys[1]]
            names = [name.decode() for name in listed]
    if not names or len(set(names)) < len(names):
        msg = f"{file.name} has no class names, or contains a name twice"
        raise DataError(msg)
    return tuple(names)


def _read(file: tree.Folder, version: Version) -> Split:
    """Return the images `[N,32,32,3]` RGB and the labels `[N]` of a file."""
    with only_our_errors(file):
        if version.is_binary:
            rows = np.frombuffer(tree.read(file), np.uint8).reshape(-1, version.label_bytes + PIXELS)
            pixels: NDArray[Any] = rows[:, version.label_bytes :]
            labels: Any = rows[:, version.label_bytes - 1]
        else:
            content = pickles.load(io.BytesIO(tree.read(file)), encoding="bytes")
            data, labels = content[b"data"], content[version.keys[0]]
            pixels = np.frombuffer(data.items, np.uint8).reshape(-1, PIXELS)
        numbers = np.asarray(labels, np.int64)
        if numbers.shape != (len(pixels),) or not len(pixels) or numbers.min() < 0:
            msg = f"{file.name} has {len(pixels)} images and {numbers.size} labels"
            raise ValueError(msg)
    return pixels.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1), numbers
