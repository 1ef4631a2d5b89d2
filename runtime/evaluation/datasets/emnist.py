"""Data set EMNIST: idx files such as `emnist-letters-train-images-idx3-ubyte`, gzipped or not, and `*-mapping.txt`.

The mapping file states the character of each label.

The files store the images transposed. The reader transposes them back. A folder may contain several sets (balanced,
byclass, bymerge, digits, letters, mnist); the path of one of the files then selects its set.

Source: Cohen, Afshar, Tapson, van Schaik, "EMNIST: an extension of MNIST to handwritten letters" (2017).
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from orilla.devices.errors import DataError
from orilla.devices.gate import only_our_errors
from orilla.devices.text_files import lines_of
from orilla.runtime.bundle.card import Source
from orilla.runtime.evaluation.datasets import tree
from orilla.runtime.evaluation.datasets.image_arrays import MemoryImages, Split
from orilla.runtime.evaluation.datasets.mnist import IMAGES_MAGIC, LABELS_MAGIC, read_idx_file

FILE = re.compile(r"(emnist-(\w+)-)(train|test)-(?:images-idx3|labels-idx1)-ubyte(?:\.gz)?", re.IGNORECASE)
"""Pattern for file names: the prefix, the name of the set, and the split."""


class Emnist(MemoryImages):
    """Images of EMNIST in their upright orientation."""


def recognise(path: Path) -> str | None:
    """Return the reason why a path is recognised as EMNIST, or None."""
    found = _sets(path)
    return f"there are idx files of EMNIST ({', '.join(sorted(found))})" if found else None


def open_dataset(path: Path) -> Emnist:
    """Open a folder with one set, or the set to which a file belongs."""
    found = _sets(path)
    if len(found) != 1:
        sets = ", ".join(sorted(found)) or "none"
        msg = f"{path} must contain one set of EMNIST, but it contains {sets}: give the path of one of its files"
        raise DataError(msg)
    ((name, (folder, prefix)),) = found.items()
    with only_our_errors(path):
        arrays = {split: _split(folder, prefix, split) for split in ("train", "test")}
    numbers, classes = _classes(folder / f"{prefix}mapping.txt", arrays)
    positions = np.full(1 + max(numbers), -1, np.int64)
    positions[numbers] = np.arange(len(numbers))
    for images, labels in arrays.values():
        if labels.max() >= len(positions) or (positions[labels] < 0).any() or len(images) != len(labels):
            msg = f"{path} has a label that {prefix}mapping.txt does not list, or not one label for each image"
            raise DataError(msg)
    placed = {split: (images, positions[labels]) for split, (images, labels) in arrays.items()}
    return Emnist(Source(f"emnist_{name}", f"EMNIST, {name}, 28x28 grey", "CC0"), classes, placed)


def _split(folder: tree.Folder, prefix: str, split: str) -> Split:
    images = read_idx_file(folder, f"{prefix}{split}-images-idx3-ubyte", IMAGES_MAGIC)
    labels = read_idx_file(folder, f"{prefix}{split}-labels-idx1-ubyte", LABELS_MAGIC)
    return np.ascontiguousarray(images.transpose(0, 2, 1)), labels.astype(np.int64)


def _classes(mapping: tree.Folder, arrays: dict[str, Split]) -> tuple[list[int], tuple[str, ...]]:
    """Return the label and the name of each class.

    The name is the first character that the mapping file lists for the label.
    """
    if not mapping.is_file():
        numbers = sorted({int(label) for _, labels in arrays.values() for label in np.unique(labels)})
        return numbers, tuple(map(str, numbers))
    rows = [line.split() for line in lines_of(tree.decode_text(tree.read(mapping), mapping.name)) if line]
    if not rows or not all(len(row) >= 2 and all(cell.isdecimal() for cell in row) for row in rows):
        msg = f"{mapping.name} must contain a label and a character code in each line"
        raise DataError(msg)
    return [int(row[0]) for row in rows], tuple(chr(int(row[1])) for row in rows)


def _sets(path: Path) -> dict[str, tuple[tree.Folder, str]]:
    """Return the folder and the file prefix of each EMNIST set at a path. The keys are the names of the sets."""
    if path.is_file():
        match = FILE.fullmatch(path.name)
        return {match[2].lower(): (path.parent, match[1])} if match else {}
    for folder in tree.candidates(path):
        names = (FILE.fullmatch(file.name) for file in folder.iterdir())
        found = {match[2].lower(): (folder, match[1]) for match in names if match}
        if found:
            return found
    return {}
