"""Data set of small square images as rows of a table, as Kaggle offers MNIST, Fashion-MNIST, EMNIST and others.

Each row contains the class and the pixels, 0 to 255, row by row. The first line may name the columns. There is one
table per split, such as `fashion-mnist_train.csv` and `fashion-mnist_test.csv`, or one table, which is divided. A table
without classes, such as Kaggle's `test.csv`, is not used.
"""

from __future__ import annotations

import io
import math
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from orilla.devices.errors import DataError
from orilla.devices.names import readable
from orilla.runtime.bundle.card import Source
from orilla.runtime.evaluation.datasets import tree
from orilla.runtime.evaluation.datasets.dataset import SPLITS
from orilla.runtime.evaluation.datasets.delimited import Table, only_numbers
from orilla.runtime.evaluation.datasets.folder_words import words_of
from orilla.runtime.evaluation.datasets.image_arrays import MemoryImages, Split
from orilla.runtime.evaluation.datasets.image_values import to_images, to_labels
from orilla.runtime.evaluation.datasets.label_tables import LABELS
from orilla.runtime.evaluation.datasets.tables import SUFFIXES, start_of, table_files

MIN_SIDE = 8
"""Minimum width and height of an image. Ordinary tables have fewer columns of numbers."""

TRANSPOSED = "emnist"
"""Part of the name of tables that store transposed images, as EMNIST's files do."""


class PixelTables(MemoryImages):
    """Images that are rows of tables."""


def recognise(path: Path) -> str | None:
    """Return the reason why a path is recognised as a table of pixels, or as a folder or zip with such tables."""
    found = _found(path)
    return f"the rows of {readable(found[0][1].name)} are a class and the pixels of a square image" if found else None


def open_dataset(path: Path) -> PixelTables:
    """Read the tables. Raise `DataError` if a value is not a number, or is not a pixel or a class."""
    found = _found(path)
    if not found:
        msg = f"not a data set: {path} has no .csv with a class and the pixels of a square image in each row"
        raise DataError(msg)
    splits = [split for split, _ in found]
    if len(found) > 1 and ("" in splits or len(set(splits)) < len(splits)):
        names = " and ".join(readable(file.name) for _, file in found[:2])
        msg = f"{path} has several tables ({names}): give the path of one of them"
        raise DataError(msg)
    arrays = {split: _read(file) for split, file in found}
    if len(arrays) == 1:
        arrays = _divided(*next(iter(arrays.values())))
    count = 1 + max(int(labels.max()) for _, labels in arrays.values())
    name = readable(path.resolve().stem)
    source = Source(name, f"images in the rows of {readable(found[0][1].name)}", "not stated")
    ordered = {split: arrays[split] for split in SPLITS if split in arrays}
    return PixelTables(source, tuple(map(str, range(count))), ordered)


def _read(file: tree.Folder) -> Split:
    """Return the images and classes of a table."""
    table = start_of(file)
    label = None if table is None else _label_column(table)
    assert table is not None
    assert label is not None
    text = tree.decode_text(tree.read(file), readable(file.name)).encode()
    lines = io.TextIOWrapper(io.BytesIO(text), "utf-8")  # `StringIO` would need four bytes for each character.
    try:
        rows = np.loadtxt(lines, np.float32, delimiter=",", skiprows=int(_has_names(table)), quotechar='"', ndmin=2)
    except ValueError as error:
        msg = f"cannot read {readable(file.name)}: {error}"
        raise DataError(msg) from error
    images = to_images(np.delete(rows, label, axis=1), readable(file.name))
    if TRANSPOSED in file.name.lower():
        images = np.ascontiguousarray(images.transpose(0, 2, 1))
    return images, to_labels(rows[:, label], len(images), readable(file.name))


def _divided(images: NDArray[np.uint8], labels: NDArray[np.int64]) -> dict[str, Split]:
    """Return the images of one table by split. A hash of the pixels determines the split."""
    own = np.array([tree.split_of(image.tobytes()) for image in images])
    return {split: (images[own == split], labels[own == split]) for split in SPLITS if (own == split).any()}


def _has_names(table: Table) -> bool:
    """Return True if the first line names the columns.

    The names may be numbers, but not all of them in the range of pixel values.
    """
    return not only_numbers(table.header)


def _label_column(table: Table) -> int | None:
    """Return the column of the classes, or None if the table does not have a class and the pixels of a square image."""
    side = math.isqrt(len(table.header) - 1)
    rows = [fields for _, fields in table.rows if len(fields) == len(table.header)]
    if side < MIN_SIDE or side**2 != len(table.header) - 1 or not rows or not only_numbers(rows[0]):
        return None
    if not _has_names(table):
        return 0
    return next((at for name in LABELS if (at := table.column(name)) is not None), None)


def _found(path: Path) -> list[tuple[str, tree.Folder]]:
    """Return the split and the file of each table at a path. The split is empty if the name does not state it."""
    files: list[tree.Folder] = [path] if path.is_file() and path.suffix.lower() in SUFFIXES else []
    for top in tree.candidates(path):
        files = files or table_files(top)
    fitting = [file for file in files if (table := start_of(file)) is not None and _label_column(table) is not None]
    return [(_split_in(Path(file.name).stem), file) for file in fitting]


def _split_in(name: str) -> str:
    return next((tree.SPLITS[word] for word in words_of(name) if word in tree.SPLITS), "")
